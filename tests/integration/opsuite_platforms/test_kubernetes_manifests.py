"""`KubernetesManifests` on a real API server with its real controllers, under our own Roles; pods are played."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from kube import MANIFESTS, WORKLOADS, Cluster, ControlPlane, control_plane, kubelet, own_cluster
from kube_faults import Fault, faulty_server
from kubelet import Kubelet

from opsuite_kernel.errors import Conflict, Denied, InvalidInput, Unavailable
from opsuite_platforms.kubernetes_api import CONFIG_MAPS, DEPLOYMENTS, JOBS, SERVICES, Resource
from opsuite_platforms.kubernetes_documents import parse
from opsuite_platforms.kubernetes_manifests import KubernetesManifests
from opsuite_platforms.kubernetes_transport import Call, Object
from opsuite_platforms.manifests_port import ManifestResult, ManifestSet
from opsuite_platforms.port import OutputLine

__all__ = ["control_plane", "kubelet"]

CLAIMS = Resource("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
VOLUMES = Resource("v1", "persistentvolumes", "PersistentVolume", is_namespaced=False)
STATEFUL_SETS = Resource("apps/v1", "statefulsets", "StatefulSet")

CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {since: 2026-01-02}
"""
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "IMAGE"}]}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""
CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  storageClassName: ""
  volumeName: VOLUME
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
"""


@pytest.fixture
async def cluster(control_plane: ControlPlane, kubelet: Kubelet) -> AsyncIterator[Cluster]:
    async with own_cluster(control_plane, kubelet, [WORKLOADS, MANIFESTS]) as cluster:
        yield cluster


class Output(list[str]):
    """The lines of one run."""

    def __call__(self, lines: Sequence[OutputLine]) -> None:
        self.extend(line.text for line in lines)


def web(image: str = "app:1") -> str:
    return WEB.replace("IMAGE", image)


def a_set(cluster: Cluster, *documents: str, owner: str = "shop/production/apply", **settings: Any) -> ManifestSet:
    parsed = tuple(each for text in documents for each in parse(text, "test.yaml"))
    return ManifestSet(owner, cluster.namespace, parsed, **settings)


async def run(
    cluster: Cluster, manifests: ManifestSet, *, epoch: int = 1, output: Output | None = None
) -> ManifestResult:
    lines = Output() if output is None else output
    return await KubernetesManifests(cluster.api()).run(manifests, epoch=epoch, on_output=lines)


async def exists(cluster: Cluster, resource: Resource, name: str) -> bool:
    found = await cluster.admin.find(resource, cluster.namespace, name)
    return found is not None and "deletionTimestamp" not in found["metadata"]


# --- applying ---------------------------------------------------------------------------------------------------------


async def test_everything_is_applied_and_waited_for_and_told(cluster: Cluster) -> None:
    output = Output()

    result = await run(cluster, a_set(cluster, web(), CONFIG, SERVICE), output=output)

    deployment = await cluster.admin.get(DEPLOYMENTS, cluster.namespace, "web")
    here = cluster.namespace
    assert result == ManifestResult(succeeded=True)
    assert deployment["status"]["availableReplicas"] == 2
    assert output[:3] == [
        f"{each} created" for each in (f"configmap {here}/settings", f"service {here}/web", f"deployment {here}/web")
    ]
    assert f"deployment {here}/web is ready" in output
    config = await cluster.admin.get(CONFIG_MAPS, here, "settings")
    assert config["data"] == {"since": "2026-01-02"}, "a date is a text"


async def test_applying_what_is_there_changes_nothing(cluster: Cluster) -> None:
    await run(cluster, a_set(cluster, CONFIG, web()))
    before = await cluster.admin.get(DEPLOYMENTS, cluster.namespace, "web")
    output = Output()

    await run(cluster, a_set(cluster, CONFIG, web()), epoch=2, output=output)

    after = await cluster.admin.get(DEPLOYMENTS, cluster.namespace, "web")
    assert output[:2] == [
        f"configmap {cluster.namespace}/settings unchanged",
        f"deployment {cluster.namespace}/web unchanged",
    ]
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_every_document_that_the_server_refuses_is_told_and_none_is_applied(cluster: Cluster) -> None:
    bad_port = SERVICE.replace("port: 80", "port: 70000")
    no_selector = web().replace("selector: {matchLabels: {app: web}}", "selector: {matchLabels: {app: other}}")

    with pytest.raises(InvalidInput) as refusal:
        await run(cluster, a_set(cluster, CONFIG, bad_port, no_selector))

    assert {violation.field.partition(":")[0] for violation in refusal.value.violations} == {
        f"service {cluster.namespace}/web",
        f"deployment {cluster.namespace}/web",
    }
    assert not await exists(cluster, CONFIG_MAPS, "settings")


async def test_a_field_that_the_kind_does_not_have_is_refused_and_named(cluster: Cluster) -> None:
    with pytest.raises(InvalidInput, match="replica_count"):
        await run(cluster, a_set(cluster, web().replace("replicas: 2", "replica_count: 2")))


async def test_a_kind_that_the_cluster_does_not_have_is_named(cluster: Cluster) -> None:
    unknown = "apiVersion: example.com/v1\nkind: Unheard\nmetadata: {name: one}\n"

    with pytest.raises(InvalidInput, match="Unheard"):
        await run(cluster, a_set(cluster, unknown))


async def test_a_kind_that_may_not_be_applied_is_told_with_the_verb(cluster: Cluster) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: password}\n"

    with pytest.raises(Denied) as refusal:
        await run(cluster, a_set(cluster, CONFIG, secret))

    assert (refusal.value.metadata["verb"], refusal.value.metadata["resource"]) == ("get", "secrets")
    assert not await exists(cluster, CONFIG_MAPS, "settings")


async def test_a_definition_and_what_it_defines_can_be_in_one_set(cluster: Cluster) -> None:
    group = f"{cluster.namespace}.example.com"
    rule = {"verbs": ["get", "create", "patch"]}
    definitions = {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"]}
    await cluster.grant_everywhere(definitions | rule, {"apiGroups": [group], "resources": ["*"]} | rule)
    definition = f"""
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: gadgets.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{plural: gadgets, singular: gadget, kind: Gadget}}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"""
    gadget = f"apiVersion: {group}/v1\nkind: Gadget\nmetadata: {{name: one}}\nspec: {{size: 3}}\n"

    result = await run(cluster, a_set(cluster, gadget, definition))

    found = await cluster.admin.get(Resource(f"{group}/v1", "gadgets", "Gadget"), cluster.namespace, "one")
    assert result.succeeded
    assert found["spec"] == {"size": 3}


async def test_a_set_can_bring_its_own_namespace(cluster: Cluster) -> None:
    name = f"own-{cluster.namespace}"
    rules = [{"apiGroups": [""], "resources": [each], "verbs": ["*"]} for each in ("namespaces", "configmaps")]
    await cluster.grant_everywhere(*rules)
    namespace = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"
    manifests = replace(a_set(cluster, CONFIG, namespace), namespace=name)

    first, second = [await run(cluster, manifests, output=(output := Output())) for _ in range(2)]

    assert first.succeeded
    assert second.succeeded
    assert await cluster.admin.get(CONFIG_MAPS, name, "settings")
    assert output[0] == f"namespace {name} unchanged"


async def test_what_failed_in_between_is_mended_by_another_run(cluster: Cluster) -> None:
    manifests = a_set(cluster, CONFIG, web(), SERVICE)
    await run(cluster, a_set(cluster, CONFIG))
    async with faulty_server(cluster.control_plane) as server:
        applier = KubernetesManifests(cluster.api(url=server.url))
        for fails_at in range(20):  # the same fault one request later, until it is past the last one
            fault = Fault("PATCH", 500, times=1, after=fails_at, after_the_fact=True)
            server.faults = [fault]
            with suppress(Unavailable):
                result = await applier.run(manifests, epoch=1, on_output=Output())
            if fault.times:
                break

    assert result.succeeded
    assert fails_at > 5, "three rehearsals and three applies"
    assert await exists(cluster, SERVICES, "web")


# --- whose it is ------------------------------------------------------------------------------------------------------


async def test_a_field_that_another_manager_owns_is_told_by_its_name_and_left_alone(cluster: Cluster) -> None:
    query = {"fieldManager": "kubectl-edit"}
    body = {"metadata": {"name": "settings"}, "data": {"since": "by hand"}}
    await cluster.admin.ask(Call("POST", CONFIG_MAPS.path(cluster.namespace), "configmap settings", query, body))

    with pytest.raises(Conflict) as refusal:
        await run(cluster, a_set(cluster, CONFIG))

    assert refusal.value.reason == "FIELDS_OWNED"
    assert "kubectl-edit" in refusal.value.message
    assert ".data.since" in refusal.value.message
    assert (await cluster.admin.get(CONFIG_MAPS, cluster.namespace, "settings"))["data"]["since"] == "by hand"


async def test_what_belongs_to_another_set_is_refused(cluster: Cluster) -> None:
    await run(cluster, a_set(cluster, CONFIG, owner="first"))

    with pytest.raises(Conflict, match="belongs to first") as refusal:
        await run(cluster, a_set(cluster, CONFIG, owner="second"))

    assert refusal.value.reason == "OWNED_BY_ANOTHER"


async def test_an_owner_that_was_overtaken_changes_nothing(cluster: Cluster) -> None:
    await run(cluster, a_set(cluster, CONFIG), epoch=7)

    with pytest.raises(Conflict) as refusal:
        await run(cluster, a_set(cluster, CONFIG.replace("2026-01-02", "2020-01-01")), epoch=6)

    assert refusal.value.reason == "FENCED_OUT"
    assert (await cluster.admin.get(CONFIG_MAPS, cluster.namespace, "settings"))["data"]["since"] == "2026-01-02"


# --- what was dropped -------------------------------------------------------------------------------------------------


async def test_what_a_set_drops_is_removed_and_what_others_have_is_not(cluster: Cluster) -> None:
    theirs = {"metadata": {"name": "theirs"}, "data": {}}
    await cluster.admin.create(CONFIG_MAPS, cluster.namespace, theirs)
    await run(cluster, a_set(cluster, CONFIG.replace("settings", "neighbour"), owner="neighbour"))
    await run(cluster, a_set(cluster, CONFIG, SERVICE))
    output = Output()

    await run(cluster, a_set(cluster, SERVICE), epoch=2, output=output)

    assert f"configmap {cluster.namespace}/settings removed" in output
    assert not await exists(cluster, CONFIG_MAPS, "settings")
    for name in ("theirs", "neighbour"):
        assert await exists(cluster, CONFIG_MAPS, name)


async def test_what_was_dropped_stays_if_that_is_asked_for_and_goes_with_a_later_set(cluster: Cluster) -> None:
    await run(cluster, a_set(cluster, CONFIG, SERVICE))

    await run(cluster, a_set(cluster, SERVICE, keep_dropped=True))
    assert await exists(cluster, CONFIG_MAPS, "settings")

    await run(cluster, a_set(cluster, SERVICE))
    assert not await exists(cluster, CONFIG_MAPS, "settings")


async def test_what_someone_took_over_is_not_removed(cluster: Cluster) -> None:
    await run(cluster, a_set(cluster, CONFIG, SERVICE))
    taken = {"metadata": {"annotations": {"opsuite.owner": None}}}
    await cluster.admin.merge(CONFIG_MAPS, cluster.namespace, "settings", taken)

    await run(cluster, a_set(cluster, SERVICE))

    assert await exists(cluster, CONFIG_MAPS, "settings")


async def test_a_version_that_does_not_become_ready_costs_nothing_of_the_one_before(cluster: Cluster) -> None:
    await run(cluster, a_set(cluster, CONFIG, web("app:1")))
    soon = web("crash:2").replace("replicas: 2", "replicas: 2\n  progressDeadlineSeconds: 1")
    output = Output()

    result = await run(cluster, a_set(cluster, soon), epoch=2, output=output)

    deployment = await cluster.admin.get(DEPLOYMENTS, cluster.namespace, "web")
    assert not result.succeeded
    assert "ProgressDeadlineExceeded" in result.message
    assert any("CrashLoopBackOff" in line for line in output)
    assert await exists(cluster, CONFIG_MAPS, "settings"), "dropped, but only a ready version may cost it"
    assert deployment["status"]["availableReplicas"] >= 1


async def test_a_run_that_died_while_it_waited_is_finished_by_the_next(cluster: Cluster) -> None:
    await run(cluster, a_set(cluster, CONFIG, web("app:1")))
    dying = asyncio.create_task(run(cluster, a_set(cluster, web("hang:2")), epoch=2, output=(output := Output())))
    while not any("replicas" in line for line in output):  # noqa: ASYNC110  # until it waits
        await asyncio.sleep(0.02)
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying

    result = await run(cluster, a_set(cluster, web("app:3")), epoch=3)

    assert result.succeeded
    assert not await exists(cluster, CONFIG_MAPS, "settings")


# --- readiness by kind ------------------------------------------------------------------------------------------------


def replicated(kind: str, image: str = "app:1") -> str:
    text = web(image).replace("kind: Deployment", f"kind: {kind}")
    return text.replace("  replicas: 2\n", "") if kind == "DaemonSet" else text


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "Deployment"])
async def test_what_has_replicas_is_ready_when_they_are(cluster: Cluster, kind: str) -> None:
    assert (await run(cluster, a_set(cluster, replicated(kind)))).succeeded


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "Deployment"])
async def test_what_has_replicas_fails_when_nothing_gets_further(cluster: Cluster, kind: str) -> None:
    manifests = a_set(cluster, replicated(kind, "hang:1"), progress_deadline=timedelta(seconds=1))

    result = await run(cluster, manifests)

    assert not result.succeeded
    assert result.message.startswith("nothing got further for 1 s")
    assert "replicas are available" in result.message
    assert "runs, but is not ready" in result.message


def a_job(script: str) -> str:
    return f"""
