"""A thousand watchers, and five: how late the last of them hears, what each costs, how soon all are back after a crash.

The watchers live in a process of their own (`python -m bench.watchers ADDRESS TOKEN NAME COUNT`), on fifty channels.
Latency is from the time that an event carries to its arrival, on one machine's clock.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from deployer import Client, DeployerProcess, a_pipeline, deploy, register

from bench.deployers import a_bench_deployer, memory_mib
from bench.table import Row, ms, p50, p99
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite.deployer.v1 import deployment_service_pb2_grpc as pb_grpc
from opsuite_rpc.channel import Target, connect
from opsuite_rpc.watching import watch

GOALS_MS = {1_000: 60.0, 5_000: 300.0}
CHANNELS = 50
BEATS = 8
"""Steps of the watched deployment, each a short wait: their ends are what is told."""


async def main(rounds: int) -> list[Row]:
    rows = []
    for count in (1_000, 5_000):
        rows += await fan_out(count)
    return rows + await storm(5_000)


async def fan_out(count: int) -> list[Row]:
    with a_bench_deployer() as deployer:
        async with deployer.client() as client:
            name = await _a_watched_deployment(client, beat="2s" if count > 1_000 else "1s", first="20s")
            before = memory_mib(deployer)
            async with _watchers(deployer, name, count) as (read, _):
                assert await read() == "all here"
                each = (memory_mib(deployer) - before) * 1024 / count
                late = await read()
    assert isinstance(late, list)
    worst = p50([p99(event) for event in late])
    said = f"p99 {ms(worst)}, p50 {ms(p50([p50(event) for event in late]))}"
    return [
        Row(f"one event to {count:,} watchers, p99", said, "", worst, GOALS_MS[count], unit="ms"),
        Row(f"memory of each of {count:,} watchers", f"{each:.0f} KiB", "", each, 30, unit="KiB"),
    ]


async def storm(count: int) -> list[Row]:
    """Kill the server under its watchers, start it again, and wait until each has heard of it."""
    with a_bench_deployer() as deployer:
        async with deployer.client() as client:
            name = await _a_watched_deployment(client, beat="1s", first="600s")
        async with _watchers(deployer, name, count, "resume") as (read, tell):
            assert await read() == "all here"
            deployer.kill()
            deployer.start()
            ready = time.time()
            tell("started again")
            back = await read()
    assert isinstance(back, float)
    return [Row(f"{count:,} watchers back after kill -9", f"{back - ready:.1f} s", "", back - ready, 6.0, unit="s")]


async def _a_watched_deployment(client: Client, *, beat: str, first: str) -> str:
    waits = [{"name": "first", "wait": {"duration": first}}]
    waits += [{"name": f"beat-{number}", "wait": {"duration": beat}} for number in range(BEATS)]
    await register(client, a_pipeline("beats", *waits))
    return str((await deploy(client, "beats")).name)


@asynccontextmanager
async def _watchers(
    deployer: DeployerProcess, name: str, count: int, how: str = "listen"
) -> AsyncIterator[tuple[Callable[[], Awaitable[object]], Callable[[str], None]]]:
    command = [sys.executable, "-m", "bench.watchers", how, deployer.address, deployer.token, name, str(count)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**26
    )
    assert process.stdin is not None
    assert process.stdout is not None
    output, commands = process.stdout, process.stdin

    async def read() -> object:
        return json.loads(await asyncio.wait_for(output.readline(), 120))

    try:
        yield read, lambda line: commands.write(f"{line}\n".encode())
    finally:
        process.kill()
        await process.wait()


# ---- the other process ----------------------------------------------------------------------------------------------


async def listen(address: str, token: str, name: str, count: int) -> None:
    """Watch, note when each event came, and tell how late that was."""
    channels = [
        grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(CHANNELS)
    ]
    request = pb.WatchDeploymentRequest(name=name)
    metadata = (("authorization", f"Bearer {token}"),)
    arrivals: dict[bytes, list[float]] = {}
    here, done = 0, 0
    all_here, all_done = asyncio.Event(), asyncio.Event()

    async def one(channel: grpc.aio.Channel) -> None:
        nonlocal here, done
        method: grpc.aio.UnaryStreamMultiCallable[Any, Any] = channel.unary_stream(
            "/opsuite.deployer.v1.DeploymentService/WatchDeployment",
            request_serializer=pb.WatchDeploymentRequest.SerializeToString,
        )
        call = method(request, metadata=metadata)
        first = True
        async for answer in call:
            if first:
                here += 1
                if here == count:
                    all_here.set()
                first = False
            else:
                arrivals.setdefault(answer, []).append(time.time())
        done += 1
        if done == count:
            all_done.set()

    tasks = []
    for number in range(count):
        tasks.append(asyncio.create_task(one(channels[number % CHANNELS])))
        if number % 100 == 99:
            await asyncio.sleep(0.02)
    await all_here.wait()
    tell("all here")
    await all_done.wait()
    late = []
    for payload, times in arrivals.items():
        answer = pb.WatchDeploymentResponse.FromString(payload)
        if answer.events and len(times) == count:
            told = answer.events[-1].time.ToNanoseconds() / 1e9
            late.append([(when - told) * 1000 for when in times])
    tell(late)


async def resume(address: str, token: str, name: str, count: int) -> None:
    """Watch with the library's client, and tell when all have heard from the second life of the server."""
    here, back = set[int](), set[int]()
    all_here, all_back = asyncio.Event(), asyncio.Event()
    again_at = float("inf")

    async def one(number: int, stub: pb_grpc.DeploymentServiceAsyncStub) -> None:
        request = pb.WatchDeploymentRequest(name=name)
        request.heartbeat.seconds = 5
        async for answer in watch(stub.WatchDeployment, request):
            here.add(number)
            if len(here) == count:
                all_here.set()
            if answer.server_time.ToNanoseconds() / 1e9 > again_at:
                back.add(number)
                if len(back) == count:
                    all_back.set()

    async def read_commands() -> None:
        nonlocal again_at
        await asyncio.to_thread(sys.stdin.readline)
        again_at = time.time()

    async with asyncio.TaskGroup() as group:
        connections = [connect(Target(address, token)) for _ in range(CHANNELS)]
        opened = [await each.__aenter__() for each in connections]
        stubs = [pb_grpc.DeploymentServiceStub(each.channel) for each in opened]
        watchers = [group.create_task(one(number, stubs[number % CHANNELS])) for number in range(count)]
        commands = group.create_task(read_commands())
        await all_here.wait()
        tell("all here")
        await commands
        await all_back.wait()
        tell(time.time())
        for task in watchers:
            task.cancel()


def tell(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    how, address, token, name, count = sys.argv[1:]
    asyncio.run({"listen": listen, "resume": resume}[how](address, token, name, int(count)))
