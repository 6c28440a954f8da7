"""Rollouts, manifests and Jobs on a real Kubernetes API server by the real deployer, under the Roles that we ship.

Real: the deployer's process, the API server, its controllers and scheduler, so Deployments, ReplicaSets,
EndpointSlices and Jobs are theirs. Played: the node (`kubelet`), on which no container runs: the name of an image says
whether its pods become ready, and a Job's command runs as a process of this machine; and the Gateway controller
(`gateway`), which says that it takes an HTTPRoute and sends no requests. So weights and selectors are looked at here,
not requests.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from deployer import Client, DeployerProcess, a_deployer, a_pipeline, deploy, ended, events_of, register
from fakes.calls import lines_of, steps_of
from fakes.pipelines import a_docker
from fakes.web_workload import rollout_of, status_of, until
from gateway import Routed, Taken, routed_cluster
from kube import MANIFESTS, ControlPlane, control_plane, kubelet
from kube_faults import Fault, faulty_server
from kubelet import Kubelet

from opsuite.deployer.v1 import deployment_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite_platforms.kubernetes_api import CONFIG_MAPS, DEPLOYMENTS, JOBS, PODS, SERVICES, Resource
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.kubernetes_workloads import WORKLOAD
from opsuite_platforms.traffic.kubernetes_routes import HTTP_ROUTES
from opsuite_rpc.watching import watch

__all__ = ["control_plane", "kubelet"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOON: dict[str, Any] = {"scaleDownDelay": "0s", "abortScaleDownDelay": "0.1s"}
HALF: Sequence[dict[str, Any]] = [{"setWeight": 50}, {"pause": {}}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def routed(control_plane: ControlPlane, kubelet: Kubelet) -> AsyncIterator[Routed]:
    """One namespace for all tests of this file, where the deployer may do what it ever may."""
    async with routed_cluster(control_plane, kubelet, MANIFESTS) as routed:
        yield routed


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployer(routed: Routed) -> AsyncIterator[DeployerProcess]:
    """A deployer with that namespace."""
    cluster = routed.cluster
    settings = {"DEPLOYER_KUBECONFIG": str(cluster.kubeconfig), "DEPLOYER_KUBERNETES_NAMESPACE": cluster.namespace}
    with a_deployer(DEPLOYER_LEASE="3", DEPLOYER_START_PLATFORM="false", **settings) as running:
        yield running


def a_rollout(name: str, replicas: int = 2, **fields: Any) -> dict[str, Any]:
    """A step that rolls "app:VERSION" out; words in the version say what becomes of its pods."""
    workload = {
        "workload": name,
        "platform": "WORKLOAD_PLATFORM_KUBERNETES",
        "image": "app:${version}",
        "ports": [{"name": "http", "number": 8080}],
        "replicas": replicas,
        "grace": "1s",
    }
    times = {"minHealthyTime": "0.1s", "healthyDeadline": "60s", "progressDeadline": "120s"}
    return {"name": "roll", "rollout": {"workload": workload, **times, **fields}}


def a_canary(name: str, steps: Sequence[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """A canary whose share an HTTPRoute of its name gives it."""
    traffic = {"httpRoute": {"name": name}, "drain": "0s", **fields.pop("traffic", {})}
    return a_rollout(name, traffic=traffic, canary={"steps": steps, **SOON}, **fields)


async def first_version(client: Client, name: str, step: dict[str, Any]) -> str:
    """The revision of version 1.0, which is the stable one."""
    await register(client, a_pipeline(name, step))
    done = await ended(client, (await deploy(client, name, "1.0")).name)
    assert status_of(done) == "SUCCEEDED", done.message
    return rollout_of(done).tracks[-1].revision


def weights(taken: Sequence[Taken]) -> list[dict[str, int]]:
    """The different weights that the controller met, in order, of those that led anywhere."""
    met = [dict(one.weights) for one in taken if one.weights]
    return [one for index, one in enumerate(met) if index == 0 or met[index - 1] != one]


def assert_nobody_was_sent_to_nothing(taken: Sequence[Taken]) -> None:
    """Whatever had a weight had ready pods when the controller met it."""
    for one in taken:
        assert all(one.ready[name] > 0 for name, weight in one.weights.items() if weight > 0), one


async def selected(routed: Routed, service: str) -> str:
    """The revision that a Service selects."""
    found = await routed.cluster.admin.get(SERVICES, routed.cluster.namespace, service)
    return str(found["spec"]["selector"][WORKLOAD])


async def size(routed: Routed, revision: str) -> int:
    found = await routed.cluster.admin.get(DEPLOYMENTS, routed.cluster.namespace, revision)
    return int(found["spec"]["replicas"])


async def backends_in_force(routed: Routed, name: str) -> dict[str, int]:
    rule = (await routed.present(name))["spec"]["rules"][-1]
    return {one["name"]: one["weight"] for one in rule["backendRefs"]}


async def told(client: Client, name: str) -> list[str]:
    kind = deployment_pb2.DEPLOYMENT_EVENT_KIND_ROLLOUT
    return [event.reason for event in await events_of(client, name) if event.kind == kind]


async def first_told(client: Client, name: str, reason: str) -> None:
    """Return once the rollout has told it, since this was asked."""
    request = pb.WatchDeploymentRequest(name=name)
    async with aclosing(watch(client.deployments.WatchDeployment, request)) as answers:
        async for answer in answers:
            if any(event.reason == reason for event in answer.events):
                return
    pytest.fail(f"{name} has ended and never told {reason}")


async def promote(client: Client, name: str) -> None:
    await client.deployments.PromoteDeployment(pb.PromoteDeploymentRequest(name=name))


# --- canary over an HTTPRoute ----------------------------------------------------------------------------------------


async def test_a_good_canary_gets_share_after_share_and_then_everything(
    deployer: DeployerProcess, routed: Routed
) -> None:
    await routed.http_route("good")
    steps: list[dict[str, Any]] = [{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}]
    matches = {"matches": [{"header": "x-preview", "value": "yes"}]}
    async with deployer.client() as client:
        old = await first_version(client, "good", a_canary("good", steps, replicas=3, traffic=matches))
        name = (await deploy(client, "good", "1.1")).name
        await until(client, name, "PAUSED")
        testers, _ = (await routed.present("good"))["spec"]["rules"]
        await promote(client, name)
        done = await ended(client, name)

    assert status_of(done) == "SUCCEEDED", done.message
    new = rollout_of(done).tracks[-1].revision
    taken = routed.gateway.taken["good"]
    assert_nobody_was_sent_to_nothing(taken)
    shares = [(one.get(old, 0), one.get(new, 0)) for one in weights(taken)]
    assert [one for one in shares if one != (100, 0)][:3] == [(80, 20), (40, 60), (0, 100)]
    assert testers["matches"][0]["headers"][0]["name"] == "x-preview"
    assert [one["name"] for one in testers["backendRefs"]] == [new]
    assert await backends_in_force(routed, "good") == {new: 100}
    assert (await size(routed, old), await size(routed, new)) == (0, 3)


@pytest.mark.parametrize(
    ("version", "why"),
    [("1.1-hang", "runs, but is not ready"), ("1.1-absent", "ImagePullBackOff"), ("1.1-crash", "CrashLoopBackOff")],
)
async def test_a_version_that_never_becomes_ready_never_gets_a_share(
    deployer: DeployerProcess, routed: Routed, version: str, why: str
) -> None:
    name = f"never-{version.rpartition('-')[2]}"
    await routed.http_route(name)
    async with deployer.client() as client:
        step = a_canary(name, HALF, healthyDeadline="1.5s")
        old = await first_version(client, name, step)
        broken = await ended(client, (await deploy(client, name, version)).name)

    assert status_of(broken) == "ROLLED_BACK", broken.message
    assert why in broken.failure.message
    assert all(set(one) == {old} for one in weights(routed.gateway.taken[name]))
    assert await backends_in_force(routed, name) == {old: 100}
    assert await size(routed, old) == 2


async def test_a_version_that_dies_at_half_of_the_requests_loses_them_to_the_old_one(
    deployer: DeployerProcess, routed: Routed
) -> None:
    await routed.http_route("mortal")
    cluster = routed.cluster
    async with deployer.client() as client:
        old = await first_version(client, "mortal", a_canary("mortal", HALF))
        name = (await deploy(client, "mortal", "1.1")).name
        new = rollout_of(await until(client, name, "PAUSED")).tracks[-1].revision
        assert await backends_in_force(routed, "mortal") == {old: 50, new: 50}
        for pod in await cluster.admin.list(PODS, cluster.namespace, labels=f"{WORKLOAD}={new}"):
            await asyncio.to_thread(cluster.kubelet.crash, cluster.namespace, pod["metadata"]["name"])
        broken = await ended(client, name)

    assert status_of(broken) == "ROLLED_BACK", broken.message
    assert await backends_in_force(routed, "mortal") == {old: 100}
    assert_nobody_was_sent_to_nothing(routed.gateway.taken["mortal"])
    assert await size(routed, old) == 2


async def test_a_route_that_the_controller_refuses_ends_the_rollout_with_its_words(
    deployer: DeployerProcess, routed: Routed, monkeypatch: pytest.MonkeyPatch
) -> None:
    await routed.http_route("refused")
    async with deployer.client() as client:
        old = await first_version(client, "refused", a_canary("refused", HALF))
        monkeypatch.setattr(routed.gateway, "refuses", lambda shares: "not for everybody" if len(shares) > 1 else "")
        broken = await ended(client, (await deploy(client, "refused", "1.1")).name)

    assert status_of(broken) == "ROLLED_BACK", broken.message
    assert "not for everybody" in broken.failure.message
    assert await backends_in_force(routed, "refused") == {old: 100}


@pytest.mark.parametrize("kind", ["httproute", "service"])
async def test_a_route_that_is_not_there_is_told_by_its_name_before_anything_runs(
    deployer: DeployerProcess, routed: Routed, kind: str
) -> None:
    step = {
        "httproute": a_canary("routeless", HALF),
        "service": a_rollout("routeless", traffic={"service": {"name": "routeless"}}, blueGreen={}),
    }[kind]
    async with deployer.client() as client:
        await register(client, a_pipeline(f"routeless-{kind}", step))
        name = (await deploy(client, f"routeless-{kind}", "1.0")).name
        done = await ended(client, name)
        reasons = await told(client, name)

    assert status_of(done) == "FAILED"
    assert f"{kind} routeless does not exist" in done.failure.message
    assert not reasons  # no rollout has begun


async def test_a_route_that_an_earlier_step_may_bring_is_looked_for_later(
    deployer: DeployerProcess, routed: Routed
) -> None:
    before = {"name": "prepare", "command": {"command": "git", "args": ["--version"]}}
    async with deployer.client() as client:
        await register(client, a_pipeline("late", before, a_canary("late", HALF)))
        done = await ended(client, (await deploy(client, "late", "1.0")).name)

    assert [step.status == deployment_pb2.STEP_STATUS_SUCCEEDED for step in done.stages[0].steps] == [True, False]
    assert "httproute late does not exist" in done.failure.message


async def test_weights_that_somebody_else_sets_are_put_back_and_told(deployer: DeployerProcess, routed: Routed) -> None:
    await routed.http_route("edited")
    cluster = routed.cluster
    async with deployer.client() as client:
        old = await first_version(client, "edited", a_canary("edited", HALF))
        name = (await deploy(client, "edited", "1.1")).name
        telling = asyncio.create_task(first_told(client, name, "DRIFT_CORRECTED"))
        new = rollout_of(await until(client, name, "PAUSED")).tracks[-1].revision
        rules = (await routed.present("edited"))["spec"]["rules"]
        rules[0]["backendRefs"][1]["weight"] = 99
        await cluster.admin.merge(HTTP_ROUTES, cluster.namespace, "edited", {"spec": {"rules": rules}})
        await telling  # the change may take a while to be seen at all: until then the old weights are in force
        while await backends_in_force(routed, "edited") != {old: 50, new: 50}:  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.02)
        await promote(client, name)
        assert status_of(await ended(client, name)) == "SUCCEEDED"


# --- other strategies ------------------------------------------------------------------------------------------------


async def test_a_service_is_switched_when_a_person_says_so(deployer: DeployerProcess, routed: Routed) -> None:
    cluster = routed.cluster
    spec = {"selector": {"app": "nobody"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    await cluster.admin.create(SERVICES, cluster.namespace, {"metadata": {"name": "shop"}, "spec": spec})
    strategy = {"autoPromotionEnabled": False, **SOON}
    async with deployer.client() as client:
        step = a_rollout("colours", traffic={"service": {"name": "shop"}, "drain": "0s"}, blueGreen=strategy)
        old = await first_version(client, "colours", step)
        name = (await deploy(client, "colours", "1.1")).name
        waiting = await until(client, name, "PAUSED")
        before = await selected(routed, "shop")
        await promote(client, name)
        done = await ended(client, name)

    new = rollout_of(waiting).tracks[-1].revision
    assert before == old
    assert status_of(done) == "SUCCEEDED", done.message
    assert await selected(routed, "shop") == new
    assert (await size(routed, old), await size(routed, new)) == (0, 2)


async def test_replicas_roll_one_after_the_other_without_a_router(deployer: DeployerProcess, routed: Routed) -> None:
    async with deployer.client() as client:
        step = a_rollout("plain", replicas=4, rolling={"maxSurge": "1", "maxUnavailable": "0"})
        old = await first_version(client, "plain", step)
        done = await ended(client, (await deploy(client, "plain", "1.1")).name)

    assert status_of(done) == "SUCCEEDED", done.message
    new = rollout_of(done).tracks[-1].revision
    assert (await size(routed, old), await size(routed, new)) == (0, 4)


# --- manifests and Jobs ----------------------------------------------------------------------------------------------


async def test_manifests_are_applied_until_they_are_ready_and_what_is_dropped_goes(
    deployer: DeployerProcess, routed: Routed
) -> None:
    cluster, path = routed.cluster, deployer.work / "manifests.yaml"
    step = {"name": "apply", "kubernetes": {"manifestPath": "manifests.yaml"}}
    deployer.work.mkdir(parents=True, exist_ok=True)
    async with deployer.client() as client:
        await register(client, a_pipeline("manifests", step))
        path.write_text(documents(a_config_map("kept"), a_config_map("dropped"), a_deployment("front")))
        first = await ended(client, (await deploy(client, "manifests", "1.0")).name)
        front = await cluster.admin.get(DEPLOYMENTS, cluster.namespace, "front")
        path.write_text(documents(a_config_map("kept"), a_deployment("front")))
        second = await ended(client, (await deploy(client, "manifests", "1.1")).name)

    assert status_of(first) == "SUCCEEDED", first.message
    assert front["status"]["readyReplicas"] == 1
    assert status_of(second) == "SUCCEEDED", second.message
    assert await cluster.admin.find(CONFIG_MAPS, cluster.namespace, "kept") is not None
    assert await cluster.admin.find(CONFIG_MAPS, cluster.namespace, "dropped") is None


def documents(*objects: Object) -> str:
    return "\n---\n".join(map(json.dumps, objects))


def a_config_map(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}


def a_deployment(name: str) -> Object:
    pod = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


async def test_a_job_is_adopted_by_a_deployer_that_comes_back(
    deployer: DeployerProcess, routed: Routed, tmp_path: Path
) -> None:
    cluster, gate = routed.cluster, tmp_path / "go"
    script = f"echo one $DEPLOYMENT_VERSION; while [ ! -e {gate} ]; do sleep 0.02; done; echo two; exit 7"
    step = a_docker("box", "tools:1", "sh", "-c", script, docker={"engine": "CONTAINER_ENGINE_KUBERNETES_JOB"})
    async with deployer.client() as client:
        await register(client, a_pipeline("job", step))
        name = (await deploy(client, "job", "1.0")).name
        while not await lines_of(client, name):  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.02)
    (before,) = await cluster.admin.list(JOBS, cluster.namespace)
    await asyncio.to_thread(deployer.kill)
    await asyncio.to_thread(deployer.start)
    (after,) = await cluster.admin.list(JOBS, cluster.namespace)
    gate.touch()
    async with deployer.client() as client:
        done = await ended(client, name)
        lines = await lines_of(client, name)

    assert after["metadata"]["uid"] == before["metadata"]["uid"], "it is another Job"
    assert (steps_of(done), done.stages[0].steps[0].exit_code) == ({"box": "FAILED"}, 7)
    assert lines == ["one 1.0", "two"]
    await gone(routed, JOBS)


async def gone(routed: Routed, resource: Resource) -> None:
    """Return once nothing of that kind is left: it is removed behind the result."""
    while await routed.cluster.admin.list(resource, routed.cluster.namespace):  # noqa: ASYNC110  # another process
        await asyncio.sleep(0.02)


# --- what may happen in the middle -----------------------------------------------------------------------------------


async def test_a_deployer_that_dies_at_half_of_the_requests_goes_on_there(
    deployer: DeployerProcess, routed: Routed
) -> None:
    await routed.http_route("dying")
    async with deployer.client() as client:
        old = await first_version(client, "dying", a_canary("dying", HALF))
        name = (await deploy(client, "dying", "1.1")).name
        await until(client, name, "PAUSED")
    await asyncio.to_thread(deployer.kill)
    while_dead = await backends_in_force(routed, "dying")
    await asyncio.to_thread(deployer.start)
    async with deployer.client() as client:
        await promote(client, name)
        done = await ended(client, name)

    new = rollout_of(done).tracks[-1].revision
    assert while_dead == {old: 50, new: 50}
    assert status_of(done) == "SUCCEEDED", done.message
    shared = [one for one in weights(routed.gateway.taken["dying"]) if len(one) == 2]
    assert shared[-2:] == [{old: 50, new: 50}, {old: 0, new: 100}]
    assert_nobody_was_sent_to_nothing(routed.gateway.taken["dying"])


async def test_an_api_server_that_dies_in_the_middle_delays_a_rollout(
    deployer: DeployerProcess, routed: Routed
) -> None:
    await routed.http_route("patient")
    plane = routed.cluster.control_plane
    async with deployer.client() as client:
        await first_version(client, "patient", a_canary("patient", HALF))
        name = (await deploy(client, "patient", "1.1")).name
        await until(client, name, "PAUSED")
        await asyncio.to_thread(plane.kill, "kube-apiserver")
        await promote(client, name)
        await asyncio.to_thread(plane.start_api_server)
        done = await ended(client, name)

    assert status_of(done) == "SUCCEEDED", done.message
    new = rollout_of(done).tracks[-1].revision
    assert await backends_in_force(routed, "patient") == {new: 100}
    assert_nobody_was_sent_to_nothing(routed.gateway.taken["patient"])


async def test_an_api_server_that_answers_badly_now_and_then_does_not_matter(
    deployer: DeployerProcess, routed: Routed
) -> None:
    await routed.http_route("bumpy")
    cluster = routed.cluster
    async with faulty_server(cluster.control_plane) as server:
        kubeconfig = cluster.kubeconfig.with_name("bumpy.json")
        kubeconfig.write_text(json.dumps(cluster.control_plane.kubeconfig(cluster.token, url=server.url)))
        await asyncio.to_thread(deployer.restart, DEPLOYER_KUBECONFIG=str(kubeconfig))
        async with deployer.client() as client:
            await first_version(client, "bumpy", a_canary("bumpy", HALF))
            server.faults = [
                Fault("PATCH", 409, 2, reason="Conflict"),
                Fault("PATCH", 500, 2, after_the_fact=True),
                Fault("PATCH", 429, 2, retry_after="0"),
                Fault("GET", 500, 5, after=10),
                Fault("PUT", 409, 1, reason="Conflict"),
                Fault("POST", 500, 1, after_the_fact=True),
            ]
            name = (await deploy(client, "bumpy", "1.1")).name
            await until(client, name, "PAUSED")
            await promote(client, name)
            done = await ended(client, name)
            unused = [fault for fault in server.faults if fault.times]
        await asyncio.to_thread(deployer.restart)

    assert status_of(done) == "SUCCEEDED", done.message
    assert unused == []
    new = rollout_of(done).tracks[-1].revision
    assert await backends_in_force(routed, "bumpy") == {new: 100}
    assert_nobody_was_sent_to_nothing(routed.gateway.taken["bumpy"])