apiVersion: batch/v1
kind: Job
metadata: {{name: migrate}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{{name: main, image: "tools:1", command: [sh, -c, "{script}"]}}]
"""


async def test_a_job_is_ready_when_it_has_completed(cluster: Cluster) -> None:
    result = await run(cluster, a_set(cluster, a_job("exit 0")))

    assert result.succeeded
    assert (await cluster.admin.get(JOBS, cluster.namespace, "migrate"))["status"]["succeeded"] == 1


async def test_a_job_that_fails_ends_the_run(cluster: Cluster) -> None:
    result = await run(cluster, a_set(cluster, a_job("exit 3")))

    assert not result.succeeded
    assert "BackoffLimitExceeded" in result.message
    assert "ended with 3" in result.message


async def test_a_claim_is_ready_when_it_is_bound_and_stays_when_it_was_dropped(cluster: Cluster) -> None:
    volume = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/nonexistent"}}
    running = asyncio.create_task(
        run(cluster, a_set(cluster, CLAIM.replace("VOLUME", cluster.namespace)), output=(output := Output()))
    )
    while not any("is Pending" in line for line in output):  # noqa: ASYNC110  # until it waits
        await asyncio.sleep(0.02)

    await cluster.admin.create(VOLUMES, "", {"metadata": {"name": cluster.namespace}, "spec": volume})
    result = await running
    await run(cluster, a_set(cluster, CONFIG), output=(later := Output()))

    assert result.succeeded
    assert await exists(cluster, CLAIMS, "data")
    assert any("stays although it was dropped" in line for line in later)


async def test_a_load_balancer_is_ready_when_it_has_an_address(cluster: Cluster) -> None:
    text = SERVICE.replace("spec: {", "spec: {type: LoadBalancer, ")
    running = asyncio.create_task(run(cluster, a_set(cluster, text), output=(output := Output())))
    while not any("has no address yet" in line for line in output):  # noqa: ASYNC110  # until it waits
        await asyncio.sleep(0.02)

    service: Object = await cluster.admin.get(SERVICES, cluster.namespace, "web")
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    await cluster.admin.replace(SERVICES, cluster.namespace, service, "status")

    assert (await running).succeeded


async def test_what_someone_removes_while_it_is_waited_for_ends_the_run(cluster: Cluster) -> None:
    running = asyncio.create_task(
        run(cluster, a_set(cluster, replicated("StatefulSet", "hang:1")), output=(output := Output()))
    )
    while not any("replicas" in line for line in output):  # noqa: ASYNC110  # until it waits
        await asyncio.sleep(0.02)

    await cluster.admin.delete(STATEFUL_SETS, cluster.namespace, "web")

    result = await running
    assert not result.succeeded
    assert "was removed by someone" in result.message
