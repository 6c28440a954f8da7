"""`KubernetesPlatform` on a real API server with its real controllers, under the Role that we ship; pods are played."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from kube import Cluster, cluster, control_plane, kubelet, service_account
from kube_faults import Fault, faulty_server

from opsuite_kernel.errors import Conflict, Denied, NotFound, Unavailable
from opsuite_platforms.kubernetes import DEFAULT_DEADLINE, KubernetesPlatform
from opsuite_platforms.kubernetes_api import DEPLOYMENTS, PODS, SERVICES, KubernetesApi, Resource
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.port import PortSpec, ReplicaPhase, WorkloadSpec, WorkloadStatus

__all__ = ["cluster", "control_plane", "kubelet"]

QUOTAS = Resource("v1", "resourcequotas", "ResourceQuota")
SHORT = timedelta(seconds=1)


def a_workload(version: str = "1.0.0", *, image: str = "app:1", replicas: int = 1) -> WorkloadSpec:
    return WorkloadSpec("web", version, (), "/", {}, (), replicas, image, grace=timedelta(seconds=2))


def a_platform(cluster: Cluster, progress_deadline: timedelta = DEFAULT_DEADLINE) -> KubernetesPlatform:
    return KubernetesPlatform(cluster.api(), cluster.namespace, progress_deadline=progress_deadline)


async def until(
    platform: KubernetesPlatform, holds: Callable[[WorkloadStatus], bool], name: str = "web"
) -> WorkloadStatus:
    """The status when it holds; the test's own time limit is the limit."""
    while not holds(status := await platform.observe(name)):  # noqa: ASYNC110  # a platform is asked, it does not tell
        await asyncio.sleep(0.02)
    return status


async def ready(platform: KubernetesPlatform) -> WorkloadStatus:
    return await until(platform, lambda status: status.is_ready)


def every_message(status: WorkloadStatus) -> str:
    return " | ".join(replica.message for replica in status.replicas)


# --- what a workload is there ----------------------------------------------------------------------------------------


async def test_ports_get_a_service_that_goes_with_them(cluster: Cluster) -> None:
    platform = a_platform(cluster)
    await platform.apply(replace(a_workload(), ports=(PortSpec("http"), PortSpec("admin", 9000))), epoch=1)
    (replica,) = (await ready(platform)).replicas
    service = await cluster.admin.get(SERVICES, cluster.namespace, "web")

    await platform.apply(a_workload(), epoch=1)

    assert replica.ports == {"http": 8080, "admin": 9000}
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]} == replica.ports
    assert await cluster.admin.find(SERVICES, cluster.namespace, "web") is None


async def test_replicas_share_a_fixed_port_and_differ_by_address(cluster: Cluster) -> None:
    platform = a_platform(cluster)

    await platform.apply(replace(a_workload(replicas=2), ports=(PortSpec("http", 80),)), epoch=1)

    replicas = (await ready(platform)).replicas
    assert {replica.ports["http"] for replica in replicas} == {80}
    assert len({replica.host for replica in replicas}) == 2


async def test_a_removed_workload_takes_its_service_and_pods_along(cluster: Cluster) -> None:
    platform = a_platform(cluster)
    await platform.apply(replace(a_workload(), ports=(PortSpec("http"),)), epoch=1)
    await ready(platform)

    await platform.remove("web")

    assert await cluster.admin.find(SERVICES, cluster.namespace, "web") is None
    while await cluster.admin.list(PODS, cluster.namespace):  # noqa: ASYNC110  # a collector removes them
        await asyncio.sleep(0.02)


async def test_a_workload_that_comes_again_does_not_count_pods_of_its_earlier_life(cluster: Cluster) -> None:
    platform = a_platform(cluster)
    await platform.apply(a_workload(), epoch=1)
    (before,) = (await ready(platform)).replicas

    await platform.remove("web")
    await platform.apply(a_workload(), epoch=1)

    assert before.name not in [replica.name for replica in (await ready(platform)).replicas]


