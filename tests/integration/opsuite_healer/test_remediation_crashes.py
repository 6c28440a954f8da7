"""Healers that are killed in the middle of a remediation, and healers beside one another: nothing is done twice."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fakes.healer_incident_stage import short_directory
from fakes.healer_remediation_process import RemediationProcess, done_in, world_of
from fakes.healer_remediation_stage import (
    AT_ONCE,
    IN_VAIN,
    NO_PAUSE,
    WEB,
    RemediationClient,
    policy_form,
    remediation_stage,
    step,
)
from google.protobuf import json_format

from opsuite.healer.v1 import healing_policy_pb2, remediation_pb2
from opsuite.healer.v1 import healing_service_pb2 as pb
from opsuite.healer.v1 import incident_service_pb2 as incident_pb
from opsuite_healer.application.actions import ActionCall, ActionResult
from opsuite_healer.application.remediation import intake, mending
from opsuite_healer.domain.remediation.remediation import State
from opsuite_kernel.errors import TimedOut, Unavailable
from opsuite_runs import faults

PATIENCE_SECONDS = 240.0
"""Only a healer that is stuck needs so long."""
AGAIN_SECONDS = 0.05
MOST_LIVES = 60
OWN = [
    "healer.taken_up",
    "healer.looked",
    "healer.prepared",
    "healer.intended",
    "healer.acted",
    "healer.recorded",
    "healer.judged",
    "healer.ended",
]
SHARED = ["healer.written", "healer.committed"]
STEPS = (
    step("SCALE_UP", params={"by": "1"}, verification=IN_VAIN, retries=0),
    step("RESTART_SERVICE", verification=AT_ONCE, backoff=NO_PAUSE),
)
"""The first does not help, and leaves something to take back; the second helps."""
DONE = ["SCALE_UP process/web#web-0 by=1", "RESTART_SERVICE process/web#web-0", "SCALE_UP process/web#web-0 by=-1"]


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


def test_every_fault_point_of_remediation_is_among_these() -> None:
    points = {point.name for module in (intake, mending) for point in vars(module).values() if _is_point(point)}
    assert points == set(OWN)


@pytest.mark.parametrize(
    "point",
    [pytest.param(point, marks=[] if point == "healer.acted" else pytest.mark.long) for point in [*OWN, *SHARED]],
)
async def test_each_life_dies_a_little_later_and_everything_is_done_once(directory: Path, point: str) -> None:
    healer = RemediationProcess(directory / "healer", directory / "world")
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            lives, ended = await _live_until_it_is_over(healer, point)
    finally:
        await healer.kill()

    assert done_in(directory / "world") == DONE
    assert [remediation_pb2.AttemptState.Name(one.state)[14:] for one in ended.attempts] == ["NO_HELP", *["PROVED"] * 2]
    assert (ended.reason, ended.is_escalated) == ("VERIFIED", False)
    assert lives >= 1
    revisions = _revisions(directory / "healer" / "healer.db", ended.name)
    assert revisions == list(range(1, len(revisions) + 1))


@pytest.mark.parametrize(
    "fault",
    ["healer.taken_up", *(pytest.param(point, marks=pytest.mark.long) for point in OWN if point != "healer.taken_up")],
)
async def test_one_death_anywhere_leaves_one_clean_outcome(directory: Path, fault: str) -> None:
    healer = RemediationProcess(directory / "healer", directory / "world")
    story = _Story()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await healer.start(OPSUITE_FAULT=fault)
            await story.tell(healer)
            await healer.wait_until_killed()
            await healer.start()
            await story.tell(healer)
            ended = await story.ended(healer)
    finally:
        await healer.kill()

    assert ended.reason == "VERIFIED"
    assert done_in(directory / "world") == DONE


async def test_two_healers_never_act_twice(directory: Path, postgres_url: str) -> None:
    world = world_of(directory / "world")
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        remediation_stage(directory / "a", world, database_url=postgres_url, poll_every="PT0.2S") as one,
        remediation_stage(directory / "b", world, database_url=postgres_url, poll_every="PT0.2S") as two,
    ):
        await one.policy(*STEPS[1:], fleetGate={"maxConcurrent": 100})
        troubles = [
            stage.trouble(key=f"k{number}", target={**WEB, "replica": f"web-{number}"})
            for number in range(8)
            for stage in (one, two)
        ]
        await asyncio.gather(*troubles)
        found = await _all_over(two, 8)

    assert sorted(done_in(directory / "world")) == [f"RESTART_SERVICE process/web#web-{number}" for number in range(8)]
    assert len({each.incident for each in found}) == len(found) == 8
    assert world.actions.calls == 8


async def test_a_healer_goes_on_where_another_one_was_killed(directory: Path, postgres_url: str) -> None:
    settings = {"lease": "PT3S", "poll_every": "PT0.2S"}
    killed = RemediationProcess(directory / "a", directory / "world", postgres_url, **settings)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await killed.start(OPSUITE_FAULT="healer.acted")
            story = _Story()
            await story.tell(killed)
            await killed.wait_until_killed()
            world = world_of(directory / "world")
            async with remediation_stage(directory / "b", world, database_url=postgres_url, **settings) as healer:
                ended = await healer.until(State.SUCCEEDED)
    finally:
        await killed.kill()

    assert ended.reason == "VERIFIED"
    assert done_in(directory / "world") == DONE
    assert _epoch(postgres_url) == 2


async def test_one_that_lost_its_remediation_writes_nothing_any_more(directory: Path, postgres_url: str) -> None:
    world = world_of(directory / "world")
    gate = asyncio.Event()
    run = world.actions.run

    async def held(call: ActionCall, before: Mapping[str, str], timeout: timedelta) -> ActionResult:
        result = await run(call, before, timeout)
        await gate.wait()
        return result

    world.actions.run = held  # type: ignore[method-assign]  # the action of this test takes as long as the test wants
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        remediation_stage(directory / "a", world, database_url=postgres_url) as one,
    ):
        await one.policy(*STEPS[1:])
        await one.trouble()
        acting = await one.until(State.ACTING)
        await _until(lambda: bool(done_in(directory / "world")))
        _steal(postgres_url)
        before = _row(postgres_url)
        gate.set()
    # Whoever stops has waited for its attendants, and they have tried to write.
    after = _row(postgres_url)

    assert acting.state == remediation_pb2.REMEDIATION_STATE_ACTING
    assert before == after


async def _until(is_so: Callable[[], bool]) -> None:
    while True:
        if is_so():
            return
        await asyncio.sleep(AGAIN_SECONDS)


async def _all_over(client: RemediationClient, number: int) -> Sequence[remediation_pb2.Remediation]:
    """All remediations, once there are so many and each is over."""
    while True:
        found = await client.all()
        if len(found) >= number and all(each.HasField("end_time") for each in found):
            return found
        await asyncio.sleep(AGAIN_SECONDS)


class _Story:
    """A policy and trouble, asked for under the same ids until both are there."""

    def __init__(self) -> None:
        self._ids = [str(uuid.uuid4()) for _ in range(2)]

    async def tell(self, healer: RemediationProcess) -> None:
        """Returns when all is asked for, or the healer has died."""
        policy = json_format.ParseDict(policy_form(*STEPS, undoAfter="0s"), healing_policy_pb2.HealingPolicy())
        trouble = json_format.ParseDict(
            {"issue": "UNHEALTHY", "summary": "no answer", "key": "k1", "target": dict(WEB), "requestId": self._ids[1]},
            incident_pb.TriggerIncidentRequest(),
        )
        create = pb.CreateHealingPolicyRequest(request_id=self._ids[0], policy=policy)
        await _insist(healer, lambda client: client.healing.CreateHealingPolicy(create))
        await _insist(healer, lambda client: client.incidents.TriggerIncident(trouble))

    async def ended(self, healer: RemediationProcess) -> remediation_pb2.Remediation:
        """The one remediation, once it is over."""
        async with healer.client() as client:
            ended = await client.until(State.SUCCEEDED)
            assert [one.name for one in await client.all()] == [ended.name]
            return ended


async def _live_until_it_is_over(healer: RemediationProcess, point: str) -> tuple[int, remediation_pb2.Remediation]:
    """Lives that died, and how it ended. The first dies at the first hit, the others a hit later than the last."""
    story, lives = _Story(), 0
    while True:
        fault = f"{point}:{1 if lives == 0 and point in OWN else 2}"
        await healer.start(**({"OPSUITE_FAULT": fault} if lives < MOST_LIVES else {}))
        await story.tell(healer)
        if (ended := await _over(healer)) is not None:
            return lives, ended
        lives += 1


async def _over(healer: RemediationProcess) -> remediation_pb2.Remediation | None:
    """The remediation when it is over; None when the healer has died."""
    while not healer.is_gone:
        try:
            async with healer.client() as client:
                for one in await client.all():
                    if one.HasField("end_time"):
                        return await client.get(one.name)
        except (Unavailable, TimedOut):
            pass
        await asyncio.sleep(AGAIN_SECONDS)
    return None


async def _insist(healer: RemediationProcess, call: Callable[[RemediationClient], Awaitable[Any]]) -> None:
    """Call until it is answered, or the healer has died."""
    while not healer.is_gone:
        try:
            async with healer.client() as client:
                await call(client)
                return
        except (Unavailable, TimedOut):
            await asyncio.sleep(AGAIN_SECONDS)


def _is_point(thing: object) -> bool:
    return isinstance(thing, faults.FaultPoint)


def _revisions(database: Path, name: str) -> list[int]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT revision FROM events WHERE resource = ? ORDER BY position", (name,))
        return [revision for (revision,) in rows]


def _epoch(url: str) -> int:
    return int(_ask(url, "SELECT epoch FROM remediations")[0][0])


def _row(url: str) -> Sequence[tuple[Any, ...]]:
    return _ask(url, "SELECT state, revision, epoch, attempts, owner FROM remediations")


def _steal(url: str) -> None:
    """Somebody else has claimed it meanwhile."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "UPDATE remediations SET owner = 'thief', epoch = epoch + 1, lease_expires_at = now() + interval '1 hour'"
        )


def _ask(url: str, statement: str) -> Sequence[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()
