"""What replicas use, of real processes and containers that are busy, idle, large, or both together."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from docker import engine_url, import_tiny_image

from opsuite_kernel.errors import NotFound, Unavailable
from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.port import Platform, WorkloadSpec
from opsuite_platforms.process import ProcessPlatform
from opsuite_platforms.usage import CPU, MEMORY, Usage, UsageSampler
from opsuite_platforms.usage_docker import DockerUsage
from opsuite_platforms.usage_process import ProcessUsage

IDLE = "sleep 1000"
BUSY = "while :; do :; done"
BUSY_CHILD = "sh -c 'while :; do :; done' & wait"
BUSY_CHILDREN = "while :; do sh -c ':'; done"  # each lives a moment; only who waited for it knows what it used
LARGE_VARIABLE = "x=$(head -c 40000000 /dev/zero | tr '\\0' x); sleep 1000"
LARGE_FILE = (
    "dd if=/dev/zero of=/dev/shm/x bs=1M count=40; sleep 1000"  # in memory, and no cache that could be given up
)
MEBIBYTE = 2**20


@dataclass
class Rig:
    """A platform and what measures it."""

    platform: Platform
    sampler: UsageSampler
    image: str
    large: str
    """A script that comes to hold 40 MB."""

    async def run(self, name: str, script: str, replicas: int = 1) -> None:
        command = ("/bin/sh", "-c", script)
        spec = WorkloadSpec(name, "1", command, "/", {}, (), replicas, self.image, grace=timedelta(seconds=1))
        await self.platform.apply(spec, epoch=1)
        while not (await self.platform.observe(name)).is_ready:  # noqa: ASYNC110  # a platform is asked
            await asyncio.sleep(0.02)

    async def usage(self, name: str, replicas: int = 1) -> dict[str, Usage]:
        """Of all replicas of a workload."""
        while len(usage := dict(await self.sampler.usage(name))) != replicas:  # noqa: ASYNC110  # it is asked
            await asyncio.sleep(0.02)
        return usage


@asynccontextmanager
async def processes() -> AsyncIterator[Rig]:
    data = Path(tempfile.mkdtemp(prefix="opsuite-"))  # tmp_path can be too long for a Unix socket
    platform = ProcessPlatform(data)
    await platform.start()
    yield Rig(platform, ProcessUsage(data), "", LARGE_VARIABLE)
    await platform.stop()
    platform.close()
    shutil.rmtree(data)


@asynccontextmanager
async def containers() -> AsyncIterator[Rig]:
    url = engine_url()
    with tempfile.TemporaryDirectory() as data:
        platform = DockerPlatform(Path(data), url, prefix=f"opsuite-test-{uuid4().hex[:8]}-")
        sampler = DockerUsage(Path(data), url)
        yield Rig(platform, sampler, import_tiny_image(url), LARGE_FILE)
        for name in await platform.list_workloads():
            await platform.remove(name)
        await sampler.close()
        await platform.close()


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.needs("docker"))])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with containers() if request.param == "docker" else processes() as rig:
        yield rig


def cpu(usage: Usage) -> float:
    millicores = usage.of(CPU)
    assert millicores is not None
    return millicores


@pytest.mark.parametrize("script", [BUSY, BUSY_CHILD, BUSY_CHILDREN])
async def test_a_busy_replica_uses_more_than_an_idle_one_however_it_works(rig: Rig, script: str) -> None:
    await rig.run("idle", IDLE)
    await rig.run("busy", script)

    while cpu((await rig.usage("busy"))["busy-0"]) < 20:  # noqa: ASYNC110  # the machine has others to serve too
        await asyncio.sleep(0.1)
    quiet = (await rig.usage("idle"))["idle-0"]

    assert cpu(quiet) < 20
    assert quiet.window > timedelta(0)


async def test_memory_is_what_is_held_and_is_told_of_every_replica(rig: Rig) -> None:
    await rig.run("small", IDLE)
    await rig.run("large", rig.large, replicas=2)

    async def size(name: str) -> list[float]:
        return [each.of(MEMORY) or 0 for each in (await rig.usage(name, 2 if name == "large" else 1)).values()]

    while min(await size("large")) < 38 * MEBIBYTE:  # noqa: ASYNC110  # until the shells have grown
        await asyncio.sleep(0.1)
    assert max(await size("small")) < 20 * MEBIBYTE
    assert set(await rig.usage("large", 2)) == {"large-0", "large-1"}


async def test_what_does_not_run_is_absent_and_what_is_unknown_too(rig: Rig) -> None:
    await rig.run("web", IDLE, replicas=2)
    await rig.usage("web", 2)
    await rig.platform.scale("web", 1)

    assert set(await rig.usage("web", 1)) == {"web-0"}
    assert await rig.sampler.usage("nothing") == {}
    with pytest.raises(NotFound):
        await rig.sampler.requests("nothing")


async def test_a_replica_that_was_restarted_begins_anew(rig: Rig) -> None:
    await rig.run("web", BUSY)
    before = (await rig.usage("web"))["web-0"]
    await rig.platform.restart("web")
    while not (await rig.platform.observe("web")).is_ready:  # noqa: ASYNC110  # a platform is asked
        await asyncio.sleep(0.02)

    while (after := (await rig.usage("web"))["web-0"]).at == before.at:  # noqa: ASYNC110  # a look serves for a second
        await asyncio.sleep(0.1)

    assert 0 <= cpu(after) < 100_000


@pytest.mark.parametrize("kind", ["process", pytest.param("docker", marks=pytest.mark.needs("docker"))])
async def test_a_platform_that_does_not_answer_is_unavailable(tmp_path: Path, kind: str) -> None:
    sampler = ProcessUsage(tmp_path) if kind == "process" else DockerUsage(tmp_path, "unix:///nonexistent.sock")

    with pytest.raises(Unavailable):
        await sampler.usage("web")
    if isinstance(sampler, DockerUsage):
        await sampler.close()
