"""The engine dies while a container runs. The test has an engine of its own for that, beside the one of the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from docker import docker, import_tiny_image
from private_docker import PrivateEngine, private_engine

from opsuite_kernel.errors import Unavailable
from opsuite_platforms.docker import DockerContainers
from opsuite_platforms.port import ContainerSpec, Exit, ExitKind, OutputLine, Stream

pytestmark = pytest.mark.needs("docker")


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    with private_engine(live_restore=True) as engine:
        yield engine


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
