"""Anything in Kubernetes with a scale sub-resource: Deployments, StatefulSets, kinds that a definition made.

A size is replaced in the version that was read. The API server refuses when anything of the object has changed, and its
status does so all the time; so after a refusal the size is read again, and only another one is a conflict.

Members are the pods that the target owns, itself or through what it owns (a Deployment's ReplicaSets): other pods with
the same labels would spoil every average.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from opsuite_kernel.errors import NotFound, Stale, Unavailable
from opsuite_platforms.kubernetes_api import DEPLOYMENTS, PODS, KubernetesApi, Resource
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.kubernetes_workloads import PART_OF
from opsuite_scaler.adapters.targets.pods import member_of
from opsuite_scaler.adapters.targets.workloads import size_changed
from opsuite_scaler.application.ports import Scale
from opsuite_scaler.domain.policy import TargetKind, TargetRef

API_VERSION: Final = "apps/v1"
KIND: Final = "Deployment"
TRIES: Final = 20
"""How often a size is asked for while the rest of the object keeps changing."""
REMEMBERED: Final = 10_000


class KubernetesScales:
    """Fits `targets.registry.SizedTargets`, for targets of kind KUBERNETES_SCALE."""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        """`namespace` is that of targets that name none."""
        self._api = api
        self._namespace = namespace
        self._owners_of_owners = dict[str, frozenset[str]]()

    async def get_scale(self, ref: TargetRef) -> Scale:
        """Size and pods."""
        scale = await self._read(ref)
        pods = await self._pods(self._namespace_of(ref), scale)
        return Scale(
            spec_replicas=size_of(scale),
            status_replicas=int(scale.get("status", {}).get("replicas", 0)),
            members=tuple(member_of(pod) for pod in pods),
            version=scale["metadata"]["resourceVersion"],
        )

    async def set_scale(self, ref: TargetRef, replicas: int, *, expected: Scale) -> None:
        """Ask for a size of the object in the version of `expected`, or in a later one of the same size."""
        resource, namespace = await self._resource(ref), self._namespace_of(ref)
        version = expected.version
        for _ in range(TRIES):
            version = version or await self._version_of(ref, expected.spec_replicas)
            metadata = {"name": ref.name, "namespace": namespace, "resourceVersion": version}
            try:
                body = {"metadata": metadata, "spec": {"replicas": replicas}}
                await self._api.replace(resource, namespace, body, "scale")
            except Stale:
                version = ""
                continue
            return
        raise Unavailable(f"{ref.name} changes faster than it can be changed", reason="KUBERNETES_UNAVAILABLE")

    async def _version_of(self, ref: TargetRef, size: int) -> str:
        """The present version of an object of that size. Raises: Conflict (it has another one)."""
        scale = await self._read(ref)
        if (present := size_of(scale)) != size:
            raise size_changed(ref.name, present, size)
        return str(scale["metadata"]["resourceVersion"])

    async def selectors_of(self, ref: TargetRef) -> Sequence[tuple[str, str]]:
        """Namespace and labels by which the target looks for its pods. Raises: Unavailable (it tells none)."""
        selector = selector_in(await self._read(ref))
        if not selector:
            message = f"{ref.name} does not tell in its scale sub-resource which pods are its own"
            raise Unavailable(message, reason="NO_SELECTOR")
        return [(self._namespace_of(ref), selector)]

    async def revisions(self, ref: TargetRef) -> Sequence[str]:
        """Names of the Deployments that are revisions of a workload."""
        found = await self._api.list(DEPLOYMENTS, self._namespace_of(ref), labels=f"{PART_OF}={ref.name}")
        return sorted(str(each["metadata"]["name"]) for each in found)

    async def _read(self, ref: TargetRef) -> Object:
        resource = await self._resource(ref)
        return await self._api.get(resource, self._namespace_of(ref), ref.name, "scale")

    async def _resource(self, ref: TargetRef) -> Resource:
        return await self._api.kind(ref.api_version or API_VERSION, ref.object_kind or KIND)

    def _namespace_of(self, ref: TargetRef) -> str:
        return ref.namespace or self._namespace

    async def _pods(self, namespace: str, scale: Object) -> Sequence[Object]:
        """Its own pods, by name."""
        if not (selector := selector_in(scale)):
            return []
        pods = await self._api.list(PODS, namespace, labels=selector)
        owners = {owner["uid"]: owner for pod in pods for owner in owners_of(pod)}
        asked = await asyncio.gather(*(self._roots(namespace, owner) for owner in owners.values()))
        roots = dict(zip(owners, asked, strict=True))
        target = scale["metadata"]["uid"]
        own = [pod for pod in pods if any(target in roots[owner["uid"]] for owner in owners_of(pod))]
        return sorted(own, key=lambda pod: str(pod["metadata"]["name"]))

    async def _roots(self, namespace: str, owner: Object) -> frozenset[str]:
        """Who an owner of a pod is, and who owns that in turn; neither ever changes."""
        uid = str(owner["uid"])
        if uid not in self._owners_of_owners:
            if len(self._owners_of_owners) >= REMEMBERED:
                self._owners_of_owners.clear()
            self._owners_of_owners[uid] = frozenset({uid, *await self._owners_above(namespace, owner)})
        return self._owners_of_owners[uid]

    async def _owners_above(self, namespace: str, owner: Object) -> Iterable[str]:
        try:
            resource = await self._api.kind(owner["apiVersion"], owner["kind"])
            found = await self._api.get(resource, namespace if resource.is_namespaced else "", owner["name"])
        except NotFound:  # it has gone, and its pods follow
            return []
        return [str(each["uid"]) for each in owners_of(found)]


class KubernetesWorkloads:
    """Fits `targets.workloads.Workloads`: Deployments that the deployer looks after, with all that pods tell."""

    def __init__(self, scales: KubernetesScales) -> None:
        self._scales = scales

    async def get_scale(self, ref: TargetRef) -> Scale:
        """Size and pods."""
        return await self._scales.get_scale(deployment_of(ref))

    async def set_scale(self, ref: TargetRef, replicas: int, *, expected: Scale) -> None:
        """Ask for a size."""
        await self._scales.set_scale(deployment_of(ref), replicas, expected=expected)

    async def revisions(self, ref: TargetRef) -> Sequence[str]:
        """Names of the revisions of one."""
        return await self._scales.revisions(ref)


def owners_of(thing: Object) -> Sequence[Object]:
    """Who owns an object."""
    return thing["metadata"].get("ownerReferences") or []


def selector_in(scale: Object) -> str:
    """The labels that a scale sub-resource tells; kinds of definitions need not tell any."""
    return str((scale.get("status") or {}).get("selector") or "")


def size_of(scale: Object) -> int:
    """The size asked for; 0 is left out on the wire."""
    return int((scale.get("spec") or {}).get("replicas", 0))


def deployment_of(ref: TargetRef) -> TargetRef:
    """The Deployment of a workload."""
    return TargetRef(TargetKind.KUBERNETES_SCALE, ref.name, namespace=ref.namespace)
