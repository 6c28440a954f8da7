"""Ten steps beside the floor and the peers; fifty pipelines at once; the way to the first step; memory."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from deployer import Client, DeployerProcess, a_command, a_pipeline, deploy, ended, register

from bench.contestants import CONTESTANTS, FLOOR, Contestant, NotHere, Running, start
from bench.deployers import STEPS, a_bench_deployer, deploy_and_wait, memory_mib, register_ten, settle
from bench.table import Row, ms, p50, p95
from opsuite.deployer.v1 import deployment_service_pb2 as pb

AT_ONCE = 50
FASTER_THAN = {"dbos_ten": 1.8, "prefect_ten": 50.0}
"""Goals against peers: at least so many times faster."""


async def ten_steps(rounds: int) -> list[Row]:
    """Ten times /bin/true on a running server, from Deploy to the last event.

    Peers with a server of their own, which is never quite idle, come in a second sitting.
    """
    rows = await _sitting(rounds, [peer for peer in CONTESTANTS if not peer.has_server])
    in_company = await _sitting(max(1, rounds // 2), [peer for peer in CONTESTANTS if peer.has_server])
    return rows + in_company[2:]


async def _sitting(rounds: int, peers: Sequence[Contestant]) -> list[Row]:
    """Ours beside the floor, then ours beside each of `peers`; rounds in turn."""
    with (
        tempfile.TemporaryDirectory(prefix="opsuite-bench-") as directory,
        a_bench_deployer() as deployer,
        _running(FLOOR, Path(directory)) as floor,
    ):
        async with deployer.client() as client:
            await register_ten(client, "ten")
            ours, others, missing = await _in_turns(client, floor, Path(directory), rounds, peers)
    base = p50(floor.times)
    rows = [
        Row("ten steps, p50", ms(p50(ours)), f"floor {ms(base)}", p50(ours) / base, 2.0),
        Row("ten steps, p95 over the floor's p50", ms(p95(ours)), f"floor {ms(base)}", p95(ours) / base, 3.0),
    ]
    for peer in others:
        script = peer.contestant.script
        faster = p50(peer.times) / p50(ours)
        goal = FASTER_THAN.get(script)
        rows.append(
            Row(f"times faster than {peer.contestant.name}", ms(p50(ours)), ms(p50(peer.times)), faster, goal, True)
        )
    return rows + [Row(f"times faster than {name}", "", why_not=why) for name, why in missing.items()]


async def _in_turns(
    client: Client, floor: Running, directory: Path, rounds: int, peers: Sequence[Contestant]
) -> tuple[list[float], list[Running], dict[str, str]]:
    ours: list[float] = []
    missing: dict[str, str] = {}
    running: list[Running] = []
    for peer in peers:
        try:
            running.append(await asyncio.to_thread(start, peer, directory))
            await asyncio.to_thread(running[-1].ten, 1)  # warm
            running[-1].times.clear()
        except NotHere as why:
            missing[peer.name] = str(why)
    await asyncio.to_thread(floor.ten, 5)
    for _ in range(20):
        await deploy_and_wait(client, "ten")
    floor.times.clear()
    for _ in range(rounds):
        await asyncio.to_thread(floor.ten, 10)
        ours += [await deploy_and_wait(client, "ten") for _ in range(10)]
        for each in running:
            if each.contestant.name not in missing:
                try:
                    await asyncio.to_thread(each.ten, each.contestant.pipelines)
                except NotHere as why:
                    missing[each.contestant.name] = str(why)
    for each in running:
        each.close()
    return ours, [each for each in running if each.contestant.name not in missing and each.times], missing


async def at_once(rounds: int) -> list[Row]:
    """Fifty pipelines at once, in steps per second beside the floor and DBOS; the deployer's memory on the way."""
    with tempfile.TemporaryDirectory(prefix="opsuite-bench-") as name:
        directory = Path(name)
        with _a_warm_start(DEPLOYER_MAX_CONCURRENT_DEPLOYMENTS=str(AT_ONCE)) as deployer:
            idle = memory_mib(deployer)
            dbos = None
            with _running(FLOOR, directory) as floor:
                with suppress(NotHere):
                    dbos = await asyncio.to_thread(start, CONTESTANTS[0], directory)
                rates: dict[str, list[float]] = {"ours": [], "floor": [], "dbos": []}
                most = 0.0
                async with deployer.client() as client:
                    for number in range(AT_ONCE):
                        await register_ten(client, f"ten-{number}")
                    for turn in range(rounds + 1):
                        ours, seen = await _all_at_once(client, deployer)
                        most = max(most, seen)
                        found = {"ours": ours, "floor": await asyncio.to_thread(floor.many, AT_ONCE)}
                        found["dbos"] = await asyncio.to_thread(dbos.many, AT_ONCE) if dbos else None
                        for who, seconds in found.items():
                            if turn and seconds:  # the first round warms
                                rates[who].append(AT_ONCE * STEPS / seconds)
                if dbos:
                    dbos.close()
    ours, base = p50(rates["ours"]), p50(rates["floor"])
    rows = [Row("50 pipelines at once", f"{ours:.0f} steps/s", f"floor {base:.0f}", ours / base, 0.7, True)]
    if rates["dbos"]:
        beside = p50(rates["dbos"])
        rows.append(Row("50 at once, DBOS", f"{ours:.0f} steps/s", f"{beside:.0f}", ours / beside, 2.7, True))
    rows.append(Row("memory idle", f"{idle:.0f} MiB", "", idle, 110, unit="MiB"))
    rows.append(Row("memory with 50 running", f"{most:.0f} MiB", "", most, 140, unit="MiB"))
    return rows


