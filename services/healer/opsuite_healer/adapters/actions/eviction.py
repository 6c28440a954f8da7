"""Moving a pod by Kubernetes' eviction API, which refuses what a disruption budget does not allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opsuite_healer.adapters.actions.action import done, refused
from opsuite_healer.adapters.actions.traffic import refuse_beyond
from opsuite_healer.adapters.workloads import Workloads
from opsuite_healer.application.actions import ActionResult
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import Conflict, NotFound, Stale, Unavailable
from opsuite_platforms.kubernetes_api import PODS, KubernetesApi
from opsuite_platforms.kubernetes_errors import BUSY
from opsuite_platforms.kubernetes_transport import Call
from opsuite_runs.faults import declare

EVICTED: Final = declare("healer.evicted", "Kubernetes has accepted an eviction, that is not recorded")
BUDGET: Final = "disruption budget"
"""How the API server tells a budget from an overload: both are 429."""


class Eviction:
    """Of one cluster. A pod is evicted by its uid, so that a repeat never meets its successor."""

    def __init__(self, cluster: KubernetesApi, namespace: str, workloads: Workloads) -> None:
        """`namespace` is that of targets that name none."""
        self._cluster = cluster
        self._namespace = namespace
        self._workloads = workloads

    async def prepare(self, target: TargetRef, max_share: int) -> Mapping[str, str]:
        """The pod. Raises Conflict (NOT_KUBERNETES, REPLICA_REQUIRED, SHARE_EXCEEDED), NotFound."""
        if target.platform != "kubernetes":
            raise Conflict(f"{target.canonical} is not on Kubernetes", reason="NOT_KUBERNETES")
        if not target.replica:
            raise Conflict(f"{target.canonical} is no pod, which is what can be evicted", reason="REPLICA_REQUIRED")
        copies = await self._workloads.copies(target.whole)
        without = sum(not copy.is_running or copy.replica.name == target.replica for copy in copies)
        refuse_beyond(without, len(copies), max_share, target.whole.canonical)
        # A list of one, as pods may be listed with the rights that a platform needs anyway.
        found = await self._cluster.list(PODS, self._namespace_of(target), fields=f"metadata.name={target.replica}")
        if not found:
            raise NotFound("pod", target.replica)
        return {"pod": target.replica, "uid": str(found[0]["metadata"]["uid"])}

    async def run(self, target: TargetRef, before: Mapping[str, str]) -> ActionResult:
        """Evict it."""
        pod, uid = before["pod"], before["uid"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self._namespace_of(target)},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        path = PODS.path(self._namespace_of(target), pod, "eviction")
        try:
            await self._cluster.ask(Call("POST", path, f"pod {pod}", body=body))
        except (NotFound, Stale):
            return done(f"pod {pod} is gone already", before)
        except Conflict as conflict:
            if "precondition" not in conflict.message.lower():
                raise
            return done(f"pod {pod} is gone already", before)
        except Unavailable as busy:
            if busy.reason != BUSY or BUDGET not in busy.message:
                raise
            return refused(busy.message, {**before, "reason": "DISRUPTION_BUDGET"})
        EVICTED.hit()
        return done(f"pod {pod} is evicted", before)

    def _namespace_of(self, target: TargetRef) -> str:
        return target.namespace or self._namespace
