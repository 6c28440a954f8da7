"""A real scaler and real processes: load comes and goes, a metric fails, other hands interfere, the scaler dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

from scaler import Client, ScalerProcess, a_place, a_policy, a_workload, create, push, status_of

from opsuite.scaler.v1 import decision_pb2 as messages
from opsuite.scaler.v1 import scaler_service_pb2 as pb
from opsuite.scaler.v1 import target_service_pb2
from opsuite_platforms.port import ReplicaPhase
from opsuite_platforms.process import ProcessPlatform
from opsuite_rpc.watching import watch

PATIENCE_SECONDS = 120.0
"""Only what will never come takes so long."""
AGAIN_SECONDS = 0.05


@asynccontextmanager
async def a_shop() -> AsyncIterator[tuple[ScalerProcess, ProcessPlatform]]:
    """One replica of the workload "shop", and a scaler that looks at it every 0.3 s."""
    with a_place() as place:
        scaler = ScalerProcess(place / "scaler", place / "suite")
        first, _, last = scaler.workload_ports.partition("-")
        platform = ProcessPlatform(place / "suite", ports=range(int(first), int(last) + 1))
        try:
            await platform.start()
            await platform.apply(a_workload("shop"), epoch=1)
            await asyncio.to_thread(scaler.start)
            async with asyncio.timeout(PATIENCE_SECONDS):
                yield scaler, platform
        finally:
            platform.close()
            scaler.close()


async def test_a_workload_grows_with_its_load_and_shrinks_again_and_not_blindly() -> None:
    async with a_shop() as (scaler, platform), scaler.client() as client:
        await create(client, a_policy("shop", metrics=[_queue("2s")]))
        await _load(client, platform, 35, replicas=4)

        # Nobody hands anything in any more: the metric grows stale, and nothing shrinks.
        await _until(client, lambda status: status.readings["queue"].kind == messages.SAMPLE_KIND_STALE)
        assert (await platform.observe("shop")).desired_replicas == 4

        await _load(client, platform, 5, replicas=1)
        scaled = await _scaled(client)

    assert [(one.current_replicas, one.desired_replicas) for one in scaled] == [(1, 4), (4, 1)]


async def test_a_hand_that_changes_the_size_is_seen_and_respected() -> None:
    async with a_shop() as (scaler, platform), scaler.client() as client:
        await create(client, a_policy("shop"))
        await _load(client, platform, 20, replicas=2)
        await client.scaler.PauseScaling(pb.PauseScalingRequest(name="scalingPolicies/shop"))
        await platform.scale("shop", 5)
        await _until(client, lambda status: status.spec_replicas == 5 and status.last_activity.evaluations > 1)

        listed = await client.scaler.ListScalingActivities(
            pb.ListScalingActivitiesRequest(parent="scalingPolicies/shop", filter="cause = FOREIGN")
        )
        assert (await platform.observe("shop")).desired_replicas == 5

    assert [(one.decision.current_replicas, one.decision.desired_replicas) for one in listed.activities] == [(2, 5)]


async def test_a_scaler_that_is_killed_and_started_again_goes_on_where_it_was_and_so_does_who_watches_it() -> None:
    seen: list[messages.ScalingEvent] = []
    async with a_shop() as (scaler, platform), scaler.client() as watching:
        async with scaler.client() as client:
            await create(client, a_policy("shop"))
            ready = asyncio.Event()
            watcher = asyncio.create_task(_watch(watching, seen, ready))
            await ready.wait()
            await _load(client, platform, 20, replicas=2)
        await asyncio.to_thread(scaler.kill)
        await asyncio.to_thread(scaler.start)
        async with scaler.client() as client:
            await _load(client, platform, 35, replicas=4)
            scaled = await _scaled(client)
            await client.scaler.DeleteScalingPolicy(pb.DeleteScalingPolicyRequest(name="scalingPolicies/shop"))
        await watcher

    assert [(one.current_replicas, one.desired_replicas) for one in scaled] == [(1, 2), (2, 4)]
    first = seen[0].revision
    assert [event.revision for event in seen] == list(range(first, first + len(seen)))
    sizes = [one.activity.decision.desired_replicas for one in seen if one.kind == messages.SCALING_EVENT_KIND_SCALED]
    assert sizes == [2, 4]


async def test_what_processes_use_sizes_them_beside_what_they_requested() -> None:
    async with a_shop() as (scaler, platform), scaler.client() as client:
        await platform.apply(a_workload("hungry", cpus=0.5, memory_bytes=64 * 1024), epoch=1)
        memory = {"name": "memory", "targetMemory": {"targetPercent": 100}}
        cpu = {"name": "cpu", "targetCpu": {"targetPercent": 50}}
        await create(client, a_policy("hungry", metrics=[memory, cpu], maxReplicas=3))
        status = await _until(client, lambda status: status.spec_replicas == 3, "hungry")

        assert len((await platform.observe("hungry")).replicas) == 3
    assert {name: reading.kind for name, reading in status.readings.items()} == {
        "memory": messages.SAMPLE_KIND_VALUE,
        "cpu": messages.SAMPLE_KIND_VALUE,
    }


async def test_evaluating_now_does_not_wait_for_the_tick() -> None:
    async with a_shop() as (scaler, platform), scaler.client() as client:
        await create(client, a_policy("shop", timing={"tick": "3600s"}))
        await _until(client, lambda status: status.HasField("last_activity"))
        await push(client, 35)

        dry = await client.scaler.Evaluate(pb.EvaluateRequest(name="scalingPolicies/shop"))
        assert dry.outcome.decision.desired_replicas == 4
        assert (await platform.observe("shop")).desired_replicas == 1
        done = await client.scaler.EvaluateAndScale(pb.EvaluateAndScaleRequest(name="scalingPolicies/shop"))

        assert (await platform.observe("shop")).desired_replicas == 4
    assert done.activity.decision.desired_replicas == 4
    assert done.activity.outcome == messages.ACTIVITY_OUTCOME_ACCEPTED


async def test_a_size_is_changed_by_hand_only_where_no_policy_would_change_it_back() -> None:
    async with a_shop() as (scaler, platform), scaler.client() as client:
        target = a_policy("shop").target
        request = target_service_pb2.UpdateScaleRequest(target=target, replicas=3, expected_replicas=1)
        scale = (await client.targets.UpdateScale(request)).scale

        assert (scale.spec_replicas, scale.policy) == (3, "")
        assert len((await platform.observe("shop")).replicas) == 3
        await create(client, a_policy("shop"))
        read = (await client.targets.GetScale(target_service_pb2.GetScaleRequest(target=target))).scale
    assert read.policy == "scalingPolicies/shop"
    assert [member.phase for member in read.members] == [messages.MEMBER_PHASE_RUNNING] * 3


# --- what they are made of -------------------------------------------------------------------------------------------


async def _watch(client: Client, seen: list[messages.ScalingEvent], ready: asyncio.Event) -> None:
    """Collect every event of the shop until it is deleted, across lost connections; `ready` says when that began."""
    request = pb.WatchScalingStatusRequest(name="scalingPolicies/shop")
    async with aclosing(watch(client.scaler.WatchScalingStatus, request, pause=lambda _: AGAIN_SECONDS)) as answers:
        async for answer in answers:
            ready.set()
            seen += answer.events


def _queue(stale_after: str) -> dict[str, object]:
    return {
        "name": "queue",
        "queueLength": {"maxItems": 10, "source": "push", "query": "jobs"},
        "staleAfter": stale_after,
    }


async def _load(client: Client, platform: ProcessPlatform, jobs: float, *, replicas: int) -> None:
    """Hand in a load until the workload runs with so many replicas."""
    while True:
        await push(client, jobs)
        status = await platform.observe("shop")
        running = [one for one in status.replicas if one.phase is ReplicaPhase.RUNNING]
        if len(running) == len(status.replicas) == replicas:
            break
        await asyncio.sleep(AGAIN_SECONDS)
    await _until(client, lambda status: status.spec_replicas == replicas)


async def _until(
    client: Client, is_it: Callable[[messages.ScalingStatus], bool], name: str = "shop"
) -> messages.ScalingStatus:
    """The status of a target, once it is so."""
    while True:
        status = await status_of(client, name)
        if is_it(status):
            return status
        await asyncio.sleep(AGAIN_SECONDS)


async def _scaled(client: Client) -> list[messages.Decision]:
    """What was decided and done, the oldest first."""
    request = pb.ListScalingActivitiesRequest(
        parent="scalingPolicies/shop", filter="verdict = SCALE AND outcome = ACCEPTED"
    )
    listed = await client.scaler.ListScalingActivities(request)
    return [one.decision for one in reversed(listed.activities)]
