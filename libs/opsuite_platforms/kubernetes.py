"""`KubernetesPlatform`: workloads as Deployments of one namespace, kept by the cluster's own controllers.

**Ownership.** Everything is applied server-side as field manager `opsuite`, by force: a workload of ours is what we ask
for, and a field that someone else changed comes back with the next apply. Fields that we do not ask for stay theirs.
Applying what is so already changes nothing, by the server's own judgement.

**Fencing.** The Deployment carries the epoch of its last owner. Who applies reads it first and then changes only the
version that was read (`resourceVersion`), so an owner that was overtaken in between is refused by the server. Apply can
also create, and then nothing was read: so a new Deployment is first created without replicas, which only one can do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import Conflict, Denied, InvalidInput, NotFound, Stale, Unavailable
from opsuite_platforms.kubernetes_api import DEPLOYMENTS, EVENTS, PODS, REPLICA_SETS, SERVICES, KubernetesApi
from opsuite_platforms.kubernetes_status import annotation, live_pods, sentence, workload_status
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.kubernetes_workloads import (
    EPOCH,
    PART_OF,
    WORKLOAD,
    beginning_of,
    deployment_of,
    service_of,
)
from opsuite_platforms.port import ReplicaPhase, WorkloadSpec, WorkloadStatus

DEFAULT_DEADLINE: Final = timedelta(minutes=10)
# How often a change that somebody else got in front of is tried anew; statuses change objects too.
TRIES: Final = 20
# Pods whose warnings are asked for, so that a large broken workload costs as much as a small one.
EXPLAINED: Final = 3
PAUSE: Final = 0.2


class KubernetesPlatform:
    """Fits `opsuite_platforms.port.Platform`."""

    def __init__(
        self,
        api: KubernetesApi,
        namespace: str,
        *,
        progress_deadline: timedelta = DEFAULT_DEADLINE,
        clock: Clock | None = None,
    ) -> None:
        """`progress_deadline`: after that long without progress the controllers give a workload up (FAILED)."""
        self._api = api
        self._namespace = namespace
        self._deadline = progress_deadline
        self._clock = clock or SystemClock()

    async def apply(self, spec: WorkloadSpec, *, epoch: int) -> None:
        """Ask for `spec`; the port tells the rest. A fixed port suits any number of replicas here."""
        try:
            await self._apply(spec, epoch)
            await self._apply_service(spec)
        except InvalidInput as refusal:
            raise Conflict(f"{spec.name}: {refusal.message}", reason="SPEC_IMPOSSIBLE") from refusal

    async def observe(self, name: str) -> WorkloadStatus:
        """The workload as it is now, its replicas from the oldest to the youngest. Raises: NotFound, Unavailable."""
        deployment, pods = await self._seen(name)
        status = workload_status(deployment, pods, {})
        if troubled := [each.name for each in status.replicas if each.phase is not ReplicaPhase.RUNNING][:EXPLAINED]:
            warnings = await asyncio.gather(*(self._warning(each) for each in troubled))
            status = workload_status(deployment, pods, dict(zip(troubled, warnings, strict=True)))
        return status

    async def list_workloads(self, part_of: str | None = None) -> Sequence[str]:
        """Names of all workloads, or of the revisions of one, sorted."""
        labels = WORKLOAD if part_of is None else f"{WORKLOAD},{PART_OF}={part_of}"
        found = await self._api.list(DEPLOYMENTS, self._namespace, labels=labels)
        return sorted(each["metadata"]["name"] for each in found)

    async def scale(self, name: str, replicas: int, *, expected: int | None = None, epoch: int | None = None) -> None:
        """Ask for a number of replicas; the port tells the rest. Which pods go is Kubernetes' choice.

        It takes those that are not ready first, then roughly the youngest. `pod-deletion-cost` could name them, at the
        price of a write to every pod before each change of size, and of the right to change pods, which the Role does
        not give: no caller cares which of several ready replicas of one spec is left.
        """
        await self._own(name)
        for _ in range(TRIES):
            scale = await self._api.get(DEPLOYMENTS, self._namespace, name, "scale")
            if epoch is not None:  # after it: who takes over from here on makes `scale` stale
                refuse_if_fenced_out(await self._own(name), epoch)
            size = scale["spec"].get("replicas", 0)
            if expected is not None and size != expected:
                raise Conflict(f"{name} has {size} replicas, not {expected}", reason="SIZE_CHANGED")
            try:
                await self._api.replace(DEPLOYMENTS, self._namespace, scale | {"spec": {"replicas": replicas}}, "scale")
            except Stale:
                continue  # it may be the status alone that has changed
            return
        raise busy(name)

    async def restart(self, name: str, replica: str | None = None) -> None:
        """Replace one pod by another, or all one after the other. Raises: NotFound, Unavailable.

        The next one goes when as many are ready as before; if that does not happen within the progress deadline, the
        rest stays as it is. The new pod has another name, and counts no restarts.
        """
        deployment, pods = await self._seen(name)
        names = [pod["metadata"]["name"] for pod in pods]
        if replica is not None and replica not in names:
            raise NotFound("replica", replica)
        if replica is not None:
            await self._api.delete(PODS, self._namespace, replica)
            return
        ready = ready_count(workload_status(deployment, pods, {}))
        for each in names:
            await self._api.delete(PODS, self._namespace, each)
            await self._until_ready(name, ready, replaced=each)

    async def remove(self, name: str) -> None:
        """Stop a workload and forget it; one that does not exist is fine."""
        try:
            deployment = await self._own(name)
        except NotFound:
            return
        await self._remove_service(await self._api.find(SERVICES, self._namespace, name))
        await self._api.delete(DEPLOYMENTS, self._namespace, name, uid=deployment["metadata"]["uid"])

    async def logs(self, name: str, replica: str, *, lines: int = 100) -> Sequence[str]:
        """Last lines the replica wrote, oldest first; none of one that has yet to start. Raises: NotFound."""
        _, pods = await self._seen(name)
        if replica not in [pod["metadata"]["name"] for pod in pods]:
            raise NotFound("replica", replica)
        if lines <= 0:
            return []
        try:
            data = [part async for part in self._api.log(self._namespace, replica, {"tailLines": str(lines)})]
        except InvalidInput:  # "container is waiting to start"
            return []
        return b"".join(data).decode(errors="replace").splitlines()

    async def check(self) -> None:
        """Return if workloads can be run in this namespace now. Raises: Unavailable, saying what to do."""
        try:
            await self._api.list(DEPLOYMENTS, self._namespace, limit=1)
        except Denied as refusal:
            raise Unavailable(refusal.message, reason="KUBERNETES_FORBIDDEN", metadata=refusal.metadata) from refusal

    async def _apply(self, spec: WorkloadSpec, epoch: int) -> None:
        wanted = deployment_of(spec, epoch, self._deadline)
        for _ in range(TRIES):
            found = await self._api.find(DEPLOYMENTS, self._namespace, spec.name) or await self._begin(spec, epoch)
            if found is None:
                continue
            refuse_if_not_ours(found)
            refuse_if_fenced_out(found, epoch)
            wanted["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
            try:
                await self._api.apply(DEPLOYMENTS, self._namespace, wanted, force=True)
            except Stale:
                continue
            return
        raise busy(spec.name)

    async def _begin(self, spec: WorkloadSpec, epoch: int) -> Object | None:
        """The new Deployment; None if someone else has created it meanwhile."""
        try:
            return await self._api.create(DEPLOYMENTS, self._namespace, beginning_of(spec, epoch))
        except Conflict as conflict:
            if conflict.reason != "ALREADY_EXISTS":
                raise
            return None

    async def _apply_service(self, spec: WorkloadSpec) -> None:
        service = await self._api.find(SERVICES, self._namespace, spec.name)
        if spec.ports:
            refuse_if_not_ours(service)
            await self._api.apply(SERVICES, self._namespace, service_of(spec), force=True)
        else:
            await self._remove_service(service)

    async def _remove_service(self, service: Object | None) -> None:
        if service is not None and is_ours(service):
            metadata = service["metadata"]
            await self._api.delete(SERVICES, self._namespace, metadata["name"], uid=metadata["uid"])

    async def _own(self, name: str) -> Object:
        """The Deployment of a workload. Raises: NotFound, also for one that is not ours."""
        deployment = await self._api.find(DEPLOYMENTS, self._namespace, name)
        if deployment is None or not is_ours(deployment):
            raise NotFound("workload", name)
        return deployment

    async def _seen(self, name: str) -> tuple[Object, list[Object]]:
        """The Deployment and its pods that count. Raises: NotFound."""
        labels = f"{WORKLOAD}={name}"
        deployment, replica_sets, pods = await asyncio.gather(
            self._own(name),
            self._api.list(REPLICA_SETS, self._namespace, labels=labels),
            self._api.list(PODS, self._namespace, labels=labels),
        )
        return deployment, live_pods(deployment, replica_sets, pods)

    async def _warning(self, pod: str) -> str:
        """What was told last about a pod that is in trouble."""
        fields = f"involvedObject.kind=Pod,involvedObject.name={pod},type=Warning"
        events = await self._api.list(EVENTS, self._namespace, fields=fields)
        latest = max(events, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "", default={})
        return sentence(latest)

    async def _until_ready(self, name: str, ready: int, *, replaced: str) -> None:
        begin = self._clock.monotonic()
        while True:
            status = await self.observe(name)
            if replaced not in [each.name for each in status.replicas] and ready_count(status) >= ready:
                return
            if self._clock.monotonic() - begin >= self._deadline.total_seconds():
                what = "; ".join(each.message for each in status.replicas if each.message)
                message = f"{name}: the replica in place of {replaced} does not become ready: {what}"
                raise Unavailable(message, reason="REPLICA_NOT_READY")
            await asyncio.sleep(PAUSE)


def refuse_if_not_ours(thing: Object | None) -> None:
    """Raises: Conflict (it was there before us, and is somebody else's)."""
    if thing is not None and not is_ours(thing):
        message = f"{thing['metadata']['name']} is there and opsuite has not made it: remove it or use another name"
        raise Conflict(message, reason="NAME_TAKEN")


def refuse_if_fenced_out(deployment: Object, epoch: int) -> None:
    """Raises: Conflict (someone has taken over)."""
    current = int(annotation(deployment, EPOCH) or 0)
    if epoch < current:
        message = f"{deployment['metadata']['name']}: epoch {epoch} is over, {current} has taken over"
        raise Conflict(message, reason="FENCED_OUT")


def is_ours(thing: Object) -> bool:
    """Whether this adapter has made it."""
    labels: Object = thing["metadata"].get("labels") or {}
    return WORKLOAD in labels


def ready_count(status: WorkloadStatus) -> int:
    """How many replicas can take requests."""
    return sum(replica.phase is ReplicaPhase.RUNNING for replica in status.replicas)


def busy(name: str) -> Unavailable:
    """The error of a change that others kept getting in front of."""
    return Unavailable(f"{name} changes faster than it can be changed", reason="KUBERNETES_UNAVAILABLE")
