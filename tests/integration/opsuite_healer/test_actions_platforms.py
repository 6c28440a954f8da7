"""Restarts on a real supervisord, a real Docker Engine and a real Kubernetes API server; evictions within budgets."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from docker import docker, engine_url, import_tiny_image
from kube import Cluster, control_plane, kubelet, own_cluster

from opsuite_healer.adapters.actions.eviction import Eviction
from opsuite_healer.adapters.actions.rebalance import RebalanceLoad
from opsuite_healer.adapters.actions.registry import Registry
from opsuite_healer.adapters.actions.restart import RestartService
from opsuite_healer.adapters.workloads import Workloads
from opsuite_healer.application.actions import ActionCall, ActionOutcome
from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import Conflict
from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.kubernetes import KubernetesPlatform
from opsuite_platforms.kubernetes_api import KubernetesApi, Resource
from opsuite_platforms.port import Platform, Replica, WorkloadSpec, WorkloadStatus
from opsuite_platforms.process import ProcessPlatform

__all__ = ["control_plane", "kubelet"]

MINUTE = timedelta(minutes=1)
IMAGE = "opsuite-test/healer:1"
BUDGETS = Resource("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget")
EVICTIONS = {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]}


@dataclass
class Site:
    """A platform with the workload `web`, and what can be done to it."""

    name: str
    platform: Platform
    registry: Registry
    cluster: Cluster | None = None

    def call(self, replica: str = "", kind: str = "RESTART_SERVICE", **params: str) -> ActionCall:
        return ActionCall(
            str(uuid4()), ActionSpec(kind, params), TargetRef(self.name, "web", replica), "remediations/1"
        )

    async def until(self, holds: Callable[[WorkloadStatus], bool]) -> Sequence[Replica]:
        """The replicas when it holds; the test's own time limit is the limit."""
        while not holds(status := await self.platform.observe("web")):  # noqa: ASYNC110 - a platform is asked, it does not tell
            await asyncio.sleep(0.02)
        return status.replicas

    async def ready(self) -> Sequence[Replica]:
        return await self.until(lambda status: status.is_ready)


def a_site(name: str, platform: Platform, cluster: Cluster | None = None, namespace: str = "") -> Site:
    # A budget is told like an overload, and what is overloaded is asked again for a while.
    api = cluster.api(patience=timedelta(seconds=1)) if cluster else KubernetesApi()
    workloads = Workloads({name: platform}, lambda _: platform)
    registry = Registry([RestartService(workloads), RebalanceLoad(None, Eviction(api, namespace, workloads))])
    return Site(name, platform, registry, cluster)


