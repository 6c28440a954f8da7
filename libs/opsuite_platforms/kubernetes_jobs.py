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
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Final, TypeVar

import structlog

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import Conflict, Denied, InvalidInput, NotFound, Unavailable
from opsuite_platforms.docker_output import ContainerOutput
from opsuite_platforms.kubernetes_api import JOBS, NETWORK_POLICIES, PODS, KubernetesApi
from opsuite_platforms.kubernetes_job_manifests import (
    CONTAINER,
    NOT_STARTED,
    STOPPED,
    exit_of,
    has_begun,
    has_ended,
    job_of,
    no_network_policy,
    why_it_does_not_begin,
)
from opsuite_platforms.kubernetes_job_output import PodLog
from opsuite_platforms.kubernetes_status import annotation
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.kubernetes_workloads import label_value
from opsuite_platforms.port import ContainerSpec, Exit, ExitKind, OnOutput, OutputLine, Stream

# Pauses between two looks, in seconds: while its end may be near, and while its log is being followed.
SHORT_PAUSE: Final = 0.1
LONG_PAUSE: Final = 1.0
NEVER_BEGIN: Final[Object] = {"spec": {"suspend": True}}

log = structlog.get_logger()
T = TypeVar("T")


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
        self._patience = patience
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
        return await self._follow_to_end(spec, on_output)

    async def stop(self, name: str, *, grace: timedelta) -> None:
        """SIGTERM, then SIGKILL after the grace that it was created with (`grace` is not needed here).

        Returns when it has ended. One that does not exist is fine. Raises: Unavailable.
        """
        while await self._patiently(lambda: self._ask_to_end(name)):  # noqa: ASYNC110  # a cluster is asked
            await asyncio.sleep(SHORT_PAUSE)

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

    async def _follow_to_end(self, spec: ContainerSpec, on_output: OnOutput) -> Exit:
        output = ContainerOutput(spec.output_bytes, on_output, self._clock)
        log_has_ended = asyncio.Event()
        following: asyncio.Task[None] | None = None
        unable_since: float | None = None
        try:
            while True:
                job, pod = await self._patiently(lambda: self._look(spec.name))
                if (end := exit_of(job, pod, spec)) is not None:
                    break
                if following is None and pod is not None and has_begun(pod):
                    following = asyncio.create_task(self._follow(pod, spec, output, log_has_ended))
                unable_since = await self._give_up_in_time(spec.name, pod, unable_since)
                await pause(LONG_PAUSE if following and not following.done() else SHORT_PAUSE, log_has_ended)
        finally:
            if following is not None:
                following.cancel()
                await asyncio.wait({following})
        if following is not None and not following.cancelled():
            following.result()  # raises what the caller's on_output raised
        if pod is not None and has_begun(pod):
            await self._read_rest(pod, spec, output, on_output)
        return end

    async def _look(self, name: str) -> tuple[Object | None, Object | None]:
        """The Job, and then its pod: a Job that has ended has, or had, a pod that has ended."""
        job = await self._api.find(JOBS, self._namespace, name)
        return job, await self._pod(job) if job else None

    async def _ask_to_end(self, name: str) -> bool:
        """Ask for its end in the way that it is open to now; whether that has yet to come."""
        job, pod = await self._look(name)
        if job is None or is_over(job, pod):
            return False
        asked = {"metadata": {"annotations": {STOPPED: "stopped on request"}}}
        if pod is None or not has_begun(pod):
            await self._change(name, asked | NEVER_BEGIN)
        elif not annotation(job, STOPPED):
            await self._change(name, asked)
        elif pod["spec"].get("activeDeadlineSeconds") != 1:
            await self._end_pod(pod["metadata"]["name"])
        return True

    async def _pod(self, job: Object) -> Object | None:
        labels = f"batch.kubernetes.io/controller-uid={job['metadata']['uid']}"
        pods = await self._api.list(PODS, self._namespace, labels=labels)
        return pods[0] if pods else None

    async def _give_up_in_time(self, name: str, pod: Object | None, since: float | None) -> float | None:
        """Since when it has been unable to begin; after too long the Job is told never to."""
        if not (reason := why_it_does_not_begin(pod)):
            return None
        now = self._clock.monotonic()
        since = now if since is None else since
        if now - since >= self._image_patience.total_seconds():
            asked = {"metadata": {"annotations": {NOT_STARTED: reason}}} | NEVER_BEGIN
            await self._patiently(lambda: self._change(name, asked))
        return since

    async def _change(self, name: str, patch: Object) -> None:
        try:
            await self._api.merge(JOBS, self._namespace, name, patch)
        except NotFound:
            log.info("job_removed_meanwhile", job=name)

    async def _end_pod(self, name: str) -> None:
        """Let the kubelet end it as one that is too old: unlike a deleted one, it keeps its log and its exit status."""
        try:
            await self._api.merge(PODS, self._namespace, name, {"spec": {"activeDeadlineSeconds": 1}})
        except NotFound:
            log.info("pod_removed_meanwhile", pod=name)

    async def _follow(self, pod: Object, spec: ContainerSpec, output: ContainerOutput, ended: asyncio.Event) -> None:
        """Deliver output as it comes, until the log ends, or this is cancelled."""
        while not output.is_full:
            try:
                await self._read_log(pod, spec, output, follow=True)
                ended.set()
                return
            except (Unavailable, InvalidInput, NotFound):
                log.warning("pod_log_interrupted", pod=pod["metadata"]["name"])
            await asyncio.sleep(SHORT_PAUSE)

    async def _read_rest(self, pod: Object, spec: ContainerSpec, output: ContainerOutput, on_output: OnOutput) -> None:
        """Deliver what following missed, or say that it is lost."""
        try:
            await self._patiently(lambda: self._read_log(pod, spec, output, follow=False))
        except (Unavailable, InvalidInput, NotFound) as fault:
            text = f"the rest of the output cannot be read: {fault.message}"
            on_output([OutputLine(self._clock.now(), Stream.SYSTEM, text)])

    async def _read_log(self, pod: Object, spec: ContainerSpec, output: ContainerOutput, *, follow: bool) -> None:
        reading = PodLog(output, spec.output_bytes + 1)
        query = {"container": CONTAINER, "timestamps": "true", "follow": "true" if follow else ""}
        async with aclosing(self._api.log(self._namespace, pod["metadata"]["name"], query)) as parts:
            async for data in parts:
                reading.feed(data)
                if output.is_full:
                    return
        if not follow:
            reading.finish()

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of `call`, made again while the API server is away. Raises: Unavailable at the end."""
        begin = self._clock.monotonic()
        while True:
            try:
                return await call()
            except Unavailable:
                if self._clock.monotonic() - begin >= self._patience.total_seconds():
                    raise
            await asyncio.sleep(SHORT_PAUSE)


def is_over(job: Object, pod: Object | None) -> bool:
    """Whether nothing of it runs, nor will."""
    if pod is not None:
        return has_ended(pod)
    return bool(job["spec"].get("suspend")) or bool(job.get("status", {}).get("completionTime")) or has_failed(job)


def has_failed(job: Object) -> bool:
    """Whether its controller has given it up."""
    return any(each["type"] == "Failed" and each["status"] == "True" for each in job["status"].get("conditions") or [])


async def pause(seconds: float, unless: asyncio.Event) -> None:
    """Return after that time, or as soon as the event is set; it then counts as unset."""
    try:
        async with asyncio.timeout(seconds):
            await unless.wait()
    except TimeoutError:
        return
    unless.clear()
