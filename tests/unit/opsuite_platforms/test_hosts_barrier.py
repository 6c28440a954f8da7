from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePath

import pytest

from opsuite_platforms.hosts_barrier import Barrier, Broken, judge, prove
from opsuite_platforms.port import Replica, ReplicaPhase
from opsuite_platforms.ssh_machine import SshSpawns, listening_ports
from opsuite_platforms.supervised import Share

BORN = datetime(2026, 1, 1, tzinfo=UTC)


def a_replica(phase: ReplicaPhase = ReplicaPhase.RUNNING, *, restarts: int = 0, version: str = "2.0.0") -> Replica:
    return Replica("web-0", version, phase, {"http": 80}, started_at=BORN, restarts=restarts, message="exit status 3")


@pytest.mark.parametrize(
    ("replica", "is_broken"),
    [
        (a_replica(), False),
        (a_replica(restarts=9), False),
        (a_replica(ReplicaPhase.BACKOFF, restarts=3), False),
        (a_replica(ReplicaPhase.BACKOFF, restarts=4), True),
        (a_replica(ReplicaPhase.FAILED), True),
        (a_replica(ReplicaPhase.STARTING), False),
    ],
)
def test_waiting_ends_early_when_it_is_no_use(replica: Replica, *, is_broken: bool) -> None:
    assert (judge([replica], "2.0.0", max_restarts=3) is not None) == is_broken


async def test_replicas_that_run_steadily_are_good() -> None:
    assert await proved([a_replica()], Barrier(steady=timedelta(0))) is None


async def test_replicas_that_do_not_run_steadily_are_not() -> None:
    barrier = Barrier(steady=timedelta(hours=1), deadline=timedelta(0))

    assert await proved([a_replica()], barrier) is not None


@pytest.mark.parametrize("replica", [a_replica(version="1.0.0"), a_replica(ReplicaPhase.STOPPED)])
async def test_replicas_that_never_come_are_blamed_when_time_is_up(replica: Replica) -> None:
    broken = await proved([replica], Barrier(deadline=timedelta(0), steady=timedelta(0)))

    assert broken == Broken("web-0", "not ready within 0 s: exit status 3")


async def test_a_replica_that_is_asked_need_not_run_for_long() -> None:
    asked = list[str]()

    async def answers(replica: Replica) -> bool:
        asked.append(replica.name)
        return len(asked) > 1

    assert await proved([a_replica()], Barrier(steady=timedelta(hours=1)), answers) is None
    assert asked == ["web-0", "web-0"]


async def proved(replicas: Sequence[Replica], barrier: Barrier, answers: object = None) -> Broken | None:
    async def look() -> Sequence[Replica]:
        await asyncio.sleep(0)
        return replicas

    return await prove(look, answers, "2.0.0", barrier)  # type: ignore[arg-type]  # a callback or None


@pytest.mark.parametrize(("hosts", "replicas"), [(1, 4), (2, 3), (3, 2), (3, 7), (4, 0)])
def test_every_replica_lives_on_exactly_one_host_and_no_host_has_two_more_than_another(
    hosts: int, replicas: int
) -> None:
    shares = [Share(number, hosts).indexes(replicas) for number in range(hosts)]

    assert sorted(index for share in shares for index in share) == list(range(replicas))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


class Logs:
    """Files of a host, as far as a count of starts reads them."""

    def __init__(self) -> None:
        self.files = dict[str, bytes]()

    def read_from(self, path: PurePath, offset: int, limit_bytes: int | None = None) -> bytes:
        return self.files.get(path.name, b"")[offset:][:limit_bytes]


def test_starts_are_counted_once_across_the_rotation_of_the_log() -> None:
    logs = Logs()
    spawns = SshSpawns(logs, PurePath("supervisord.log"))  # type: ignore[arg-type]  # a part of a machine
    line = b"2026-01-01 00:00:0%d,000 INFO spawned: 'web-0.1' with pid 7\n"

    spawns.update()
    logs.files["supervisord.log"] = line % 1 + (line % 2)[:20]  # the rest of the line comes later
    spawns.update()
    logs.files |= {"supervisord.log.1": line % 1 + line % 2 + line % 3, "supervisord.log": b""}
    spawns.update()
    logs.files["supervisord.log"] = line % 4
    spawns.update()
    spawns.update()

    assert spawns.count("web-0.1") == 4


def test_only_ports_on_which_somebody_listens_are_taken() -> None:
    table = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 0100007F:1F90 0100007F:0051 01 00000000:00000000 00:00000000 00000000     0        0 2
"""

    assert listening_ports(table) == {80}
