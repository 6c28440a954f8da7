"""What every ContainerRunner promises, asked of the one in memory, of a real Docker Engine, and of Kubernetes.

For Kubernetes the API server and the controllers are real; `kubelet` runs the commands, without containers.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Protocol
from uuid import uuid4

import pytest
from docker import docker, docker_url, tiny_image  # noqa: F401  # the last two are fixtures
from fakes.containers import SIGKILL, SIGTERM, FakeContainers, FakeEngine, Program
from kube import Cluster, control_plane, free_port, kubelet, own_cluster  # noqa: F401  # two are fixtures

from opsuite_kernel.errors import Unavailable
from opsuite_platforms.docker import DockerContainers
from opsuite_platforms.kubernetes_jobs import KubernetesJobs
from opsuite_platforms.port import ContainerRunner, ContainerSpec, Exit, ExitKind, OutputLine, Stream

OUT, ERR, SYSTEM = Stream.STDOUT, Stream.STDERR, Stream.SYSTEM
LABEL = "opsuite-test"


class Bench(Protocol):
    """An engine, and what the suite has to do to it behind a runner's back."""

    image: str
    absent_image: str
    knows_images: bool
    """Whether `check` can tell if an image is to be had."""
    tells_streams: bool
    """Whether standard output and error come apart."""

    def runner(self) -> ContainerRunner:
        """A runner as a new process would build it."""

    def unreachable_runner(self) -> ContainerRunner:
        """A runner of an engine that does not answer."""

    def command(self, program: Program) -> tuple[str, ...]:
        """The command of a container that does that."""

    def end(self, name: str) -> None:
        """Send SIGTERM to a container, as someone else might."""


class FakeBench:
    image, absent_image = "tiny", "absent"
    knows_images, tells_streams = True, True

    def __init__(self) -> None:
        self._engine = FakeEngine(images=[self.image])

    def runner(self) -> ContainerRunner:
        return FakeContainers(self._engine)

    def unreachable_runner(self) -> ContainerRunner:
        engine = FakeEngine()
        engine.is_reachable = False
        return FakeContainers(engine)

    def command(self, program: Program) -> tuple[str, ...]:
        command = (repr(program),)
        self._engine.programs[command] = program
        return command

    def end(self, name: str) -> None:
        self._engine.containers[name].stop()


class DockerBench:
    absent_image = "127.0.0.1:9/absent:1"  # nothing listens on the discard port, so the refusal is immediate
    knows_images, tells_streams = True, True

    def __init__(self, url: str, image: str) -> None:
        self.image = image
        self._url = url
        self.runners = list[DockerContainers]()

    def runner(self) -> ContainerRunner:
        return self._closed_later(DockerContainers(self._url))

    def unreachable_runner(self) -> ContainerRunner:
        return self._closed_later(DockerContainers("unix:///nonexistent/docker.sock"))

    def _closed_later(self, runner: DockerContainers) -> DockerContainers:
        self.runners.append(runner)
        return runner

    def command(self, program: Program) -> tuple[str, ...]:
        return shell_command(program)

    def end(self, name: str) -> None:
        docker("kill", "--signal", "TERM", name)


class KubernetesBench:
    image, absent_image = "tiny", "absent:1"
    knows_images, tells_streams = False, False

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def runner(self) -> ContainerRunner:
        return KubernetesJobs(self._cluster.api(), self._cluster.namespace, image_patience=timedelta())

    def unreachable_runner(self) -> ContainerRunner:
        api = self._cluster.api(url=f"https://127.0.0.1:{free_port()}")
        return KubernetesJobs(api, self._cluster.namespace, patience=timedelta())

    def command(self, program: Program) -> tuple[str, ...]:
        return shell_command(program)

    def end(self, name: str) -> None:
        self._cluster.kubelet.end(self._cluster.namespace, name)


def shell_command(program: Program) -> tuple[str, ...]:
    """What makes a shell do that."""
    ignore = ["trap '' TERM"] if program.ignores_sigterm else []
    writes = [f"echo {shlex.quote(text)} >&{1 if stream is OUT else 2}" for stream, text in program.lines]
    end = "while :; do sleep 60; done" if program.stays else f"exit {program.exit_code}"
    return ("sh", "-c", "\n".join([*ignore, *writes, end]))


