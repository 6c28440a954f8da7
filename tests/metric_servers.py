"""Servers that metrics come from: Prometheus, Redis, RabbitMQ. Import the fixtures by name.

Each serves all tests of a test process that ask for it; a test that kills one starts it again.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from components import missing, program
from server_processes import ServerProcess, free_port

PASSWORD = "opsuite-test"
RABBITMQ = Path("/usr/lib/rabbitmq/lib")
EPMD = "epmd"

T = TypeVar("T")


SHARED = pytest.StashKey[dict[str, Any]]()


def shared(config: pytest.Config, start: Callable[[], AbstractContextManager[T]]) -> T:
    """Started once, however many modules import the fixtures: each import makes a fixture of its own."""
    known = config.stash.setdefault(SHARED, {})
    if start.__name__ not in known:
        stack = ExitStack()
        config.add_cleanup(stack.close)
        known[start.__name__] = stack.enter_context(start())
    found: T = known[start.__name__]
    return found


@pytest.fixture(scope="session")
def redis_server(pytestconfig: pytest.Config) -> ServerProcess:
    """A Redis that keeps nothing on disk and wants a password."""
    return shared(pytestconfig, a_redis)


@pytest.fixture(scope="session")
def rabbitmq_server(pytestconfig: pytest.Config) -> ServerProcess:
    """A RabbitMQ node of its own, with its own port mapper: everything of it is on loopback and in one folder."""
    return shared(pytestconfig, a_rabbitmq)


@pytest.fixture(scope="session")
def prometheus_server(pytestconfig: pytest.Config) -> tuple[ServerProcess, int]:
    """A Prometheus, and the port on which it looks for metrics: ten times a second, from 5 s after its start on."""
    return shared(pytestconfig, a_prometheus)


@contextmanager
def a_redis() -> Iterator[ServerProcess]:
    with tempfile.TemporaryDirectory(prefix="opsuite-redis-") as folder:
        port = free_port()
        settings = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", "", "--appendonly", "no"]
        command = [str(program("redis-server", "apt-get install redis-server")), *settings, "--requirepass", PASSWORD]
        server = ServerProcess(command, port, Path(folder) / "log")
        with running(server):
            yield server


@contextmanager
def a_rabbitmq() -> Iterator[ServerProcess]:
    programs = sorted(RABBITMQ.glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not programs:
        missing("RabbitMQ", "apt-get install rabbitmq-server")
    folder = Path(tempfile.mkdtemp(prefix="opsuite-rabbitmq-"))
    mapper_port, port, peers_port = free_port(), free_port(), free_port()
    # A node starts a port mapper that outlives it unless there is one.
    command = [str(program(EPMD, "apt-get install erlang-base")), "-port", str(mapper_port), "-address", "127.0.0.1"]
    mapper = ServerProcess(command, mapper_port, folder / "epmd.log")
    (folder / "rabbit.conf").write_text(
        f"listeners.tcp.local = 127.0.0.1:{port}\ndefault_user = tests\ndefault_pass = {PASSWORD}\n"
    )
    (folder / "plugins").write_text("[].\n")
    env = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "ERL_EPMD_PORT": str(mapper_port),
        "RABBITMQ_NODENAME": f"opsuite-test-{port}@localhost",
        "RABBITMQ_DIST_PORT": str(peers_port),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbit"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "config"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
        "RUNNING_UNDER_SYSTEMD": "true",  # else a shell stands between the node and us, and survives in our stead
    }
    server = ServerProcess([str(programs[-1])], port, folder / "rabbit.log", env)
    with running(mapper), running(server):
        yield server
    shutil.rmtree(folder)


@contextmanager
def a_prometheus() -> Iterator[tuple[ServerProcess, int]]:
    folder = Path(tempfile.mkdtemp(prefix="opsuite-prometheus-"))
    port, scraped = free_port(), free_port()
    scrape = {"job_name": "test", "static_configs": [{"targets": [f"127.0.0.1:{scraped}"]}]}
    settings = {"global": {"scrape_interval": "100ms", "scrape_timeout": "100ms"}, "scrape_configs": [scrape]}
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    command = [
        str(program("prometheus", "apt-get install prometheus")),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    server = ServerProcess(command, port, folder / "prometheus.log", is_ready=prometheus_is_ready)
    with running(server):
        yield server, scraped
    shutil.rmtree(folder)


@contextmanager
def running(server: ServerProcess) -> Iterator[None]:
    """It runs meanwhile."""
    try:
        server.start()
        yield
    finally:
        server.kill()


def prometheus_is_ready(port: int) -> bool:
    """It listens before it has read what it knew."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
