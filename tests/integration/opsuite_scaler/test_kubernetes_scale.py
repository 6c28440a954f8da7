"""Scale sub-resources of a real API server: whose pods count, foreign hands, other kinds, and what pods use."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from gateway import DEFINITIONS
from kube import ControlPlane, control_plane, kubelet
from kube_metrics import MetricsApi, a_metrics_api
from kube_scaler import ROLE, Scaled, scaled

from opsuite_kernel.errors import Conflict, Unavailable
from opsuite_platforms.kubernetes_api import DEPLOYMENTS, PODS, KubernetesApi, Resource
from opsuite_platforms.kubernetes_status import condition
from opsuite_platforms.usage_kubernetes import KubernetesUsage
from opsuite_scaler.adapters.sources.registry import ConfiguredSources, NamedSource
from opsuite_scaler.adapters.sources.usage import UsageSource, measured_in_kubernetes
from opsuite_scaler.adapters.targets.kubernetes_scale import KubernetesScales
from opsuite_scaler.application.ports import PLATFORM_SOURCE, Scale
from opsuite_scaler.domain.policy import MetricKind, MetricSpec, TargetKind, TargetRef, TargetType
from opsuite_scaler.domain.policy import Resource as Measured
from opsuite_scaler.domain.snapshot import MemberPhase, Reading, SampleKind

__all__ = ["control_plane", "kubelet", "scaled"]

WEB = TargetRef(TargetKind.KUBERNETES_SCALE, "web", api_version="apps/v1", object_kind="Deployment")
CPU = MetricSpec("cpu", MetricKind.RESOURCE, TargetType.UTILIZATION, 50.0, resource=Measured.CPU)
MEMORY = replace(CPU, name="memory", resource=Measured.MEMORY)


async def steady(scales: KubernetesScales, ref: TargetRef, size: int) -> Scale:
    """The scale when so many members are ready."""
    while True:
        scale = await scales.get_scale(ref)
        if sum(member.ready is True for member in scale.members) == size:
            return scale
        await asyncio.sleep(0.02)


async def test_pods_of_others_with_the_same_labels_do_not_count(scaled: Scaled) -> None:
    await scaled.a_deployment("web", 2)
    scales = KubernetesScales(scaled.api, scaled.namespace)
    container = {"name": "app", "image": "stranger"}
    stranger = {"metadata": {"name": "stranger", "labels": {"app": "web"}}, "spec": {"containers": [container]}}
    await scaled.admin.create(PODS, scaled.namespace, stranger)

    scale = await steady(scales, WEB, 2)

    assert "stranger" not in {member.name for member in scale.members}
    assert {pod["metadata"]["name"] for pod in await scaled.pods("app=web")} > {member.name for member in scale.members}


async def test_pods_that_wait_hang_or_go_are_told_as_such(scaled: Scaled) -> None:
    scales = KubernetesScales(scaled.api, scaled.namespace)
    await scaled.a_deployment("hanging", 1, image="hang")
    await scaled.a_deployment("homeless", 1, nodeSelector={"disk": "none"})
    hanging, homeless = (replace(WEB, name=name) for name in ("hanging", "homeless"))

    while not (seen := (await scales.get_scale(hanging)).members) or seen[0].phase is MemberPhase.PENDING:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    while not (waiting := (await scales.get_scale(homeless)).members):  # noqa: ASYNC110
        await asyncio.sleep(0.02)

    assert (seen[0].phase, seen[0].ready) == (MemberPhase.RUNNING, False)
    assert seen[0].started_at is not None
    assert (waiting[0].phase, waiting[0].ready, waiting[0].started_at) == (MemberPhase.PENDING, None, None)


async def test_a_change_of_something_else_is_no_conflict(scaled: Scaled) -> None:
    await scaled.a_deployment("web", 1)
    scales = KubernetesScales(scaled.api, scaled.namespace)
    seen = await steady(scales, WEB, 1)
    note = {"metadata": {"annotations": {"note": "changed meanwhile"}}}
    await scaled.admin.merge(DEPLOYMENTS, scaled.namespace, "web", note)

    await scales.set_scale(WEB, 2, expected=seen)

    assert (await scales.get_scale(WEB)).spec_replicas == 2


async def test_a_409_with_a_foreign_size_behind_it_is_a_conflict(scaled: Scaled) -> None:
    await scaled.a_deployment("web", 1)
    scales = KubernetesScales(scaled.api, scaled.namespace)
    seen = await steady(scales, WEB, 1)
    await scaled.resize("web", 5)

    with pytest.raises(Conflict) as refusal:
        await scales.set_scale(WEB, 2, expected=seen)

    assert refusal.value.reason == "SIZE_CHANGED"
    calls = [call for call in scaled.cluster.control_plane.calls_of(account(scaled)) if call["verb"] == "update"]
    assert [call["responseStatus"]["code"] for call in calls] == [409]


async def test_members_follow_a_rollout_through_both_of_its_replica_sets(scaled: Scaled) -> None:
    await scaled.a_deployment("web", 2)
    scales = KubernetesScales(scaled.api, scaled.namespace)
    before = {member.name for member in (await steady(scales, WEB, 2)).members}
    container = {"name": "app", "image": "hang"}  # the new ones never become ready, so both stay side by side
    template = {"spec": {"template": {"spec": {"containers": [container]}}}}
    await scaled.admin.merge(DEPLOYMENTS, scaled.namespace, "web", template)

    while len((scale := await scales.get_scale(WEB)).members) < 3:  # noqa: ASYNC110
        await asyncio.sleep(0.02)

    names = {member.name for member in scale.members}
    assert before <= names
    assert [member.ready for member in scale.members if member.name not in before] in ([False], [None])


def account(scaled: Scaled) -> str:
    return f"system:serviceaccount:{scaled.namespace}:opsuite-scaler"


WIDGETS = Resource("test.example/v1", "widgets", "Widget")


async def define_widgets(admin: KubernetesApi) -> None:
    """A kind with a size that is not called `replicas`, and without pods."""
    if await admin.find(DEFINITIONS, "", "widgets.test.example"):
        return
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    scale = {"specReplicasPath": ".spec.shards", "statusReplicasPath": ".status.shards"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {
        "group": "test.example",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [version | {"subresources": {"scale": scale, "status": {}}}],
    }
    await admin.create(DEFINITIONS, "", {"metadata": {"name": "widgets.test.example"}, "spec": spec})
    while condition(await admin.get(DEFINITIONS, "", "widgets.test.example"), "Established").get("status") != "True":  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def test_any_kind_with_a_scale_sub_resource_is_a_target(scaled: Scaled) -> None:
    await define_widgets(scaled.admin)
    widget = {"apiVersion": "test.example/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"shards": 3}}
    await scaled.admin.create(WIDGETS, scaled.namespace, widget)
    scales = KubernetesScales(scaled.admin, scaled.namespace)
    ref = TargetRef(TargetKind.KUBERNETES_SCALE, "w", api_version="test.example/v1", object_kind="Widget")

    seen = await scales.get_scale(ref)
    await scales.set_scale(ref, 4, expected=seen)

    assert (seen.spec_replicas, seen.status_replicas, seen.members) == (3, 0, ())
    assert (await scaled.admin.get(WIDGETS, scaled.namespace, "w"))["spec"]["shards"] == 4
    with pytest.raises(Unavailable, match="which pods are its own"):
        await scales.selectors_of(ref)


@asynccontextmanager
async def measured(scaled: Scaled) -> AsyncIterator[tuple[MetricsApi, ConfiguredSources, KubernetesScales]]:
    """The metrics API, and what the scaler asks it with."""
    async with a_metrics_api(scaled.admin) as metrics:
        scales = KubernetesScales(scaled.api, scaled.namespace)
        measure = measured_in_kubernetes(KubernetesUsage(scaled.api), scales.selectors_of)
        source = UsageSource({TargetKind.KUBERNETES_SCALE.value: measure})
        yield metrics, ConfiguredSources({PLATFORM_SOURCE: NamedSource(source, timedelta(seconds=60))}), scales


@pytest.fixture
def busy() -> Iterator[psutil.Process]:
    """A real process that does what it can."""
    process = subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"])
    yield psutil.Process(process.pid)
    process.kill()
    process.wait()


async def test_what_pods_use_is_what_the_metrics_api_measured(scaled: Scaled, busy: psutil.Process) -> None:
    await scaled.a_deployment("web", 2)
    async with measured(scaled) as (metrics, sources, scales):
        scale = await steady(scales, WEB, 2)
        first = scale.members[0].name
        metrics.processes = {first: busy}

        readings = await sources.read(WEB, [CPU, MEMORY], scale.members, datetime.now(UTC))

        assert {name: reading.kind for name, reading in readings.items()} == {
            "cpu": SampleKind.VALUE,
            "memory": SampleKind.VALUE,
        }
        assert set(readings["cpu"].by_member) == {first}  # the other one has not been measured: it is missing, not idle
        assert readings["memory"].total > 100_000
        assert readings["cpu"].window == timedelta(seconds=15)
        (reading,) = (await sources.read(WEB, [CPU], scale.members, datetime.now(UTC))).values()
        assert reading.total == pytest.approx(metrics.served[first][0] / 1e6)


async def test_old_samples_are_stale_and_none_at_all_are_missing(scaled: Scaled, busy: psutil.Process) -> None:
    await scaled.a_deployment("web", 1)
    async with measured(scaled) as (metrics, sources, scales):
        scale = await steady(scales, WEB, 1)

        async def read() -> Reading:
            return (await sources.read(WEB, [CPU], scale.members, datetime.now(UTC)))["cpu"]

        assert (await read()).kind is SampleKind.MISSING
        metrics.processes, metrics.age_seconds = {scale.members[0].name: busy}, 300.0
        assert (await read()).kind is SampleKind.STALE

    while (after := await read()).kind is not SampleKind.ERROR:  # noqa: ASYNC110  # the API server forgets in its time
        await asyncio.sleep(0.05)
    assert "metrics" in after.message


async def test_the_role_that_we_ship_is_enough_and_is_all_used(scaled: Scaled, control_plane: ControlPlane) -> None:
    await scaled.a_deployment("web", 1)
    async with measured(scaled) as (_, sources, scales):
        seen = await steady(scales, WEB, 1)
        await scales.set_scale(WEB, 2, expected=seen)
        await sources.read(WEB, [CPU], seen.members, datetime.now(UTC))
        assert await scales.revisions(WEB) == []

    used = set()
    for call in control_plane.calls_of(account(scaled)):
        assert call["responseStatus"]["code"] < 400, call
        thing = call.get("objectRef") or {}
        if thing.get("resource"):
            used.add((thing.get("apiGroup", ""), "/".join(filter(None, (thing["resource"], thing.get("subresource"))))))
    assert used == {
        ("apps", "deployments/scale"),
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("", "pods"),
        ("metrics.k8s.io", "pods"),
    }
    assert "opsuite-scaler" in ROLE.read_text()