async def test_what_a_replica_writes_can_be_read(cluster: Cluster) -> None:
    platform = a_platform(cluster)
    await platform.apply(a_workload(), epoch=1)
    (replica,) = (await ready(platform)).replicas

    assert await platform.logs("web", replica.name) == [f"{replica.name} speaks"]
    assert await platform.logs("web", replica.name, lines=0) == []


# --- what stands in a replica's way ----------------------------------------------------------------------------------


async def test_an_image_that_cannot_be_pulled_is_told(cluster: Cluster) -> None:
    platform = a_platform(cluster)

    await platform.apply(a_workload(image="absent:1"), epoch=1)

    status = await until(platform, lambda status: status.replicas[0].phase is ReplicaPhase.BACKOFF)
    assert 'ImagePullBackOff: Back-off pulling image "absent:1"' in every_message(status)


async def test_a_replica_that_runs_but_is_not_ready_is_starting(cluster: Cluster) -> None:
    platform = a_platform(cluster)

    await platform.apply(a_workload(image="hang:1"), epoch=1)

    status = await until(platform, lambda status: "not ready" in every_message(status))
    assert status.replicas[0].phase is ReplicaPhase.STARTING


async def test_a_replica_that_fits_no_node_is_told(cluster: Cluster) -> None:
    platform = a_platform(cluster)

    await platform.apply(replace(a_workload(), cpus=100_000.0), epoch=1)

    status = await until(platform, lambda status: "Unschedulable" in every_message(status))
    assert "Insufficient cpu" in every_message(status)
    assert status.replicas[0].phase is ReplicaPhase.STARTING


async def test_replicas_beyond_a_quota_are_told_in_the_servers_words(cluster: Cluster) -> None:
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"pods": "1"}}}
    await cluster.admin.create(QUOTAS, cluster.namespace, quota)
    platform = a_platform(cluster)

    await platform.apply(a_workload(replicas=2), epoch=1)

    status = await until(platform, lambda status: "exceeded quota: small" in every_message(status))
    assert len(status.replicas) == status.desired_replicas == 2
    assert not status.is_ready


async def test_a_version_that_crashes_is_given_up_after_the_progress_deadline(cluster: Cluster) -> None:
    platform = a_platform(cluster, progress_deadline=SHORT)

    await platform.apply(a_workload(image="crash:1"), epoch=1)

    status = await until(platform, lambda status: status.replicas[0].phase is ReplicaPhase.FAILED)
    assert "ProgressDeadlineExceeded" in every_message(status)
    assert "CrashLoopBackOff" in every_message(status)
    assert "ended with 1 (Error)" in every_message(status)


async def test_a_replica_that_begins_to_crash_no_longer_runs(cluster: Cluster) -> None:
    platform = a_platform(cluster)
    await platform.apply(a_workload(replicas=2), epoch=1)
    first, second = (await ready(platform)).replicas

    await asyncio.to_thread(cluster.kubelet.crash, cluster.namespace, first.name)

    status = await until(platform, lambda status: not status.is_ready)
    assert {replica.name: replica.phase for replica in status.replicas} == {
        first.name: ReplicaPhase.BACKOFF,
        second.name: ReplicaPhase.RUNNING,
    }


# --- whose it is -----------------------------------------------------------------------------------------------------


async def test_a_size_that_someone_else_set_is_seen_and_put_right(cluster: Cluster) -> None:
    platform = a_platform(cluster)
    await platform.apply(a_workload(), epoch=1)
    await cluster.admin.merge(DEPLOYMENTS, cluster.namespace, "web", {"spec": {"replicas": 3}})
    edited = await platform.observe("web")

    await platform.apply(a_workload(), epoch=1)

    assert edited.desired_replicas == 3
    assert (await platform.observe("web")).desired_replicas == 1


async def test_an_image_that_someone_else_set_is_put_right(cluster: Cluster) -> None:
    platform = a_platform(cluster)
    await platform.apply(a_workload(), epoch=1)
    deployment = await cluster.admin.get(DEPLOYMENTS, cluster.namespace, "web")
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "other:1"
    del deployment["metadata"]["resourceVersion"]
    await cluster.admin.replace(DEPLOYMENTS, cluster.namespace, deployment)

    await platform.apply(a_workload(), epoch=1)

    assert await image_of(cluster) == "app:1"


