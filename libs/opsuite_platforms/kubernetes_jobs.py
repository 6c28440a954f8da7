"""Runs containers as Jobs of one namespace; fits `port.ContainerRunner`.

**Once.** The API server lets a name exist once, so a Job is created once whoever asks how often; who finds the name
taken adopts. A Job never makes a second pod: what became of the first is its end.

**Output.** Kept by the node, as long as the pod exists and up to the size at which the kubelet rotates logs (10 MiB
unless configured otherwise). While the container runs it is followed for the sake of speed; after its end it is read
once more, whole, and what was not delivered is. A node that is gone takes its log along: that is told, and the end
counts nevertheless.

**What Kubernetes cannot do**: mount directories of a machine (refused), limit the number of processes (a setting of
its nodes), tell the two output streams apart. `network_disabled` holds where the cluster's network knows policies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import Conflict, Denied, InvalidInput, Unavailable
from opsuite_platforms.kubernetes_api import JOBS, NETWORK_POLICIES, KubernetesApi
from opsuite_platforms.kubernetes_job_calls import NEVER_BEGIN, PAUSE, JobCalls
from opsuite_platforms.kubernetes_job_manifests import STOPPED, has_begun, has_ended, job_of, no_network_policy
from opsuite_platforms.kubernetes_job_run import JobRun
from opsuite_platforms.kubernetes_status import annotation, condition
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.kubernetes_workloads import label_value
from opsuite_platforms.port import ContainerSpec, Exit, ExitKind, OnOutput

log = structlog.get_logger()


class KubernetesJobs:
    """Containers of one namespace. The API may be shared with others; who made it closes it."""

    def __init__(
        self,
        api: KubernetesApi,
        namespace: str,
        *,
        clock: Clock | None = None,
        patience: timedelta = timedelta(seconds=30),
        image_patience: timedelta = timedelta(seconds=60),
        start_timeout: timedelta = timedelta(minutes=10),
    ) -> None:
        """How long to wait for an API server that is away, for an image that cannot be had, for a node with room."""
        self._api = api
        self._namespace = namespace
        self._clock = clock or SystemClock()
        self._calls = JobCalls(api, namespace, self._clock, patience)
        self._image_patience = image_patience
        self._start_timeout = start_timeout

    async def run(self, spec: ContainerSpec, on_output: OnOutput) -> Exit:
        """Create the Job, or adopt the one of that name, follow its output from the start, and wait for its end.

        `spec.timeout` counts from when a node took the pod, in whole seconds. The exit is read from the cluster's
        record, so it stays the same until `forget`. Cancelling the call leaves the Job running, for the next caller of
        that name to adopt. Raises: Unavailable.
        """
        if spec.mounts:
            return Exit(ExitKind.NOT_STARTED, message="a Job cannot mount directories of a machine")
        try:
            await self._create_or_adopt(spec)
        except (InvalidInput, Conflict, Denied) as refusal:
            return Exit(ExitKind.NOT_STARTED, message=refusal.message)
        return await JobRun(self._calls, self._clock, spec, on_output, self._image_patience).to_end()

    async def stop(self, name: str, *, grace: timedelta) -> None:
        """SIGTERM, then SIGKILL after the grace that it was created with (`grace` is not needed here).

        Returns when it has ended. One that does not exist is fine. Raises: Unavailable.
        """
        while await self._calls.patiently(lambda: self._ask_to_end(name)):  # noqa: ASYNC110  # a cluster is asked
            await asyncio.sleep(PAUSE)

    async def forget(self, name: str) -> None:
        """Remove the Job and its pod, running or not; one that does not exist is fine. Raises: Unavailable."""
        await self._api.delete(JOBS, self._namespace, name)

    async def list_names(self, label: str, value: str) -> Sequence[str]:
        """Names of the Jobs with that label, running or not, sorted. Raises: Unavailable."""
        found = await self._api.list(JOBS, self._namespace, labels=f"{label}={label_value(value)}")
        return sorted(job["metadata"]["name"] for job in found if annotation(job, label) == value)

    async def check(self, image: str | None = None) -> None:
        """Return if Jobs can be run in this namespace now. Raises: Unavailable, saying what to do.

        Whether its nodes can have `image` is for them to find out.
        """
        try:
            await self._api.list(JOBS, self._namespace, limit=1)
        except Denied as refusal:
            raise Unavailable(refusal.message, reason="KUBERNETES_FORBIDDEN", metadata=refusal.metadata) from refusal

    async def _create_or_adopt(self, spec: ContainerSpec) -> None:
        if spec.network_disabled:
            await self._api.apply(NETWORK_POLICIES, self._namespace, no_network_policy(), force=True)
        try:
            await self._api.create(JOBS, self._namespace, job_of(spec, self._start_timeout))
        except Conflict as conflict:
            if conflict.reason != "ALREADY_EXISTS":
                raise
            log.info("job_adopted", job=spec.name)

    async def _ask_to_end(self, name: str) -> bool:
        """Ask for its end in the way that it is open to now; whether that has yet to come."""
        job, pod = await self._calls.look(name)
        if job is None or is_over(job, pod):
            return False
        asked = {"metadata": {"annotations": {STOPPED: "stopped on request"}}}
        if pod is None or not has_begun(pod):
            await self._calls.change(name, asked | NEVER_BEGIN)
        elif not annotation(job, STOPPED):
            await self._calls.change(name, asked)
        elif pod["spec"].get("activeDeadlineSeconds") != 1:
            await self._calls.end_pod(pod["metadata"]["name"])
        return True


def is_over(job: Object, pod: Object | None) -> bool:
    """Whether nothing of it runs, nor will."""
    if pod is not None:
        return has_ended(pod)
    ends = (condition(job, kind).get("status") == "True" for kind in ("Complete", "Failed"))
    return bool(job["spec"].get("suspend")) or any(ends)
