"""What targets make of what platforms, pods and tasks say, and which revision a size is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from fakes.clock import NOON
from fakes.platform import FakePlatform

from opsuite_kernel.errors import Conflict, InvalidInput, NotFound
from opsuite_platforms.port import ReplicaPhase, WorkloadSpec
from opsuite_scaler.adapters.targets import docker_services, pods
from opsuite_scaler.adapters.targets.workloads import PlatformWorkloads, WorkloadTargets
from opsuite_scaler.application.ports import Scale
from opsuite_scaler.domain.policy import TargetKind, TargetRef
from opsuite_scaler.domain.snapshot import Member, MemberPhase

WEB = TargetRef(TargetKind.WORKLOAD, "web")


async def a_platform(**revisions: int) -> FakePlatform:
    """Workloads by size; those with a dash are revisions of `web`."""
    platform = FakePlatform()
    for name, replicas in revisions.items():
        name = name.replace("_", "-")
        part_of = "web" if "-" in name else ""
        await platform.apply(WorkloadSpec(name, "1", ("sleep",), "/", {}, (), replicas, part_of=part_of), epoch=1)
    return platform


async def no_requests(_: str) -> Mapping[str, float]:
    return {}


def targets(platform: FakePlatform) -> WorkloadTargets:
    return WorkloadTargets({"process": PlatformWorkloads(platform, no_requests)})


async def sizes(platform: FakePlatform) -> dict[str, int]:
    return {name: (await platform.observe(name)).desired_replicas for name in await platform.list_workloads()}


async def test_the_size_of_a_workload_is_that_of_its_revisions_together() -> None:
    scale = await targets(await a_platform(web_a=2, web_b=1, api=7)).get_scale(WEB)

    assert (scale.spec_replicas, scale.status_replicas) == (3, 3)
    assert sorted(member.name for member in scale.members) == ["web-a-0", "web-a-1", "web-b-0"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"web": 2, "api": 1}, {"web": 5, "api": 1}),
        ({"web_a": 2, "web_b": 0}, {"web-a": 5, "web-b": 0}),
        ({"web_a": 0}, {"web-a": 5}),
    ],
)
async def test_a_size_goes_to_the_revision_that_serves(before: dict[str, int], after: dict[str, int]) -> None:
    platform = await a_platform(**before)
    seen = await targets(platform).get_scale(WEB)

    await targets(platform).set_scale(WEB, 5, expected=seen)

    assert await sizes(platform) == after


@pytest.mark.parametrize("before", [{"web_a": 2, "web_b": 1}, {"web_a": 0, "web_b": 0}])
async def test_where_two_revisions_could_be_meant_nothing_is_changed(before: dict[str, int]) -> None:
    platform = await a_platform(**before)
    seen = await targets(platform).get_scale(WEB)

    with pytest.raises(Conflict) as refusal:
        await targets(platform).set_scale(WEB, 5, expected=seen)

    assert refusal.value.reason == "ROLLOUT_UNDER_WAY"
    assert list((await sizes(platform)).values()) == list(before.values())


async def test_a_revision_that_somebody_else_has_resized_is_a_conflict() -> None:
    platform = await a_platform(web_a=2, web_b=0)
    seen = await targets(platform).get_scale(WEB)
    await platform.scale("web-a", 3)

    with pytest.raises(Conflict) as refusal:
        await targets(platform).set_scale(WEB, 5, expected=seen)

    assert refusal.value.reason == "SIZE_CHANGED"
    assert await sizes(platform) == {"web-a": 3, "web-b": 0}


async def test_a_workload_that_is_neither_there_nor_in_revisions_is_not_found() -> None:
    platform = await a_platform(api=1)

    with pytest.raises(NotFound):
        await targets(platform).get_scale(WEB)
    with pytest.raises(NotFound):
        await targets(platform).set_scale(WEB, 5, expected=Scale(1, 1))


@pytest.mark.parametrize(
    ("phase", "expected", "is_ready"),
    [
        (ReplicaPhase.STARTING, MemberPhase.PENDING, False),
        (ReplicaPhase.RUNNING, MemberPhase.RUNNING, True),
        (ReplicaPhase.BACKOFF, MemberPhase.RUNNING, False),
        (ReplicaPhase.STOPPED, MemberPhase.DELETING, False),
        (ReplicaPhase.FAILED, MemberPhase.FAILED, False),
    ],
)
async def test_where_a_replica_stands_is_told_in_the_words_of_pods(
    phase: ReplicaPhase, expected: MemberPhase, is_ready: bool
) -> None:
    platform = await a_platform(web=1)
    platform.set_phase("web", "web-0", phase)

    (member,) = (await targets(platform).get_scale(WEB)).members

    assert member == Member("web-0", expected, is_ready, NOON, NOON)


def a_pod(**changes: Any) -> dict[str, Any]:
    status = {"phase": "Running", "startTime": "2026-06-01T12:00:00Z"}
    return {"metadata": {"name": "web"}, "spec": {"containers": []}, "status": status} | changes


@pytest.mark.parametrize(
    ("pod", "phase"),
    [
        (a_pod(), MemberPhase.RUNNING),
        (a_pod(status={"phase": "Pending"}), MemberPhase.PENDING),
        (a_pod(status={}), MemberPhase.PENDING),
        (a_pod(status={"phase": "Failed"}), MemberPhase.FAILED),
        (a_pod(status={"phase": "Succeeded"}), MemberPhase.FAILED),
        (a_pod(metadata={"name": "web", "deletionTimestamp": "2026-06-01T12:00:00Z"}), MemberPhase.DELETING),
    ],
)
def test_where_a_pod_stands(pod: dict[str, Any], phase: MemberPhase) -> None:
    assert pods.member_of(pod).phase is phase


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        ([], None),
        ([{"type": "Ready", "status": "True", "lastTransitionTime": "2026-06-01T12:00:00Z"}], True),
        ([{"type": "Ready", "status": "False", "lastTransitionTime": "2026-06-01T12:00:00Z"}], False),
        ([{"type": "Initialized", "status": "True"}], None),
    ],
)
def test_a_pod_is_ready_if_it_says_so_and_tells_since_when(conditions: list[Any], ready: bool | None) -> None:
    status = {"phase": "Running", "startTime": "2026-06-01T12:00:00Z", "conditions": conditions}

    member = pods.member_of(a_pod(status=status))

    assert (member.ready, member.started_at, member.ready_changed_at) == (
        ready,
        NOON,
        NOON if ready is not None else None,
    )


def container(name: str, cpu: str = "", memory: str = "", **more: Any) -> dict[str, Any]:
    requests = {resource: amount for resource, amount in (("cpu", cpu), ("memory", memory)) if amount}
    return {"name": name, "resources": {"requests": requests}, **more}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"containers": [container("app", "250m", "1Gi")]},
            {"cpu": 250, "memory": 2**30, "cpu/app": 250, "memory/app": 2**30},
        ),
        (
            {"containers": [container("app", "1"), container("proxy", "500m")]},
            {"cpu": 1500, "cpu/app": 1000, "cpu/proxy": 500},
        ),
        ({"containers": [container("app", "1"), container("proxy")]}, {"cpu/app": 1000}),
        (
            {
                "containers": [container("app", "1")],
                "initContainers": [container("setup", "9"), container("mesh", "200m", restartPolicy="Always")],
            },
            {"cpu": 1200, "cpu/app": 1000, "cpu/mesh": 200},
        ),
        (
            {"containers": [container("app", "1")], "resources": {"requests": {"cpu": "3"}}},
            {"cpu": 3000, "cpu/app": 1000},
        ),
        ({"containers": [{"name": "app"}]}, {}),
    ],
)
def test_what_a_pod_requests_is_counted_as_hpa_counts_it(spec: dict[str, Any], expected: dict[str, float]) -> None:
    assert pods.requests_of(spec) == expected


def a_task(state: str, **spec: Any) -> dict[str, Any]:
    status = {"State": state, "Timestamp": "2026-06-01T12:00:00.123456789Z"}
    return {"ID": "x1", "Slot": 2, "Status": status, "Spec": spec}


@pytest.mark.parametrize(
    ("state", "phase", "is_ready"),
    [
        ("running", MemberPhase.RUNNING, True),
        ("preparing", MemberPhase.PENDING, False),
        ("new", MemberPhase.PENDING, False),
        ("failed", MemberPhase.FAILED, False),
        ("rejected", MemberPhase.FAILED, False),
    ],
)
def test_where_a_task_stands(state: str, phase: MemberPhase, is_ready: bool) -> None:
    member = docker_services.member_of("web", a_task(state))

    assert (member.name, member.phase, member.ready) == ("web.2.x1", phase, is_ready)
    assert (member.started_at is not None) is is_ready


def test_what_is_reserved_for_a_task_is_what_it_requested() -> None:
    reserved = {"Reservations": {"NanoCPUs": 250_000_000, "MemoryBytes": 2**20}}

    assert docker_services.requests_of({"Resources": reserved}) == {"cpu": 250.0, "memory": 2.0**20}
    assert docker_services.requests_of({}) == {}


def test_a_service_that_runs_once_on_every_node_has_no_size() -> None:
    service = {"Spec": {"Name": "agent", "Mode": {"Global": {}}}}

    with pytest.raises(InvalidInput, match="agent is not a replicated service"):
        docker_services.size_of(service)
    assert docker_services.size_of({"Spec": {"Name": "web", "Mode": {"Replicated": {}}}}) == 0
