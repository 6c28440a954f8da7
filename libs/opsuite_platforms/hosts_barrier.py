"""The first host as barrier: a new spec has to run there before any other host is touched.

`judge` is pure; around it, the replicas are looked at and asked whether they are ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from opsuite_platforms.port import Readiness, Replica, ReplicaPhase

POLL_SECONDS = 0.1
STATUS_LINE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Barrier:
    """How much proof the first host has to give, and how long that may take."""

    deadline: timedelta = timedelta(minutes=5)
    steady: timedelta = timedelta(seconds=2)
    """Replicas that nothing else tells about have to run for so long in a row."""
    max_restarts: int = 3


@dataclass(frozen=True, slots=True)
class Broken:
    """The first host failed."""

    replica: str
    why: str


async def prove(
    look: Callable[[], Awaitable[Sequence[Replica]]],
    answers: Callable[[Replica], Awaitable[bool]] | None,
    version: str,
    barrier: Barrier,
) -> Broken | None:
    """Wait until the replicas are good (None) or not (why). `answers` None: running steadily is enough.

    What `look` raises passes.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    steady_since, before = began, list[object]()
    while True:
        replicas, now = await look(), loop.time()
        if (lives := [(replica.name, replica.started_at, replica.restarts) for replica in replicas]) != before:
            steady_since, before = now, list(lives)
        if broken := judge(replicas, version, barrier.max_restarts):
            return broken
        if all(is_up(replica, version) for replica in replicas):
            ready = [answers is None or await answers(replica) for replica in replicas]
            if all(ready) and (answers is not None or now - steady_since >= barrier.steady.total_seconds()):
                return None
        else:
            steady_since = now
        if now - began >= barrier.deadline.total_seconds():
            return overdue(replicas, version, barrier)
        await asyncio.sleep(POLL_SECONDS)


def judge(replicas: Sequence[Replica], version: str, max_restarts: int) -> Broken | None:
    """The first replica on which waiting longer is no use."""
    for replica in replicas:
        if replica.phase is ReplicaPhase.FAILED:
            return Broken(replica.name, f"the platform has given up on it: {replica.message}")
        if replica.restarts > max_restarts and not is_up(replica, version):
            return Broken(replica.name, f"it ended {replica.restarts} times: {replica.message}")
    return None


def overdue(replicas: Sequence[Replica], version: str, barrier: Barrier) -> Broken:
    """The replica to blame when time is up: one that does not run, else the first, which does not answer."""
    late = next((replica for replica in replicas if not is_up(replica, version)), replicas[0])
    why = "it does not answer" if is_up(late, version) else late.message
    return Broken(late.name, f"not ready within {barrier.deadline.total_seconds():g} s: {why}")


def is_up(replica: Replica, version: str) -> bool:
    """Whether it runs in that version."""
    return replica.phase is ReplicaPhase.RUNNING and replica.version == version


async def answers(replica: Replica, readiness: Readiness) -> bool:
    """Whether a replica says that it can take requests."""
    with suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(readiness.timeout.total_seconds()):
            return await ask(replica.host, replica.ports[readiness.port], readiness.path)
    return False


async def ask(host: str, port: int, path: str) -> bool:
    """Connect, and if there is a path, GET it. Raises: OSError, ValueError (what answers does not speak HTTP)."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        if not path:
            return True
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        status = (await reader.read(STATUS_LINE_BYTES)).split(b" ")
        return len(status) > 1 and 200 <= int(status[1]) < 400
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
