"""What is particular about Docker: limits, mounts, privileges, memory, containers left behind by a dead caller."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from docker import docker, docker_url, tiny_image  # noqa: F401  # the last two are fixtures
from fakes.clock import FakeClock

from opsuite_platforms.docker import DockerContainers, exit_of
from opsuite_platforms.docker_engine import ContainerState, DockerEngine
from opsuite_platforms.port import ContainerSpec, Exit, ExitKind, MountSpec, OutputLine, Stream

LABEL = f"opsuite-test={uuid4().hex}"


@pytest.fixture
async def containers(docker_url: str) -> AsyncIterator[DockerContainers]:  # noqa: F811  # the fixture
    runner = DockerContainers(docker_url, start_patience=timedelta(seconds=0.5))
    yield runner
    await runner.close()
    if left := docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}"):
        docker("rm", "--force", *left.split())


@pytest.fixture
def image(tiny_image: str) -> str:  # noqa: F811  # the fixture
    return tiny_image


def a_container(image: str, script: str, **changes: Any) -> ContainerSpec:
    label, _, value = LABEL.partition("=")
    given: Mapping[str, Any] = {
        "name": f"op-{uuid4().hex[:12]}",
        "image": image,
        "command": ("sh", "-c", script),
        "env": {},
        "labels": {label: value},
        "timeout": timedelta(seconds=60),
        "grace": timedelta(seconds=1),
        "network_disabled": True,
    }
    return ContainerSpec(**{**given, **changes})


async def run(containers: DockerContainers, spec: ContainerSpec) -> tuple[Exit, list[str]]:
    lines = list[OutputLine]()
    end = await containers.run(spec, lines.extend)
    return end, [line.text for line in lines if line.stream is Stream.STDOUT]


def files_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def test_limits_and_privileges_are_what_was_asked_for(containers: DockerContainers, image: str) -> None:
    spec = a_container(image, "exit 0", cpus=0.5, memory_bytes=64 << 20, pids=17, env={"A": "b c"})

    await run(containers, spec)

    record = json.loads(docker("inspect", spec.name))[0]
    host = record["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (500_000_000, 64 << 20, 64 << 20)
    assert (host["PidsLimit"], host["NetworkMode"], host["AutoRemove"]) == (17, "none", False)
    assert (host["CapDrop"], host["SecurityOpt"], host["Privileged"]) == (["ALL"], ["no-new-privileges"], False)
    assert "A=b c" in record["Config"]["Env"]


async def test_a_container_has_no_capability_and_cannot_gain_one(containers: DockerContainers, image: str) -> None:
    _, lines = await run(containers, a_container(image, "grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/self/status"))

    assert [line.split()[1].strip("0") for line in lines] == ["", "", "1"]


async def test_without_network_there_is_only_loopback(containers: DockerContainers, image: str) -> None:
    _, lines = await run(containers, a_container(image, "ls /sys/class/net"))

    assert lines == ["lo"]


async def test_mounts_are_read_only_unless_they_say_otherwise(
    containers: DockerContainers, image: str, tmp_path: Path
) -> None:
    for name in ("kept", "given"):
        (tmp_path / name).mkdir(mode=0o777)
        (tmp_path / name).chmod(0o777)
    mounts = (MountSpec(str(tmp_path / "kept"), "/kept"), MountSpec(str(tmp_path / "given"), "/given", writable=True))

    end, _ = await run(containers, a_container(image, "echo x > /given/file; echo x > /kept/file", mounts=mounts))

    assert end.code == 1
    assert files_in(tmp_path) == [tmp_path / "given/file"]


async def test_a_mount_of_nothing_is_not_started(containers: DockerContainers, image: str) -> None:
    mounts = (MountSpec("/nonexistent/directory", "/here"),)

    end, _ = await run(containers, a_container(image, "exit 0", mounts=mounts))

    assert end.kind is ExitKind.NOT_STARTED
    assert "/nonexistent/directory" in end.message


async def test_a_container_that_eats_its_memory_says_so(containers: DockerContainers, image: str) -> None:
    script = "exec tail -c 100000000 /dev/zero"

    end, _ = await run(containers, a_container(image, script, memory_bytes=16 << 20))

    assert (end.kind, end.code) == (ExitKind.SIGNALLED, 9)
    assert "out of memory" in end.message


async def test_long_lines_and_last_words_arrive_whole(containers: DockerContainers, image: str) -> None:
    script = "head -c 50000 /dev/zero | tr '\\0' x; echo; printf end"

    _, lines = await run(containers, a_container(image, script))

    assert [len(line) for line in lines] == [50_000, 3]


async def test_a_flood_is_cut_and_the_container_goes_on(containers: DockerContainers, image: str) -> None:
    script = "yes | head -c 200000; exit 5"

    end, lines = await run(containers, a_container(image, script, output_bytes=1000))

    assert (end.code, lines) == (5, ["y"] * 1000)


async def test_a_container_that_its_creator_never_started_is_started(
    containers: DockerContainers,
    image: str,
    docker_url: str,  # noqa: F811  # the fixture
) -> None:
    spec = a_container(image, "echo hello")
    engine = DockerEngine(docker_url)
    await engine.create(spec)
    await engine.close()

    end, lines = await run(containers, spec)

    assert (end.succeeded, lines) == (True, ["hello"])


async def test_cancelling_between_create_and_start_leaves_nothing_half_done(
    containers: DockerContainers, image: str
) -> None:
    spec = a_container(image, "echo hello")
    starting = asyncio.create_task(containers.run(spec, lambda _: None))
    await asyncio.sleep(0)  # one turn of the loop: the call is on its way, nothing has come back

    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    record = json.loads(docker("inspect", spec.name))[0]
    assert record["State"]["Status"] != "created"


async def test_the_timeout_counts_from_the_start_of_the_container_not_of_the_call(
    containers: DockerContainers,
    image: str,
    docker_url: str,  # noqa: F811  # the fixture
) -> None:
    spec = a_container(image, "echo up; exec sleep 60", timeout=timedelta(hours=1))
    clock = FakeClock(now=(await _started(containers, spec)) + timedelta(hours=2))
    late = DockerContainers(docker_url, clock=clock)

    end = await late.run(spec, lambda _: None)

    await late.close()
    assert end.kind is ExitKind.TIMED_OUT


async def test_a_container_that_ended_in_time_has_succeeded_however_late_it_is_adopted(
    containers: DockerContainers,
    image: str,
    docker_url: str,  # noqa: F811  # the fixture
) -> None:
    spec = a_container(image, "echo done", timeout=timedelta(hours=1))
    await run(containers, spec)
    late = DockerContainers(docker_url, clock=FakeClock(now=datetime.now(UTC) + timedelta(days=1)))

    end = await late.run(spec, lambda _: None)

    await late.close()
    assert end.succeeded


async def _started(containers: DockerContainers, spec: ContainerSpec) -> Any:
    """Start it, leave it running, and return when it was started."""
    lines, written = list[OutputLine](), asyncio.Event()

    def keep(batch: Any) -> None:
        lines.extend(batch)
        written.set()

    running = asyncio.create_task(containers.run(spec, keep))
    await written.wait()
    running.cancel()
    await asyncio.wait({running})
    return lines[0].time


def test_the_exit_is_read_from_the_record_alone() -> None:
    spec = a_container("any", "any", timeout=timedelta(minutes=1))
    begin = FakeClock().now()

    def ended(code: int, after: float = 1, *, oom: bool = False) -> ContainerState:
        return ContainerState("exited", code, oom, "", begin, begin + timedelta(seconds=after))

    def kind(state: ContainerState | None, *, timed_out: bool = False) -> tuple[ExitKind, int | None]:
        end = exit_of(state, spec, timed_out=timed_out)
        return end.kind, end.code

    assert kind(ended(0)) == (ExitKind.EXITED, 0)
    assert kind(ended(125)) == (ExitKind.EXITED, 125)
    assert kind(ended(143)) == (ExitKind.SIGNALLED, 15)
    assert kind(ended(255)) == (ExitKind.EXITED, 255)
    assert kind(ended(0, oom=True)) == (ExitKind.EXITED, 0)
    assert kind(ended(143, after=60)) == (ExitKind.TIMED_OUT, 143)
    assert kind(ended(0), timed_out=True) == (ExitKind.TIMED_OUT, 0)
    assert "out of memory" in exit_of(ended(137, oom=True), spec, timed_out=False).message
    assert exit_of(ended(143), spec, timed_out=False).message == ""
    assert kind(None) == (ExitKind.LOST, None)
