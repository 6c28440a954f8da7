"""The engine dies while a container runs. The test has an engine of its own for that, beside the one of the machine."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from components import missing
from docker import HOW_TO_GET_DOCKER, answers, docker, import_tiny_image

from opsuite_kernel.errors import Unavailable
from opsuite_platforms.docker import DockerContainers
from opsuite_platforms.port import ContainerSpec, Exit, ExitKind, OutputLine, Stream


class PrivateEngine:
    """A dockerd that keeps its containers running while it is away, and touches nothing of the machine's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.url = f"unix://{directory}/docker.sock"
        settings = {
            "live-restore": True,
            "bridge": "none",
            "iptables": False,
            "ip-masq": False,
            "data-root": str(directory / "data"),
            "exec-root": str(directory / "exec"),
            "pidfile": str(directory / "pid"),
            "hosts": [self.url],
        }
        (directory / "daemon.json").write_text(json.dumps(settings))
        self.start()

    def start(self) -> None:
        with (self._directory / "log").open("ab") as log:
            # In a network of its own: a dockerd without a bridge removes that of its neighbour.
            command = ["unshare", "--net", "dockerd", "--config-file", str(self._directory / "daemon.json")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 60
        while not answers(self.url):
            if self._process.poll() is not None or time.monotonic() > deadline:
                missing("docker", f"a second dockerd does not start: {(self._directory / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """As the kernel does it: no goodbye. Its containerd ends with it, a little later."""
        containerd = Path("/proc") / (self._directory / "exec/containerd/containerd.pid").read_text().strip()
        self._process.kill()
        self._process.wait()
        while containerd.exists():
            time.sleep(0.02)

    def stop(self) -> None:
        if containers := docker("ps", "--all", "--quiet", url=self.url):
            docker("rm", "--force", *containers.split(), url=self.url)
        self._process.terminate()
        self._process.wait()
        # With live restore it leaves its mounts.
        mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for point in sorted((point for point in mounted if point.startswith(f"{self._directory}/")), reverse=True):
            subprocess.run(["umount", "--lazy", point], check=True)


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    if shutil.which("dockerd") is None or os.getuid() != 0:
        missing("docker", HOW_TO_GET_DOCKER)
    # Not tmp_path: addresses of Unix sockets are at most 107 bytes long.
    with tempfile.TemporaryDirectory(prefix="opsuite-dockerd-", ignore_cleanup_errors=True) as directory:
        engine = PrivateEngine(Path(directory))
        yield engine
        engine.stop()


class Output(list[OutputLine]):
    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    def __call__(self, lines: Sequence[OutputLine]) -> None:
        self.extend(lines)
        self.written.set()

    def texts(self) -> list[str]:
        return [line.text for line in self if line.stream is Stream.STDOUT]


async def first_line(running: asyncio.Task[Exit], output: Output) -> None:
    """Return when something was written; raise if the call ends before that."""
    writing = asyncio.create_task(output.written.wait())
    await asyncio.wait({running, writing}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        writing.cancel()
        raise AssertionError(running.result())


def a_container(engine: PrivateEngine, name: str) -> ContainerSpec:
    """Counts to three and ends when the file `go` appears in its directory."""
    script = "echo 1; echo 2; until [ -e /tmp/go ]; do sleep 0.1; done; echo 3; exit 6"
    return ContainerSpec(
        name=name,
        image=import_tiny_image(engine.url),
        command=("sh", "-c", f"mkdir -p /tmp; {script}"),
        env={},
        labels={},
        timeout=timedelta(seconds=60),
        network_disabled=True,
    )


def let_go(engine: PrivateEngine, name: str) -> None:
    docker("exec", name, "touch", "/tmp/go", url=engine.url)


async def test_an_engine_that_comes_back_costs_no_line_and_doubles_none(engine: PrivateEngine) -> None:
    containers, output = DockerContainers(engine.url), Output()
    running = asyncio.create_task(containers.run(a_container(engine, "op-back"), output))
    await first_line(running, output)

    await asyncio.to_thread(engine.kill)
    await asyncio.to_thread(engine.start)
    await asyncio.to_thread(let_go, engine, "op-back")

    assert await running == Exit(ExitKind.EXITED, 6)
    assert output.texts() == ["1", "2", "3"]
    await containers.close()


async def test_an_engine_that_stays_away_is_unavailable_and_the_container_is_adopted_later(
    engine: PrivateEngine,
) -> None:
    spec, before, after = a_container(engine, "op-away"), Output(), Output()
    impatient, later = DockerContainers(engine.url, patience=timedelta(seconds=0.3)), DockerContainers(engine.url)
    running = asyncio.create_task(impatient.run(spec, before))
    await first_line(running, before)

    await asyncio.to_thread(engine.kill)
    with pytest.raises(Unavailable):
        await running

    await asyncio.to_thread(engine.start)
    adopted = asyncio.create_task(later.run(spec, after))
    await first_line(adopted, after)
    await asyncio.to_thread(let_go, engine, spec.name)
    assert await adopted == Exit(ExitKind.EXITED, 6)
    assert after.texts() == ["1", "2", "3"]
    await impatient.close()
    await later.close()
