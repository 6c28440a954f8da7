"""A pod that stays unready is replaced by a whole healer, which may do what `healer-role.yaml` grants and no more."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta

import pytest
from fakes.healer_failures import AGAIN_SECONDS, PROOF, a_ward, check_form, told
from fakes.healer_remediation_stage import step
from healer import HealerProcess
from kube import GRANTS, Cluster, cluster, control_plane, kubelet, service_account
from scaler import a_place

from opsuite_platforms.kubernetes import KubernetesPlatform
from opsuite_platforms.kubernetes_api import PODS
from opsuite_platforms.port import WorkloadSpec

__all__ = ["cluster", "control_plane", "kubelet"]

pytestmark = pytest.mark.needs("kubernetes")


async def ready_pods(cluster: Cluster) -> list[str]:
    """Names of the pods that take requests, as the API server tells somebody outside."""
    pods = await cluster.admin.list(PODS, cluster.namespace, labels="opsuite.workload=web")
    return [
        pod["metadata"]["name"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        for condition in pod.get("status", {}).get("conditions", [])
        if (condition["type"], condition["status"]) == ("Ready", "True")
    ]


async def test_a_pod_that_stays_unready_is_replaced_and_its_neighbour_is_left_alone(cluster: Cluster) -> None:
    token = await service_account(
        cluster.admin, cluster.namespace, (GRANTS / "healer-role.yaml").read_text(), "opsuite-healer"
    )
    platform = KubernetesPlatform(cluster.api(), cluster.namespace)
    await platform.apply(
        WorkloadSpec("web", "1", ("serve",), "/", replicas=2, image="web:1", grace=timedelta(seconds=1)), epoch=1
    )

    async def is_ready() -> bool:
        return len(await ready_pods(cluster)) == 2

    while not await is_ready():  # noqa: ASYNC110 - a cluster is asked, it does not tell
        await asyncio.sleep(AGAIN_SECONDS)
    with a_place() as place:
        kubeconfig = place / "kubeconfig.json"
        kubeconfig.write_text(json.dumps(cluster.control_plane.kubeconfig(token)))
        settings = {"HEALER_KUBECONFIG": str(kubeconfig), "HEALER_KUBERNETES_NAMESPACE": cluster.namespace}
        async with a_ward(HealerProcess(place / "healer", place / "suite", settings)) as ward:
            target = {"platform": "kubernetes", "workload": "web"}
            await ward.watch(check_form("pods", target, state={}), step(verification=PROOF, retries=0))
            sick, neighbour = await ready_pods(cluster)
            began = time.time()
            cluster.kubelet.hang(cluster.namespace, sick)
            ended = await ward.mended("a pod that stays unready", began, is_ready)
            after = await ready_pods(cluster)

    assert (ended.issue, ended.target.replica) == ("UNREADY", sick)
    assert told(ended) == [("RESTART_SERVICE", "PROVED")]
    assert neighbour in after
    assert sick not in after
