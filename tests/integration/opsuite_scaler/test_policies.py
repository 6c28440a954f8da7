"""Policies, pools and metrics over a real socket, on both databases: made, changed, listed, watched, forgotten."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fakes.external_target import an_external_target
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from scaler import ScalerProcess, a_policy, a_scaler, create, push

from opsuite.externalscaler import externalscaler_pb2
from opsuite.externalscaler.externalscaler_pb2_grpc import ExternalScalerStub
from opsuite.scaler.v1 import decision_pb2 as messages
from opsuite.scaler.v1 import metrics_service_pb2, policy_pb2, pool_service_pb2, simulation_service_pb2
from opsuite.scaler.v1 import scaler_service_pb2 as pb
from opsuite.scaler.v1.simulation_service_pb2_grpc import SimulationServiceStub
from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, Stale
from opsuite_rpc.channel import Target, connect

PATIENCE_SECONDS = 120.0


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def scaler(request: pytest.FixtureRequest) -> Iterator[ScalerProcess]:
    """One scaler for all tests of this file, on each database."""
    with ExitStack() as stack:
        settings = {}
        if request.param == "postgresql":
            cluster = request.getfixturevalue("postgres_cluster")
            database = cluster.take_database()
            stack.callback(cluster.give_back_database, database)
            settings["SCALER_DATABASE_URL"] = cluster.url(database)
        yield stack.enter_context(a_scaler(**settings))


def named(prefix: str) -> str:
    """A name of a test's own."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def a_pool(name: str) -> pool_service_pb2.CapacityPool:
    """Five replicas."""
    return pool_service_pb2.CapacityPool(name=name, capacity=5)


async def test_a_policy_is_kept_as_it_was_given(scaler: ScalerProcess) -> None:
    name = named("kept")
    given = a_policy(name, displayName="The shop", labels={"team": "blue"}, minReplicas=0)
    async with scaler.client() as client:
        made = await create(client, given)
        read = (await client.scaler.GetScalingPolicy(pb.GetScalingPolicyRequest(name=given.name))).policy

    assert read == made
    assert (made.etag, made.created_by, made.mode.mode) == ("1", "local", policy_pb2.SCALING_MODE_ACTIVE)
    for field in ("etag", "created_by", "create_time", "update_time", "mode"):
        made.ClearField(field)
    assert made == given


async def test_a_repeated_request_makes_one_policy(scaler: ScalerProcess) -> None:
    request = pb.CreateScalingPolicyRequest(request_id=str(uuid.uuid4()), policy=a_policy(named("again")))
    async with scaler.client() as client:
        first = await client.scaler.CreateScalingPolicy(request)
        second = await client.scaler.CreateScalingPolicy(request)

        assert first == second
        request.policy.max_replicas = 7
        with pytest.raises(InvalidInput):
            await client.scaler.CreateScalingPolicy(request)


async def test_a_target_has_one_policy(scaler: ScalerProcess) -> None:
    name = named("taken")
    async with scaler.client() as client:
        await create(client, a_policy(name))
        with pytest.raises(Conflict) as same:
            await create(client, a_policy(name))
        with pytest.raises(Conflict) as other:
            await create(client, a_policy(f"{name}-too", target={"name": name, "platform": "process"}))

    assert (same.value.reason, other.value.reason) == ("POLICY_EXISTS", "TARGET_TAKEN")


async def test_an_update_changes_the_fields_of_its_mask_alone(scaler: ScalerProcess) -> None:
    name = named("masked")
    async with scaler.client() as client:
        made = await create(client, a_policy(name, displayName="before"))
        changed = a_policy(name, displayName="after", maxReplicas=9)
        request = pb.UpdateScalingPolicyRequest(policy=changed, update_mask=FieldMask(paths=["max_replicas"]))
        updated = (await client.scaler.UpdateScalingPolicy(request)).policy

    assert (updated.max_replicas, updated.display_name, updated.etag) == (9, "before", "2")
    assert updated.metrics == made.metrics


async def test_an_update_of_what_somebody_else_has_changed_is_refused(scaler: ScalerProcess) -> None:
    name = named("etag")
    async with scaler.client() as client:
        made = await create(client, a_policy(name))
        await client.scaler.PauseScaling(pb.PauseScalingRequest(name=made.name, etag=made.etag))
        with pytest.raises(Stale):
            await client.scaler.UpdateScalingPolicy(pb.UpdateScalingPolicyRequest(policy=made))
        with pytest.raises(Stale):
            await client.scaler.DeleteScalingPolicy(pb.DeleteScalingPolicyRequest(name=made.name, etag=made.etag))


