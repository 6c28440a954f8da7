"""A Docker Swarm of one node, on an engine of its own. Import the fixture `swarm_url` by name.

Its network has loopback and nothing else, so its services have none either; the swarm itself does all that it does
elsewhere.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import docker, import_tiny_image
from private_docker import private_engine


@pytest.fixture(scope="session")
def swarm_url() -> Iterator[str]:
    """Address of an engine that is a manager of a swarm."""
    with private_engine(live_restore=False) as engine:
        pid = Path(engine.url.removeprefix("unix://")).with_name("pid").read_text()
        enter = ["nsenter", "--net", f"--target={pid}"]
        subprocess.run([*enter, "ip", "link", "set", "lo", "up"], check=True)
        docker("swarm", "init", "--advertise-addr=127.0.0.1", "--listen-addr=127.0.0.1:2377", url=engine.url)
        yield engine.url
        docker("swarm", "leave", "--force", url=engine.url)


def a_service(url: str, name: str, replicas: int, *, mode: str = "replicated") -> None:
    """A service that sleeps, each task with a quarter of a processor and 16 MiB."""
    size = ["--replicas", str(replicas)] if mode == "replicated" else []
    what = [import_tiny_image(url), "sleep", "1000"]
    limits = ["--reserve-cpu", "0.25", "--reserve-memory", "16M", "--stop-grace-period", "1s"]
    options = ["--detach", "--no-resolve-image", "--mode", mode, "--name", name]
    docker("service", "create", "--quiet", *options, *size, *limits, *what, url=url)