@asynccontextmanager
async def processes(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    data = Path(tempfile.mkdtemp(prefix="opsuite-"))  # tmp_path can be too long for a Unix socket
    platform = ProcessPlatform(data)
    await platform.start()
    yield a_site("process", platform)
    await platform.stop()
    platform.close()
    shutil.rmtree(data)


@asynccontextmanager
async def containers(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    url = engine_url()
    docker("tag", import_tiny_image(url), IMAGE)
    with tempfile.TemporaryDirectory() as data:
        platform = DockerPlatform(Path(data), url, prefix=f"opsuite-test-{uuid4().hex[:8]}-")
        yield a_site("docker", platform)
        await platform.remove("web")
        await platform.close()


@asynccontextmanager
async def pods(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with own_cluster(*map(request.getfixturevalue, ["control_plane", "kubelet"])) as cluster:
        await cluster.grant_everywhere(EVICTIONS)
        yield a_site("kubernetes", KubernetesPlatform(cluster.api(), cluster.namespace), cluster, cluster.namespace)


ON_KUBERNETES = [pytest.param(pods, id="kubernetes", marks=pytest.mark.needs("kubernetes"))]
SITES = [
    pytest.param(processes, id="process"),
    pytest.param(containers, id="docker", marks=pytest.mark.needs("docker")),
    *ON_KUBERNETES,
]


@pytest.fixture(params=SITES)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with request.param(request) as made:
        spec = WorkloadSpec(
            "web", "1.0.0", ("/bin/sleep", "1000"), "/", replicas=2, image=IMAGE, grace=timedelta(seconds=1)
        )
        await made.platform.apply(spec, epoch=1)
        await made.ready()
        yield made


def life(replica: Replica) -> tuple[object, ...]:
    """Differs for each time that something was started."""
    return replica.name, replica.started_at, replica.restarts


async def test_every_replica_lives_a_new_life_after_a_restart_and_only_one(site: Site) -> None:
    before = {life(replica) for replica in await site.ready()}
    call = site.call()
    known = await site.registry.prepare(call)

    first = await site.registry.run(call, known, MINUTE)
    after = {life(replica) for replica in await site.ready()}
    again = await site.registry.run(call, known, MINUTE)
    at_last = {life(replica) for replica in await site.ready()}

    assert (first.outcome, first.facts["restarted"]) == (ActionOutcome.DONE, "2")
    assert not before & after
    assert (again.facts["restarted"], at_last) == ("0", after)


async def test_a_restart_of_one_replica_leaves_its_neighbour_alone(site: Site) -> None:
    chosen, neighbour = await site.ready()
    call = site.call(chosen.name)

    result = await site.registry.run(call, await site.registry.prepare(call), MINUTE)
    after = {life(replica) for replica in await site.ready()}

    assert (result.outcome, result.facts["restarted"]) == (ActionOutcome.DONE, "1")
    assert life(neighbour) in after
    assert life(chosen) not in after


@pytest.mark.parametrize("site", ON_KUBERNETES, indirect=True)
async def test_a_pod_is_evicted_once_and_another_one_comes(site: Site) -> None:
    chosen, neighbour = await site.ready()
    call = site.call(chosen.name, "REBALANCE_LOAD", mode="evict")
    known = await site.registry.prepare(call)

    first = await site.registry.run(call, known, MINUTE)
    after = await site.until(
        lambda status: status.is_ready and chosen.name not in [replica.name for replica in status.replicas]
    )
    again = await site.registry.run(call, known, MINUTE)

    assert [first.outcome, again.outcome] == [ActionOutcome.DONE, ActionOutcome.DONE]
    assert "gone already" in again.message
    assert neighbour.name in [replica.name for replica in after]


@pytest.mark.parametrize("site", ON_KUBERNETES, indirect=True)
async def test_an_eviction_that_a_disruption_budget_forbids_is_refused(site: Site) -> None:
    assert site.cluster is not None
    namespace = site.cluster.namespace
    budget = {
        "metadata": {"name": "web"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"opsuite.workload": "web"}}},
    }
    await site.cluster.admin.create(BUDGETS, namespace, budget)
    while not await is_known(site.cluster, namespace):  # noqa: ASYNC110 - the controller does not tell
        await asyncio.sleep(0.05)
    chosen, _ = before = await site.ready()
    call = site.call(chosen.name, "REBALANCE_LOAD", mode="evict")

    result = await site.registry.run(call, await site.registry.prepare(call), MINUTE)

    assert (result.outcome, result.facts["reason"]) == (ActionOutcome.REFUSED, "DISRUPTION_BUDGET")
    assert {life(replica) for replica in await site.ready()} == {life(replica) for replica in before}


async def is_known(cluster: Cluster, namespace: str) -> bool:
    """Whether the controller of budgets has seen the pods."""
    budget = await cluster.admin.get(BUDGETS, namespace, "web")
    return bool(budget.get("status", {}).get("currentHealthy") == 2)


@pytest.mark.parametrize("site", ON_KUBERNETES, indirect=True)
async def test_no_more_than_the_share_is_evicted(site: Site) -> None:
    chosen, _ = await site.ready()

    with pytest.raises(Conflict) as refused:
        await site.registry.prepare(site.call(chosen.name, "REBALANCE_LOAD", mode="evict", max_share="49"))

    assert (refused.value.reason, refused.value.metadata) == (
        "SHARE_EXCEEDED",
        {"without": "1", "total": "2", "max_share": "49"},
    )
