"""What one step costs: our spawner beside bare posix_spawn and asyncio, in one run (`python -m bench.spawn`)."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from opsuite_platforms.port import CommandSpec
from opsuite_platforms.spawner.client import Spawner

ROUNDS, RUNS = 12, 50
TRUE = "/bin/true"
SPEC = CommandSpec((TRUE,), "/", {}, timedelta(seconds=10))
LIMITED = CommandSpec(
    (TRUE,), "/", {}, timedelta(seconds=10), memory_bytes=2**30, cpu_seconds=10, file_size_bytes=2**20
)


def spawn_and_wait() -> None:
    os.waitpid(os.posix_spawn(TRUE, [TRUE], {}), 0)


async def floor() -> None:
    spawn_and_wait()


async def asyncio_with_pipes() -> None:
    process = await asyncio.create_subprocess_exec(
        TRUE, env={}, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    await process.communicate()


async def seconds_a_run(run: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    for _ in range(RUNS):
        await run()
    return (time.perf_counter() - began) / RUNS


async def many_at_once(spawner: Spawner, width: int) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(spawner.run(SPEC, lambda _: None) for _ in range(width)))
    return (time.perf_counter() - began) / width


async def main() -> None:
    spawner = await Spawner.start()
    candidates: dict[str, Callable[[], Awaitable[object]]] = {
        "posix_spawn + waitpid (floor)": floor,
        "asyncio exec with pipes": asyncio_with_pipes,
        "spawner": lambda: spawner.run(SPEC, lambda _: None),
        "spawner with three limits": lambda: spawner.run(LIMITED, lambda _: None),
        "spawner, 50 at once (each)": lambda: many_at_once(spawner, 50),
    }
    times = {name: list[float]() for name in candidates}
    for _ in range(ROUNDS):  # in turns, so that a busy moment hits all alike
        for name, run in candidates.items():
            times[name].append(await seconds_a_run(run) if "at once" not in name else await many_at_once(spawner, 50))
    await spawner.close()
    base = statistics.median(times["posix_spawn + waitpid (floor)"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:32} {median * 1000:7.2f} ms   {median / base:5.2f} x floor")


if __name__ == "__main__":
    asyncio.run(main())