async def test_what_nobody_asked_for_stays_as_others_set_it(cluster: Cluster) -> None:
    platform = a_platform(cluster)
    await platform.apply(a_workload(), epoch=1)
    notes = {"metadata": {"annotations": {"team": "shop"}}}
    await cluster.admin.merge(DEPLOYMENTS, cluster.namespace, "web", notes)

    await platform.apply(a_workload("2.0.0"), epoch=1)

    found = await cluster.admin.get(DEPLOYMENTS, cluster.namespace, "web")
    assert found["metadata"]["annotations"]["team"] == "shop"


async def test_what_a_spec_drops_is_dropped(cluster: Cluster) -> None:
    platform = a_platform(cluster)
    await platform.apply(replace(a_workload(), env={"OLD": "1"}, cpus=1.0), epoch=1)

    await platform.apply(a_workload(), epoch=1)

    (container,) = (await deployment_of(cluster))["spec"]["template"]["spec"]["containers"]
    assert "env" not in container
    assert container["resources"] == {}


async def test_a_deployment_of_someone_else_is_left_alone(cluster: Cluster) -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "theirs:1"}]}}
    theirs = {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template}}
    await cluster.admin.create(DEPLOYMENTS, cluster.namespace, theirs)
    platform = a_platform(cluster)

    with pytest.raises(Conflict) as refusal:
        await platform.apply(a_workload(), epoch=1)
    await platform.remove("web")
    for call in (platform.observe("web"), platform.scale("web", 2), platform.restart("web")):
        with pytest.raises(NotFound):
            await call

    assert refusal.value.reason == "NAME_TAKEN"
    assert await image_of(cluster) == "theirs:1"


async def test_a_service_of_someone_else_is_left_alone(cluster: Cluster) -> None:
    theirs = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}}
    await cluster.admin.create(SERVICES, cluster.namespace, theirs)
    platform = a_platform(cluster)

    with pytest.raises(Conflict) as refusal:
        await platform.apply(replace(a_workload(), ports=(PortSpec("http"),)), epoch=1)
    await platform.apply(a_workload(), epoch=1)
    await platform.remove("web")

    service = await cluster.admin.get(SERVICES, cluster.namespace, "web")
    assert refusal.value.reason == "NAME_TAKEN"
    assert service["spec"]["selector"] == {"app": "theirs"}


@pytest.mark.parametrize("overtaken_at", ["POST", "PATCH"])
async def test_an_owner_that_is_overtaken_in_the_middle_is_fenced_out(cluster: Cluster, overtaken_at: str) -> None:
    new = a_platform(cluster)
    async with faulty_server(cluster.control_plane) as server:
        server.holds = overtaken_at
        old = KubernetesPlatform(cluster.api(url=server.url), cluster.namespace)
        late = asyncio.create_task(old.apply(a_workload("1.0.0"), epoch=1))
        await server.held.wait()

        await new.apply(a_workload("2.0.0"), epoch=2)
        server.release.set()

        with pytest.raises(Conflict) as refusal:
            await late
    assert refusal.value.reason == "FENCED_OUT"
    assert (await new.observe("web")).version == "2.0.0"


async def test_of_many_who_scale_from_one_size_only_one_succeeds(cluster: Cluster) -> None:
    platform = a_platform(cluster)
    await platform.apply(a_workload(), epoch=1)
    sizes = range(2, 7)

    ends = await asyncio.gather(*(platform.scale("web", size, expected=1) for size in sizes), return_exceptions=True)

    (winner,) = [size for size, end in zip(sizes, ends, strict=True) if end is None]
    assert [end.reason for end in ends if isinstance(end, Conflict)] == ["SIZE_CHANGED"] * 4
    assert (await platform.observe("web")).desired_replicas == winner


async def test_a_workload_is_scaled_to_nothing_and_back(cluster: Cluster) -> None:
    platform = a_platform(cluster)
    await platform.apply(a_workload(), epoch=1)

    await platform.scale("web", 0, expected=1)
    assert (await ready(platform)).replicas == ()
    await platform.scale("web", 2, expected=0)

    assert len((await ready(platform)).replicas) == 2


