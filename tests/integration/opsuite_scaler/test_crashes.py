"""A scaler that is killed anywhere in a look, and started again, scales once and has a history without a hole."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import uuid
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from fakes.external_target import Sizes, an_external_target
from scaler import Client, ScalerProcess, a_place, a_policy, push

from opsuite.scaler.v1 import decision_pb2 as messages
from opsuite.scaler.v1 import scaler_service_pb2 as pb
from opsuite_kernel.errors import TimedOut, Unavailable
from opsuite_runs import faults
from opsuite_scaler import composition

PATIENCE_SECONDS = 120.0
"""Only a scaler that is stuck needs so long."""
AGAIN_SECONDS = 0.05
POINTS = sorted(name for name in faults.declared() if name.startswith("scaler."))
SAMPLED = [
    "scaler.seen:1",
    "scaler.decided:1",
    "scaler.told:1",
    "scaler.done:1",
    "scaler.written:3",
    "scaler.committed:3",
]
PASSED_ONCE = {"scaler.decided", "scaler.told"}
"""There is one change of the size, so there is no second hit."""
LONG = [
    f"{point}:{hit}"
    for point in POINTS
    for hit in range(1, 2 if point in PASSED_ONCE else 9)
    if f"{point}:{hit}" not in SAMPLED
]


@pytest.mark.parametrize("fault", [*SAMPLED, *(pytest.param(fault, marks=pytest.mark.long) for fault in LONG)])
async def test_a_scaler_that_dies_in_a_look_scales_once(fault: str) -> None:
    with a_place() as place:
        scaler = ScalerProcess(place / "scaler", place / "suite")
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), an_external_target(shop=1) as sizes:
                await _die_and_go_on(scaler, sizes, fault)
                events, activities = await _history(scaler)
        finally:
            scaler.close()

    assert sizes.changes == [("shop", 1, 4)]
    assert [event.revision for event in events] == list(range(1, len(events) + 1))
    scaled = [one for one in activities if one.outcome == messages.ACTIVITY_OUTCOME_ACCEPTED]
    assert [(one.cause, one.decision.current_replicas, one.decision.desired_replicas) for one in scaled] == [
        (messages.ACTIVITY_CAUSE_POLICY, 1, 4)
    ]
    assert not [one for one in activities if one.outcome == messages.ACTIVITY_OUTCOME_PENDING]


def test_every_fault_point_is_among_the_sampled_ones() -> None:
    assert callable(composition.build)  # what it imports has declared its points
    assert {fault.partition(":")[0] for fault in SAMPLED} == set(POINTS)


async def _die_and_go_on(scaler: ScalerProcess, sizes: Sizes, fault: str) -> None:
    """Let a life that dies at the fault see what it has to scale for, or die before, and one after it go on."""
    request = pb.CreateScalingPolicyRequest(request_id=str(uuid.uuid4()), policy=_policy(sizes))
    for life in ({"OPSUITE_FAULT": fault}, {}):
        await asyncio.to_thread(partial(scaler.start, wait=False, **life))
        await _insist(scaler, lambda client: client.scaler.CreateScalingPolicy(request))
        await _insist(scaler, lambda client: push(client, 35))
        if life:
            assert await asyncio.to_thread(scaler.wait_until_gone) == -signal.SIGKILL
    await sizes.until("shop", 4)
    await _settled(scaler)


def _policy(sizes: Sizes) -> Any:
    return a_policy("shop", target={"kind": "TARGET_KIND_EXTERNAL", "name": "shop", "address": sizes.address})


async def _insist(scaler: ScalerProcess, call: Callable[[Client], Awaitable[Any]]) -> None:
    """Call until it is answered, or nobody is left to answer."""
    while scaler.process is not None and scaler.process.poll() is None:
        try:
            async with scaler.client() as client:
                await call(client)
                return
        except (Unavailable, TimedOut, FileNotFoundError):
            await asyncio.sleep(AGAIN_SECONDS)


async def _settled(scaler: ScalerProcess) -> None:
    """Return when the last thing that was decided is that nothing is to be done."""
    request = pb.GetScalingStatusRequest(name="scalingPolicies/shop")
    async with scaler.client() as client:
        while True:
            last = (await client.scaler.GetScalingStatus(request)).status.last_activity
            if last.outcome == messages.ACTIVITY_OUTCOME_NONE and last.decision.current_replicas == 4:
                return
            await asyncio.sleep(AGAIN_SECONDS)


async def _history(scaler: ScalerProcess) -> tuple[list[messages.ScalingEvent], list[messages.ScalingActivity]]:
    """Every event that was told and every activity that is kept."""
    async with scaler.client() as client:
        listed = await client.scaler.ListScalingActivities(
            pb.ListScalingActivitiesRequest(parent="scalingPolicies/shop")
        )
        status = (await client.scaler.GetScalingStatus(pb.GetScalingStatusRequest(name="scalingPolicies/shop"))).status
        return await asyncio.to_thread(_events_in, scaler, status.revision), list(listed.activities)


def _events_in(scaler: ScalerProcess, last: int) -> list[messages.ScalingEvent]:
    path = f"file:{scaler.data_dir}/scaler.db?mode=ro"
    with closing(sqlite3.connect(path, uri=True)) as connection:
        rows = connection.execute(
            "SELECT payload FROM events WHERE revision <= ? ORDER BY position", (last,)
        ).fetchall()
    return [messages.ScalingEvent.FromString(payload) for (payload,) in rows]