KINDS = [
    "in memory",
    pytest.param("Docker", marks=pytest.mark.needs("docker")),
    pytest.param("Kubernetes", marks=pytest.mark.needs("kubernetes")),
]


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if request.param == "in memory":
        yield FakeBench()
        return
    if request.param == "Kubernetes":
        async with own_cluster(*map(request.getfixturevalue, ["control_plane", "kubelet"])) as cluster:
            yield KubernetesBench(cluster)
        return
    real = DockerBench(request.getfixturevalue("docker_url"), request.getfixturevalue("tiny_image"))
    yield real
    for runner in real.runners:
        await runner.close()
    if left := docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={run_id()}"):
        docker("rm", "--force", *left.split())


def run_id() -> str:
    """Tells the containers of this test process from those of others on the same engine."""
    return RUN


RUN = uuid4().hex[:12]


class Output(list[OutputLine]):
    """Collects what a container writes; `written` is set with the first line."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    def __call__(self, lines: Sequence[OutputLine]) -> None:
        self.extend(lines)
        self.written.set()

    def texts(self, stream: Stream) -> list[str]:
        return [line.text for line in self if line.stream is stream]


def a_container(
    bench: Bench, program: Program, *, name: str = "", timeout: float = 60, output_bytes: int = 10_000, image: str = ""
) -> ContainerSpec:
    return ContainerSpec(
        name=name or f"op-{uuid4().hex[:12]}",
        image=image or bench.image,
        command=bench.command(program),
        env={},
        labels={LABEL: run_id()},
        timeout=timedelta(seconds=timeout),
        grace=timedelta(seconds=1),
        output_bytes=output_bytes,
        network_disabled=True,
    )


HELLO = Program(lines=((OUT, "hello"),))
STAYS = Program(lines=((OUT, "here I am"),), stays=True)


async def test_a_container_runs_to_its_end_and_its_output_is_delivered(bench: Bench) -> None:
    output = Output()

    end = await bench.runner().run(a_container(bench, HELLO), output)

    assert end == Exit(ExitKind.EXITED, 0)
    assert output.texts(OUT) == ["hello"]


@pytest.mark.parametrize("status", [1, 3, 127])
async def test_the_exit_status_is_passed_on(bench: Bench, status: int) -> None:
    end = await bench.runner().run(a_container(bench, Program(exit_code=status)), Output())

    assert (end.kind, end.code, end.succeeded) == (ExitKind.EXITED, status, False)


async def test_lines_keep_their_order_and_their_stream(bench: Bench) -> None:
    numbers = [str(number) for number in range(50)]
    program = Program(lines=tuple((stream, number) for number in numbers for stream in (OUT, ERR)))
    output = Output()

    await bench.runner().run(a_container(bench, program), output)

    if bench.tells_streams:
        assert output.texts(OUT) == numbers
        assert output.texts(ERR) == numbers
    else:
        assert output.texts(OUT) == [text for _, text in program.lines]
    assert all(line.time.utcoffset() == timedelta() for line in output)


async def test_output_comes_while_the_container_runs(bench: Bench) -> None:
    spec, output = a_container(bench, STAYS), Output()
    running = asyncio.create_task(bench.runner().run(spec, output))

    await output.written.wait()

    assert not running.done()
    bench.end(spec.name)
    assert (await running).kind is ExitKind.SIGNALLED


async def test_output_beyond_the_limit_is_dropped_with_a_mark(bench: Bench) -> None:
    output = Output()
    program = Program(lines=tuple((OUT, "x" * 9) for _ in range(100)))

    end = await bench.runner().run(a_container(bench, program, output_bytes=90), output)

    assert end.succeeded
    assert output.texts(OUT) == ["x" * 9] * 10
    assert len(output.texts(SYSTEM)) == 1
    assert output[-1].stream is SYSTEM


async def test_a_container_outlives_its_runner_and_is_adopted_with_its_whole_output(bench: Bench) -> None:
    spec, before, after = a_container(bench, STAYS), Output(), Output()
    abandoned = asyncio.create_task(bench.runner().run(spec, before))
    await before.written.wait()
    abandoned.cancel()
    with pytest.raises(asyncio.CancelledError):
        await abandoned

    adopted = asyncio.create_task(bench.runner().run(spec, after))
    await after.written.wait()
    bench.end(spec.name)
    end = await adopted

    assert (end.kind, end.code) == (ExitKind.SIGNALLED, SIGTERM)
    assert after == before, "the same lines with the same times, and none of the runner's own"


async def test_a_finished_container_is_adopted_and_not_run_again(bench: Bench) -> None:
    spec, before, after = a_container(bench, Program(lines=HELLO.lines, exit_code=4)), Output(), Output()
    end = await bench.runner().run(spec, before)

    assert await bench.runner().run(spec, after) == end
    assert after == before, "equal times show that it did not run twice"


async def test_two_callers_at_once_share_one_container(bench: Bench) -> None:
    spec, outputs = a_container(bench, Program(lines=HELLO.lines, exit_code=2)), [Output() for _ in range(4)]

    ends = await asyncio.gather(*(bench.runner().run(spec, output) for output in outputs))

    assert {(end.kind, end.code) for end in ends} == {(ExitKind.EXITED, 2)}
    assert len({tuple(output) for output in outputs}) == 1, "equal times show that it ran once"


async def test_a_container_that_runs_too_long_is_stopped(bench: Bench) -> None:
    spec, output = a_container(bench, STAYS, timeout=0.5), Output()

    end = await bench.runner().run(spec, output)

    assert end.kind is ExitKind.TIMED_OUT
    assert output.texts(OUT) == ["here I am"]
    assert (await bench.runner().run(spec, Output())).kind is ExitKind.TIMED_OUT, (
        "and whoever asks later hears the same"
    )


async def test_a_container_that_is_stopped_ends_by_sigterm(bench: Bench) -> None:
    spec, output = a_container(bench, STAYS), Output()
    running = asyncio.create_task(bench.runner().run(spec, output))
    await output.written.wait()

    await bench.runner().stop(spec.name, grace=timedelta(seconds=30))

    end = await running
    assert (end.kind, end.code) == (ExitKind.SIGNALLED, SIGTERM)


async def test_a_container_that_ignores_sigterm_is_killed_after_the_grace(bench: Bench) -> None:
    spec, output = a_container(bench, Program(lines=STAYS.lines, stays=True, ignores_sigterm=True)), Output()
    running = asyncio.create_task(bench.runner().run(spec, output))
    await output.written.wait()

    await bench.runner().stop(spec.name, grace=timedelta(seconds=1))

    end = await running
    assert (end.kind, end.code) == (ExitKind.SIGNALLED, SIGKILL)


async def test_stopping_what_has_ended_or_never_was_is_fine(bench: Bench) -> None:
    spec = a_container(bench, Program(exit_code=4))
    end = await bench.runner().run(spec, Output())

    await bench.runner().stop(spec.name, grace=timedelta(seconds=1))
    await bench.runner().stop("op-never-was", grace=timedelta(seconds=1))

    assert await bench.runner().run(spec, Output()) == end


async def test_an_image_that_cannot_be_had_is_named(bench: Bench) -> None:
    end = await bench.runner().run(a_container(bench, HELLO, image=bench.absent_image), Output())

    assert end.kind is ExitKind.NOT_STARTED
    assert bench.absent_image in end.message


async def test_containers_are_listed_by_label_whether_they_run_or_not(bench: Bench) -> None:
    ended, running, output = a_container(bench, HELLO), a_container(bench, STAYS), Output()
    runner = bench.runner()
    await runner.run(ended, Output())
    task = asyncio.create_task(runner.run(running, output))
    await output.written.wait()

    names = await runner.list_names(LABEL, run_id())

    assert names == sorted([ended.name, running.name])
    assert await runner.list_names(LABEL, "another") == []
    bench.end(running.name)
    await task


async def test_a_forgotten_container_is_gone_and_its_name_is_free(bench: Bench) -> None:
    spec, before, after = a_container(bench, HELLO), Output(), Output()
    runner = bench.runner()
    await runner.run(spec, before)

    await runner.forget(spec.name)
    await runner.forget(spec.name)

    assert await runner.list_names(LABEL, run_id()) == []
    await runner.run(spec, after)
    assert after[0].time != before[0].time, "a new one, not an adopted one"


async def test_a_container_that_someone_removes_has_not_succeeded(bench: Bench) -> None:
    spec, output = a_container(bench, STAYS), Output()
    running = asyncio.create_task(bench.runner().run(spec, output))
    await output.written.wait()

    await bench.runner().forget(spec.name)

    # Removing kills first: whoever looks in between still sees the signal.
    assert (await running).kind in {ExitKind.LOST, ExitKind.SIGNALLED}


async def test_the_check_asks_for_the_engine_and_the_image(bench: Bench) -> None:
    await bench.runner().check()
    await bench.runner().check(bench.image)
    if bench.knows_images:
        with pytest.raises(Unavailable, match=bench.absent_image):
            await bench.runner().check(bench.absent_image)


async def test_an_engine_that_does_not_answer_is_unavailable(bench: Bench) -> None:
    runner = bench.unreachable_runner()

    with pytest.raises(Unavailable):
        await runner.check()
    with pytest.raises(Unavailable):
        await runner.run(a_container(bench, HELLO), Output())
    with pytest.raises(Unavailable):
        await runner.forget("op-1")
    with pytest.raises(Unavailable):
        await runner.list_names(LABEL, run_id())