async def test_an_update_that_is_only_checked_changes_nothing(scaler: ScalerProcess) -> None:
    name = named("checked")
    async with scaler.client() as client:
        made = await create(client, a_policy(name))
        request = pb.UpdateScalingPolicyRequest(policy=a_policy(name, maxReplicas=9), validate_only=True)
        assert (await client.scaler.UpdateScalingPolicy(request)).policy.max_replicas == 9
        assert (await client.scaler.GetScalingPolicy(pb.GetScalingPolicyRequest(name=made.name))).policy == made


async def test_updates_of_different_fields_at_the_same_time_are_all_made(scaler: ScalerProcess) -> None:
    name = named("together")
    wanted = a_policy(name, displayName="The shop", maxReplicas=9, priority=5)
    masks = ("display_name", "max_replicas", "priority")
    async with scaler.client() as client:
        await create(client, a_policy(name))
        requests = [pb.UpdateScalingPolicyRequest(policy=wanted, update_mask=FieldMask(paths=[mask])) for mask in masks]
        await asyncio.gather(*(client.scaler.UpdateScalingPolicy(request) for request in requests))
        made = (await client.scaler.GetScalingPolicy(pb.GetScalingPolicyRequest(name=wanted.name))).policy

    assert (made.display_name, made.max_replicas, made.priority, made.etag) == ("The shop", 9, 5, "4")


async def test_a_mode_has_an_author_and_an_end_and_outlives_updates(scaler: ScalerProcess) -> None:
    name = named("mode")
    until = Timestamp()
    until.FromJsonString("2099-01-01T00:00:00Z")
    async with scaler.client() as client:
        made = await create(client, a_policy(name))
        request = pb.PauseScalingRequest(name=made.name, until=until, reason="maintenance")
        paused = (await client.scaler.PauseScaling(request)).policy
        updated = await client.scaler.UpdateScalingPolicy(
            pb.UpdateScalingPolicyRequest(policy=a_policy(name, maxReplicas=9))
        )
        resumed = (await client.scaler.ResumeScaling(pb.ResumeScalingRequest(name=made.name))).policy

    wanted = policy_pb2.ModeSetting(
        mode=policy_pb2.SCALING_MODE_PAUSED, until=until, author="local", reason="maintenance"
    )
    assert paused.mode == wanted
    assert updated.policy.mode == wanted
    assert resumed.mode == policy_pb2.ModeSetting(mode=policy_pb2.SCALING_MODE_ACTIVE)


async def test_policies_are_listed_in_pages_and_by_filter(scaler: ScalerProcess) -> None:
    prefix = named("page")
    pool = f"pool-{prefix}"
    async with scaler.client() as client:
        await client.pools.CreateCapacityPool(
            pool_service_pb2.CreateCapacityPoolRequest(pool=a_pool(f"capacityPools/{pool}"))
        )
        for number in range(3):
            await create(client, a_policy(f"{prefix}-{number}", pool=f"capacityPools/{pool}"))
        request = pb.ListScalingPoliciesRequest(page_size=2, filter=f'pool = "{pool}"')
        first = await client.scaler.ListScalingPolicies(request)
        request.page_token = first.next_page_token
        second = await client.scaler.ListScalingPolicies(request)

    names = [policy.name.removeprefix("scalingPolicies/") for page in (first, second) for policy in page.policies]
    assert names == [f"{prefix}-{number}" for number in range(3)]
    assert second.next_page_token == ""


async def test_a_pool_in_use_cannot_be_deleted(scaler: ScalerProcess) -> None:
    name = named("pool")
    pool = f"capacityPools/{name}"
    async with scaler.client() as client:
        with pytest.raises(NotFound):
            await create(client, a_policy(name, pool=pool))
        await client.pools.CreateCapacityPool(pool_service_pb2.CreateCapacityPoolRequest(pool=a_pool(pool)))
        await create(client, a_policy(name, pool=pool))
        with pytest.raises(Conflict):
            await client.pools.DeleteCapacityPool(pool_service_pb2.DeleteCapacityPoolRequest(name=pool))
        shown = (await client.pools.GetCapacityPool(pool_service_pb2.GetCapacityPoolRequest(name=pool))).pool
        await client.scaler.DeleteScalingPolicy(pb.DeleteScalingPolicyRequest(name=f"scalingPolicies/{name}"))
        await client.pools.DeleteCapacityPool(pool_service_pb2.DeleteCapacityPoolRequest(name=pool))

    assert [share.policy for share in shown.shares] == [f"scalingPolicies/{name}"]