async def _all_at_once(client: Client, deployer: DeployerProcess) -> tuple[float, float]:
    """Seconds until all have ended, and the most memory that was seen."""
    most, finished = 0.0, asyncio.Event()

    async def look() -> None:
        nonlocal most
        while not finished.is_set():
            most = max(most, memory_mib(deployer))
            await asyncio.sleep(0.05)

    looking = asyncio.create_task(look())
    began = time.perf_counter()
    await asyncio.gather(*(deploy_and_wait(client, f"ten-{number}") for number in range(AT_ONCE)))
    seconds = time.perf_counter() - began
    finished.set()
    await looking
    return seconds, most


async def first_step(times: int) -> list[Row]:
    """From asking until the first program runs: the program itself says when that was."""
    with a_bench_deployer(DEPLOYER_COMMAND_NAMES="date") as deployer:
        async with deployer.client() as client:
            await register(client, a_pipeline("clock", a_command("when", "date", "+%s.%N")))
            taken = []
            for turn in range(times + 5):
                asked = time.time()
                name = (await deploy(client, "clock")).name
                await ended(client, name)
                lines = (await client.deployments.ListLogs(pb.ListLogsRequest(name=name))).lines
                if turn >= 5:
                    taken.append((float(lines[0].text) - asked) * 1000)
    return [
        Row("request to first step, p50", ms(p50(taken)), "", p50(taken), 3.0, unit="ms"),
        Row("request to first step, p95", ms(p95(taken)), "", p95(taken), 10.0, unit="ms"),
    ]


@contextmanager
def _a_warm_start(**settings: str) -> Iterator[DeployerProcess]:
    """A deployer that found its database as it wanted it, as all but the first start do."""
    with a_bench_deployer(**settings) as deployer:
        deployer.restart()
        time.sleep(1)
        yield deployer


@contextmanager
def _running(contestant: Contestant, directory: Path) -> Iterator[Running]:
    running = start(contestant, directory)
    try:
        yield running
    finally:
        running.close()


async def main(rounds: int = 6) -> list[Row]:
    rows = await ten_steps(rounds)
    await settle()
    rows += await at_once(max(2, rounds // 2))
    return rows + await first_step(rounds * 10)
