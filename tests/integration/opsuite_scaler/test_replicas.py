"""Two replicas on one PostgreSQL: one decider for each target, whatever becomes of the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import psycopg
import pytest
from fakes.external_target import Sizes, an_external_target
from scaler import ScalerProcess, a_place, a_policy, create, push, status_of

from opsuite.scaler.v1 import decision_pb2 as messages
from opsuite.scaler.v1 import policy_pb2
from opsuite.scaler.v1 import scaler_service_pb2 as pb
from opsuite_kernel.errors import Unavailable

PATIENCE_SECONDS = 120.0
"""Only what will never come takes so long."""
AGAIN_SECONDS = 0.05


@pytest.fixture
def team(postgres_url: str) -> Iterator[tuple[ScalerProcess, ScalerProcess]]:
    """Two replicas, with a lease of two seconds."""
    with a_place() as place:
        settings = {"SCALER_DATABASE_URL": postgres_url, "SCALER_LEASE": "2"}
        first, second = (ScalerProcess(place / name, place / "suite", settings) for name in ("one", "two"))
        try:
            first.start()
            second.start()
            yield first, second
        finally:
            first.close()
            second.close()


async def test_a_target_is_scaled_once_and_by_one_of_them(
    team: tuple[ScalerProcess, ScalerProcess], postgres_url: str
) -> None:
    first, second = team
    async with asyncio.timeout(PATIENCE_SECONDS), an_external_target(shop=1) as sizes:
        async with first.client() as client:
            await create(client, _policy(sizes))
        async with second.client() as client:
            await push(client, 35)
            await sizes.until("shop", 4)
            await _until_quiet(second)
    assert sizes.calls == [("shop", 4)]
    assert len(_epochs(postgres_url)) == 1


async def test_when_the_decider_dies_the_other_one_goes_on(
    team: tuple[ScalerProcess, ScalerProcess], postgres_url: str
) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS), an_external_target(shop=1) as sizes:
        async with team[0].client() as client:
            await create(client, _policy(sizes))
            await push(client, 10)
        decider, other = await _who_decides(team)
        before = _epochs(postgres_url)
        decider.kill()
        async with other.client() as client:
            await push(client, 35)
            await sizes.until("shop", 4)
            await _until_quiet(other)

    assert sizes.changes == [("shop", 1, 4)]
    assert _epochs(postgres_url) > before
    assert _revisions(postgres_url) == list(range(1, len(_revisions(postgres_url)) + 1))


async def test_a_wish_at_one_replica_reaches_the_decider_at_the_other(
    team: tuple[ScalerProcess, ScalerProcess],
) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS), an_external_target(shop=1) as sizes:
        async with team[0].client() as client:
            policy = _policy(sizes)
            policy.timing.tick.FromSeconds(3600)
            await create(client, policy)
        for replica in team:
            size = sizes.now["shop"] + 1
            async with replica.client() as client:
                request = pb.SetDesiredCapacityRequest(name="scalingPolicies/shop", replicas=size)
                await client.scaler.SetDesiredCapacity(request)
                await sizes.until("shop", size)


async def test_a_watch_goes_on_at_the_other_replica(team: tuple[ScalerProcess, ScalerProcess]) -> None:
    first, second = team
    request = pb.WatchScalingStatusRequest(name="scalingPolicies/shop")
    seen: list[messages.ScalingEvent] = []
    async with asyncio.timeout(PATIENCE_SECONDS), an_external_target(shop=1) as sizes:
        async with first.client() as client:
            await create(client, _policy(sizes))
            async with aclosing(_answers(client.scaler.WatchScalingStatus(request))) as answers:
                snapshot = await anext(answers)
                request.resume_token = snapshot.resume_token
        first.kill()
        async with second.client() as client:
            await push(client, 35)
            async with aclosing(_answers(client.scaler.WatchScalingStatus(request))) as answers:
                async for answer in answers:
                    seen += answer.events
                    if any(event.kind == messages.SCALING_EVENT_KIND_SCALED for event in seen):
                        break

    after = snapshot.snapshot.statuses[0].revision
    assert [event.revision for event in seen] == list(range(after + 1, after + len(seen) + 1))


async def _answers(call: Any) -> AsyncGenerator[pb.WatchScalingStatusResponse, None]:
    try:
        async for answer in call:
            yield answer
    finally:
        call.cancel()


def _policy(sizes: Sizes) -> policy_pb2.ScalingPolicy:
    return a_policy("shop", target={"kind": "TARGET_KIND_EXTERNAL", "name": "shop", "address": sizes.address})


async def _until_quiet(scaler: ScalerProcess) -> None:
    """Return when several looks in a row have found nothing to do at the new size."""
    async with scaler.client() as client:
        while True:
            try:
                last = (await status_of(client, "shop")).last_activity
            except Unavailable:
                continue
            if last.decision.current_replicas == 4 and last.evaluations >= 3:
                return
            await asyncio.sleep(AGAIN_SECONDS)


async def _who_decides(team: tuple[ScalerProcess, ScalerProcess]) -> tuple[ScalerProcess, ScalerProcess]:
    """The one that looks after the target, and the other one."""
    while True:
        for decider, other in (team, team[::-1]):
            if "bitcraps_scaler_targets 1.0" in await asyncio.to_thread(decider.metrics):
                return decider, other
        await asyncio.sleep(AGAIN_SECONDS)


def _epochs(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [epoch for (epoch,) in connection.execute("SELECT epoch FROM targets")]


def _revisions(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [one for (one,) in connection.execute("SELECT revision FROM events ORDER BY position")]