async def test_updates_of_a_pool_at_the_same_time_are_all_made(scaler: ScalerProcess) -> None:
    pool = f"capacityPools/{named('pool')}"
    wanted = pool_service_pb2.CapacityPool(name=pool, capacity=9, description="for the shop")
    async with scaler.client() as client:
        await client.pools.CreateCapacityPool(pool_service_pb2.CreateCapacityPoolRequest(pool=a_pool(pool)))
        await asyncio.gather(
            *(
                client.pools.UpdateCapacityPool(
                    pool_service_pb2.UpdateCapacityPoolRequest(pool=wanted, update_mask=FieldMask(paths=[mask]))
                )
                for mask in ("capacity", "description")
            )
        )
        made = (await client.pools.GetCapacityPool(pool_service_pb2.GetCapacityPoolRequest(name=pool))).pool

    assert (made.capacity, made.description, made.etag) == (9, "for the shop", "3")


async def test_a_point_that_is_older_than_what_is_kept_changes_nothing(scaler: ScalerProcess) -> None:
    metric = named("late").replace("-", "_")
    old = Timestamp()
    old.FromJsonString("2026-01-01T00:00:00Z")
    async with scaler.client() as client:
        await push(client, 5, metric)
        point = metrics_service_pb2.MetricPoint(metric=metric, value=1, time=old)
        late = metrics_service_pb2.PutMetricDataRequest(points=[point])
        accepted = (await client.metrics.PutMetricData(late)).accepted
        request = metrics_service_pb2.GetMetricDataRequest(metrics=[metric])
        points = (await client.metrics.GetMetricData(request)).points

    assert accepted == 0
    assert [point.value for point in points] == [5]


async def test_a_source_is_tested_as_a_policy_would_ask_it(scaler: ScalerProcess) -> None:
    metric = named("tested").replace("-", "_")
    asked = policy_pb2.Metric(
        name="queue", queue_length=policy_pb2.QueueLength(max_items=1, source="push", query=metric)
    )
    request = metrics_service_pb2.TestMetricSourceRequest(metric=asked)
    async with scaler.client() as client:
        before = (await client.metrics.TestMetricSource(request)).reading
        await push(client, 7, metric)
        after = (await client.metrics.TestMetricSource(request)).reading
        sources = (await client.metrics.ListMetricSources(metrics_service_pb2.ListMetricSourcesRequest())).sources

    assert before.kind == messages.SAMPLE_KIND_MISSING
    assert (after.kind, after.total) == (messages.SAMPLE_KIND_VALUE, 7)
    assert [source.name for source in sources] == ["keda", "platform", "push"]


async def test_a_snapshot_is_judged_without_any_target(scaler: ScalerProcess) -> None:
    reading = messages.Reading(kind=messages.SAMPLE_KIND_VALUE, total=35)
    snapshot = messages.Snapshot(spec_replicas=1, readings={"queue": reading})
    request = pb.EvaluateSnapshotRequest(policy=a_policy("nowhere"), snapshot=snapshot)
    async with scaler.client() as client:
        first = (await client.scaler.EvaluateSnapshot(request)).outcome
        request.state = first.acted_state
        request.snapshot.spec_replicas = 4
        second = (await client.scaler.EvaluateSnapshot(request)).outcome

    assert (first.decision.verdict, first.decision.desired_replicas) == (messages.VERDICT_SCALE, 4)
    assert second.decision.verdict == messages.VERDICT_NO_CHANGE
    assert "last_up" in first.acted_state
    assert "last_up" not in first.state