# --- restarting ------------------------------------------------------------------------------------------------------


async def test_restarting_all_replaces_every_replica(cluster: Cluster) -> None:
    platform = a_platform(cluster)
    await platform.apply(a_workload(replicas=2), epoch=1)
    before = {replica.name for replica in (await ready(platform)).replicas}

    await platform.restart("web")

    after = {replica.name for replica in (await ready(platform)).replicas}
    assert len(after) == 2
    assert not before & after


async def test_restarting_all_ends_with_the_first_that_does_not_come_back(cluster: Cluster) -> None:
    platform = a_platform(cluster, progress_deadline=SHORT)
    await platform.apply(a_workload(replicas=2), epoch=1)
    before = await ready(platform)
    await cluster.admin.create(
        QUOTAS, cluster.namespace, {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    )
    while "used" not in (await cluster.admin.get(QUOTAS, cluster.namespace, "none")).get("status", {}):  # noqa: ASYNC110  # counted by a controller
        await asyncio.sleep(0.02)

    with pytest.raises(Unavailable, match="exceeded quota"):
        await platform.restart("web")

    left = [each for each in (await platform.observe("web")).replicas if each.phase is ReplicaPhase.RUNNING]
    assert left == [before.replicas[1]]


# --- a server that says no, or nothing -------------------------------------------------------------------------------


async def test_what_the_server_finds_invalid_is_told_in_its_words(cluster: Cluster) -> None:
    with pytest.raises(Conflict, match="must be no more than 15 characters") as refusal:
        await a_platform(cluster).apply(replace(a_workload(), ports=(PortSpec("much-too-long-a-name"),)), epoch=1)

    assert refusal.value.reason == "SPEC_IMPOSSIBLE"


async def test_who_may_not_is_told_which_verb_on_what(cluster: Cluster) -> None:
    token = await service_account(cluster.admin, cluster.namespace, "", name="nobody")
    path = cluster.kubeconfig.with_suffix(".nobody.json")
    path.write_text(json.dumps(cluster.control_plane.kubeconfig(token)))
    cluster.opened.append(api := KubernetesApi(path))
    platform = KubernetesPlatform(api, cluster.namespace)

    with pytest.raises(Denied) as refusal:
        await platform.apply(a_workload(), epoch=1)
    with pytest.raises(Unavailable, match=r"deployer-role\.yaml"):
        await platform.check()

    assert (refusal.value.metadata["verb"], refusal.value.metadata["resource"]) == ("get", "deployments")
    assert "nobody" in refusal.value.metadata["user"]


async def test_a_namespace_that_does_not_exist_is_named(cluster: Cluster) -> None:
    platform = KubernetesPlatform(cluster.admin, "nowhere")

    with pytest.raises(NotFound, match="namespace nowhere"):
        await platform.apply(a_workload(), epoch=1)


async def test_a_token_that_nobody_knows_and_a_missing_kubeconfig_say_what_to_do(
    cluster: Cluster, tmp_path: Path
) -> None:
    unknown = tmp_path / "unknown.json"
    unknown.write_text(json.dumps(cluster.control_plane.kubeconfig("wrong")))
    for path, advice in ((unknown, "valid token"), (tmp_path / "missing.json", "give a kubeconfig")):
        cluster.opened.append(api := KubernetesApi(path))
        with pytest.raises(Unavailable, match=advice):
            await KubernetesPlatform(api, cluster.namespace).check()


async def test_a_token_that_was_replaced_in_its_file_is_read_anew(cluster: Cluster, tmp_path: Path) -> None:
    token, path = tmp_path / "token", tmp_path / "config.json"
    config = cluster.control_plane.kubeconfig("")
    config["users"][0]["user"] = {"tokenFile": str(token)}
    path.write_text(json.dumps(config))
    token.write_text("expired")
    cluster.opened.append(api := KubernetesApi(path))
    platform = KubernetesPlatform(api, cluster.namespace)
    with pytest.raises(Unavailable):
        await platform.check()

    token.write_text(cluster.token)

    await platform.check()


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_is_asked_again(cluster: Cluster, status: int) -> None:
    async with faulty_server(cluster.control_plane) as server:
        server.faults = [Fault(method, status, times=2, retry_after="0") for method in ("GET", "POST", "PATCH")]

        await KubernetesPlatform(cluster.api(url=server.url), cluster.namespace).apply(a_workload(), epoch=1)

    assert await image_of(cluster) == "app:1"
    assert not any(fault.times for fault in server.faults)


async def test_a_server_that_denies_before_it_knows_who_may_is_asked_again(cluster: Cluster) -> None:
    denial = 'User "system:serviceaccount:opsuite" cannot get resource "deployments" in API group "apps"'
    async with faulty_server(cluster.control_plane) as server:
        server.faults = [Fault("GET", 403, times=1, reason="Forbidden", message=denial)]

        await KubernetesPlatform(cluster.api(url=server.url), cluster.namespace).apply(a_workload(), epoch=1)

    assert await image_of(cluster) == "app:1"


async def test_a_server_that_stays_busy_is_unavailable_and_says_for_how_long(cluster: Cluster) -> None:
    async with faulty_server(cluster.control_plane) as server:
        server.faults = [Fault("GET", 429, times=1000, retry_after="7", message="too many requests")]
        platform = KubernetesPlatform(cluster.api(url=server.url, patience=SHORT), cluster.namespace)

        with pytest.raises(Unavailable, match="too many requests") as refusal:
            await platform.observe("web")

    assert refusal.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize("after_the_fact", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
async def test_an_apply_that_fails_in_between_is_mended_by_the_next(
    cluster: Cluster, method: str, *, after_the_fact: bool
) -> None:
    async with faulty_server(cluster.control_plane) as server:
        server.faults = [Fault(method, 500, times=1, after_the_fact=after_the_fact)]
        platform = KubernetesPlatform(cluster.api(url=server.url), cluster.namespace)
        with pytest.raises(Unavailable, match="injected"):
            await platform.apply(a_workload(replicas=2), epoch=1)

        await platform.apply(a_workload(replicas=2), epoch=1)

        assert len((await ready(platform)).replicas) == 2


async def test_a_change_that_someone_gets_in_front_of_is_tried_again(cluster: Cluster) -> None:
    async with faulty_server(cluster.control_plane) as server:
        server.faults = [Fault(method, 409, times=3, reason="Conflict") for method in ("PATCH", "PUT")]
        platform = KubernetesPlatform(cluster.api(url=server.url), cluster.namespace)

        await platform.apply(a_workload(), epoch=1)
        await platform.scale("web", 2, expected=1)

    deployment = await deployment_of(cluster)
    assert deployment["spec"]["replicas"] == 2


async def test_applies_go_on_when_the_api_server_comes_back(cluster: Cluster) -> None:
    platform = a_platform(cluster)
    specs = [replace(a_workload(), name=f"web-{number}") for number in range(8)]
    applying = asyncio.gather(*(apply_in_the_end(platform, spec) for spec in specs))
    while not await cluster.admin.list(DEPLOYMENTS, cluster.namespace):  # noqa: ASYNC110  # until some are there
        await asyncio.sleep(0)

    await asyncio.to_thread(cluster.control_plane.kill, "kube-apiserver")
    with pytest.raises(Unavailable, match="cannot answer now"):
        await platform.check()
    await asyncio.to_thread(cluster.control_plane.start_api_server)
    await applying

    assert await platform.list_workloads() == [spec.name for spec in specs]
    for spec in specs:
        await until(platform, lambda status: status.is_ready, spec.name)


async def apply_in_the_end(platform: KubernetesPlatform, spec: WorkloadSpec) -> None:
    while True:
        try:
            await platform.apply(spec, epoch=1)
        except Unavailable:
            await asyncio.sleep(0.1)
        else:
            return


async def deployment_of(cluster: Cluster) -> Object:
    return await cluster.admin.get(DEPLOYMENTS, cluster.namespace, "web")


async def image_of(cluster: Cluster) -> str:
    return str((await deployment_of(cluster))["spec"]["template"]["spec"]["containers"][0]["image"])
