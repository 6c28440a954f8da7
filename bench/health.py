"""How many targets one core keeps an eye on: HTTP checks every 30 s, by the real service over its embedded database.

The healer is held on one core and pays for everything: asking, judging, writing down. Whom it asks is another process
on the other cores, which only accepts connections and answers at once. Lag is the time between the turn of a check and
its look, as the service itself measures it.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from fakes.healer_checks import CheckStage, ToldTroubles, check_stage

from bench.table import Row
from opsuite.healer.v1 import check_pb2, target_pb2
from opsuite_healer.adapters.checks import tables
from opsuite_healer.adapters.checks.check_messages import document_of, spec_of

CHECKS = 5000
INTERVAL = timedelta(seconds=30)
GOAL_SECONDS = 1.0
GROWTH = (1000, 2500, 5000, 10_000)

PEER = """
import asyncio, sys

async def answer(reader, writer):
    try:
        await reader.readuntil(b"\\r\\n\\r\\n")
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""


@dataclass(frozen=True)
class Watched:
    """What one interval has shown."""

    looks: int
    lag_p99: float
    """Seconds; the end of the bucket that it is in."""
    busy: float
    """Share of the core."""
    memory_bytes: int


async def measure(count: int) -> Watched:
    """Keep an eye on so many for one interval, after one in which all get going."""
    with a_peer() as port, one_core(), tempfile.TemporaryDirectory() as folder:
        async with check_stage(Path(folder)) as stage:
            await fill(stage, count, port)
            await asyncio.sleep(INTERVAL.total_seconds() * 1.2)
            before, cpu, began = buckets(stage), time.process_time(), time.monotonic()
            await asyncio.sleep(INTERVAL.total_seconds())
            after, busy = buckets(stage), (time.process_time() - cpu) / (time.monotonic() - began)
            assert stage.troubles == ToldTroubles(), "somebody did not answer"
    looks = {bound: after[bound] - before[bound] for bound in after}
    total = looks[float("inf")]
    p99 = next(bound for bound, seen in sorted(looks.items()) if seen >= 0.99 * total)
    return Watched(int(total), p99, busy, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


async def fill(stage: CheckStage, count: int, port: int) -> None:
    """Record checks all at once, as an import would, and let them be found."""
    house = stage.stage.house
    now = datetime.now(UTC)
    rows = [row(f"check-{number:05}", port, now) for number in range(count)]
    await house.database.write(lambda connection: connection.execute(sa.insert(tables.checks), rows).close())
    house.store.heard("checks", "")


def row(name: str, port: int, now: datetime) -> dict[str, object]:
    """A check as it stands in the table."""
    message = check_pb2.Check(name=f"healthChecks/{name}", target=target_pb2.TargetRef(workload=name))
    message.http.url = f"http://127.0.0.1:{port}/health"
    message.interval.FromTimedelta(INTERVAL)
    spec = spec_of(message)
    return {
        "id": name,
        "platform": "",
        "workload": name,
        "whole": spec.target.canonical,
        "replica": "",
        "group": "",
        "document": document_of(message),
        "number": 1,
        "created_at": now,
        "updated_at": now,
        "created_by": "bench",
        "revision": 0,
        "changed": 0,
        "grace_until": None,
        "epoch": 0,
    }


def buckets(stage: CheckStage) -> dict[float, float]:
    """Looks by the lag that they had at most."""
    found: dict[float, float] = {}
    for metric in stage.stage.house.registry.collect():
        for sample in metric.samples:
            if sample.name.endswith("healer_check_lag_seconds_bucket"):
                found[float(sample.labels["le"])] = sample.value
    return found


@contextmanager
def a_peer() -> Iterator[int]:
    """Somebody to ask, beside our core where there is another; gives the port."""
    process = subprocess.Popen([sys.executable, "-c", PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    others = os.sched_getaffinity(0) - {our_core()}
    if others:
        os.sched_setaffinity(process.pid, others)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@contextmanager
def one_core() -> Iterator[None]:
    """Hold this process on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {our_core()})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def our_core() -> int:
    return min(os.sched_getaffinity(0))


def row_of(count: int, seen: Watched) -> Row:
    """One line of the table; the goal is for the number that was promised."""
    told = f"p99 <= {seen.lag_p99:g} s, {seen.busy:.0%} of the core, {seen.looks} looks"
    goal = GOAL_SECONDS if count == CHECKS else None
    return Row(f"lag of {count:,} checks at 30 s on one core", told, value=seen.lag_p99, goal=goal, unit="s")


async def main(rounds: int) -> list[Row]:
    """The number that was promised, and with more than one round what it grows from and to."""
    counts: Sequence[int] = GROWTH if rounds > 1 else (CHECKS,)
    return [row_of(count, await measure(count)) for count in counts]


if __name__ == "__main__":
    from bench.table import render

    sys.stdout.write(render(asyncio.run(main(1))) + "\n")