async def test_a_watch_tells_everything_and_ends_with_the_policy(scaler: ScalerProcess) -> None:
    name = named("watched")
    request = pb.WatchScalingStatusRequest(name=f"scalingPolicies/{name}")
    kinds: list[str] = []
    async with asyncio.timeout(PATIENCE_SECONDS), scaler.client() as client:
        made = await create(client, a_policy(name, timing={"tick": "3600s"}))
        call = client.scaler.WatchScalingStatus(request)
        answers = aiter(call)
        snapshot = (await anext(answers)).snapshot
        await client.scaler.PauseScaling(pb.PauseScalingRequest(name=made.name))
        await client.scaler.DeleteScalingPolicy(pb.DeleteScalingPolicyRequest(name=made.name))
        async for answer in answers:
            kinds += [messages.ScalingEventKind.Name(event.kind) for event in answer.events]
        with pytest.raises(NotFound):
            await anext(aiter(client.scaler.WatchScalingStatus(request)))

    assert [status.policy for status in snapshot.statuses] == [made.name]
    assert "SCALING_EVENT_KIND_MODE_CHANGED" in kinds
    assert kinds[-1] == "SCALING_EVENT_KIND_DELETED"


async def test_a_watch_of_all_begins_with_all_and_tells_of_new_ones(scaler: ScalerProcess) -> None:
    known, new = (f"scalingPolicies/{named(prefix)}" for prefix in ("known", "new"))
    seen: list[messages.ScalingEvent] = []
    async with asyncio.timeout(PATIENCE_SECONDS), scaler.client() as client:
        await create(client, a_policy(known.removeprefix("scalingPolicies/"), timing={"tick": "3600s"}))
        call = client.scaler.WatchScalingStatus(pb.WatchScalingStatusRequest(name="scalingPolicies/-"))
        answers = aiter(call)
        first = await anext(answers)
        await create(client, a_policy(new.removeprefix("scalingPolicies/"), timing={"tick": "3600s"}))
        while not any(event.policy == new for event in seen):
            answer = await anext(answers)
            seen += answer.events
        call.cancel()

    assert known in {status.policy for status in first.snapshot.statuses}
    assert next(event for event in seen if event.policy == new).kind == messages.SCALING_EVENT_KIND_CREATED
    assert answer.resume_token != first.resume_token


async def test_a_keda_cluster_is_told_the_size_that_a_policy_wants(scaler: ScalerProcess) -> None:
    name = named("keda")
    metric = name.replace("-", "_")
    queue = {"name": "queue", "queueLength": {"maxItems": 10, "source": "push", "query": metric}}
    trigger = externalscaler_pb2.ScaledObjectRef(
        name="shop", namespace="default", scalerMetadata={"policy": name, "metric": "queue"}
    )
    async with asyncio.timeout(PATIENCE_SECONDS), an_external_target(shop=1) as sizes, scaler.client() as client:
        target = {"kind": "TARGET_KIND_EXTERNAL", "name": "shop", "address": sizes.address}
        async with connect(Target(scaler.address, scaler.token)) as connection:
            channel: Any = connection.channel
            stub: Any = ExternalScalerStub(channel)
            await push(client, 0, metric)
            await create(client, a_policy(name, target=target, metrics=[queue], mode={"mode": "SCALING_MODE_DRY_RUN"}))
            active = aiter(stub.StreamIsActive(trigger))
            assert not (await anext(active)).result
            await push(client, 35, metric)
            while not (await anext(active)).result:
                pass
            (spec,) = (await stub.GetMetricSpec(trigger)).metricSpecs
            request = externalscaler_pb2.GetMetricsRequest(scaledObjectRef=trigger, metricName=spec.metricName)
            (value,) = (await stub.GetMetrics(request)).metricValues

    assert (spec.targetSizeFloat, value.metricValueFloat) == (10, 35)
    assert sizes.changes == []


async def test_a_backtest_plays_a_recorded_policy(scaler: ScalerProcess) -> None:
    name = named("played")
    generator = simulation_service_pb2.Generator(name="step", duration=Duration(seconds=600))
    contender = simulation_service_pb2.Contender(name="ours", policy_name=f"scalingPolicies/{name}")
    request = simulation_service_pb2.RunBacktestRequest(
        trace=simulation_service_pb2.TraceSource(generator=generator), contenders=[contender]
    )
    async with asyncio.timeout(PATIENCE_SECONDS), scaler.client() as client:
        await create(client, a_policy(name))
        async with connect(Target(scaler.address, scaler.token)) as connection:
            channel: Any = connection.channel
            stub: Any = SimulationServiceStub(channel)
            last = None
            async for answer in stub.RunBacktest(request):
                last = answer

    assert last is not None
    assert last.backtest.state == simulation_service_pb2.BACKTEST_STATE_SUCCEEDED
