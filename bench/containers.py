"""What a container costs besides the engine's own work: ten steps, and replicas of a workload, beside `docker run`."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from deployer import Client, a_pipeline, register
from docker import engine_url, import_tiny_image

from bench.deployers import a_bench_deployer, deploy_and_wait
from bench.table import Row, ms, p50
from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.port import WorkloadSpec

CONTAINERS = 10
STEPS_GOAL = 1.05
PREFIX = "opsuite-bench-"
# What ours are started with too, and what costs something.
LIKE_OURS = ("--init", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=512m", "--cpus=1")


async def main(rounds: int) -> list[Row]:
    url = await asyncio.to_thread(engine_url)
    image = await asyncio.to_thread(import_tiny_image, url)
    return [await steps(rounds, url, image), await scaling(rounds, url, image)]


async def steps(rounds: int, url: str, image: str) -> Row:
    """Ten container steps one after the other, from Deploy to the last event."""
    with a_bench_deployer(DEPLOYER_DOCKER_URL=url) as deployer:
        async with deployer.client() as client:
            await register_ten_containers(client, image)
            ours, bare = await in_turns(
                rounds, lambda: deploy_and_wait(client, "containers"), lambda: timed(run_to_the_end(url, image))
            )
    return Row("ten container steps, p50", ms(ours), f"docker run {ms(bare)}", ours / bare, STEPS_GOAL)


async def register_ten_containers(client: Client, image: str) -> None:
    step = {"image": image, "command": ["/bin/true"]}
    await register(
        client, a_pipeline("containers", *({"name": f"step-{n}", "docker": step} for n in range(CONTAINERS)))
    )


async def run_to_the_end(url: str, image: str) -> None:
    for _ in range(CONTAINERS):
        await docker(url, "run", "--rm", *LIKE_OURS, image, "/bin/true")


async def scaling(rounds: int, url: str, image: str) -> Row:
    """A workload from no replica to ten, until they run; beside ten `docker run --detach` at once."""
    async with a_workload(url, image) as platform:

        async def scale_up() -> float:
            taken = await timed(ten_running(platform))
            await platform.scale("web", 0)
            return taken

        async def run_detached() -> float:
            names = [f"{PREFIX}bare-{n}" for n in range(CONTAINERS)]
            runs = (
                docker(url, "run", "--detach", "--name", name, *LIKE_OURS, image, "sleep", "1000") for name in names
            )
            taken = await timed(asyncio.gather(*runs))
            await docker(url, "rm", "--force", *names)
            return taken

        ours, bare = await in_turns(rounds, scale_up, run_detached)
    return Row("scaling from 0 to 10 containers, p50", ms(ours), f"docker run, ten at once {ms(bare)}", ours / bare)


@asynccontextmanager
async def a_workload(url: str, image: str) -> AsyncIterator[DockerPlatform]:
    """A platform with the workload "web", which has no replica."""
    spec = WorkloadSpec("web", "1", ("sleep", "1000"), "/", replicas=0, image=image, cpus=1, memory_bytes=536_870_912)
    with tempfile.TemporaryDirectory() as data:
        platform = DockerPlatform(Path(data), url, prefix=PREFIX)
        await platform.apply(spec, epoch=1)
        yield platform
        await platform.remove("web")
        await platform.close()


async def ten_running(platform: DockerPlatform) -> None:
    await platform.scale("web", CONTAINERS)
    while not (await platform.observe("web")).is_ready:
        pass


async def in_turns(
    rounds: int, ours: Callable[[], Awaitable[float]], bare: Callable[[], Awaitable[float]]
) -> tuple[float, float]:
    """Median of each in milliseconds; the first round warms up and does not count."""
    pairs = [(await ours(), await bare()) for _ in range(rounds + 1)][1:]
    return p50([pair[0] for pair in pairs]), p50([pair[1] for pair in pairs])


async def timed(work: Awaitable[object]) -> float:
    """Milliseconds that it takes."""
    began = time.perf_counter()
    await work
    return (time.perf_counter() - began) * 1000


async def docker(url: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "docker", "--host", url, *arguments, stdout=asyncio.subprocess.DEVNULL
    )
    if status := await process.wait():
        raise RuntimeError(f"docker {arguments[0]} ended with {status}")
