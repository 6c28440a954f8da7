"""What a Job takes of the API server: the Job and its one pod, changes to both, and the log.

`patiently` makes a call again while the API server is away: what runs goes on without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

import structlog

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import NotFound, Unavailable
from opsuite_platforms.kubernetes_api import EVENTS, JOBS, PODS, KubernetesApi
from opsuite_platforms.kubernetes_job_manifests import CONTAINER
from opsuite_platforms.kubernetes_status import sentence
from opsuite_platforms.kubernetes_transport import Object

PAUSE: Final = 0.1
NEVER_BEGIN: Final[Object] = {"spec": {"suspend": True}}

log = structlog.get_logger()
T = TypeVar("T")


class JobCalls:
    """Calls about Jobs of one namespace. Raises, in every call: Unavailable."""

    def __init__(self, api: KubernetesApi, namespace: str, clock: Clock, patience: timedelta) -> None:
        self._api = api
        self._namespace = namespace
        self._clock = clock
        self._patience = patience

    async def look(self, name: str) -> tuple[Object | None, Object | None]:
        """The Job, and then its pod: a Job that has ended has, or had, a pod that has ended."""
        job = await self._api.find(JOBS, self._namespace, name)
        if job is None:
            return None, None
        labels = f"batch.kubernetes.io/controller-uid={job['metadata']['uid']}"
        pods = await self._api.list(PODS, self._namespace, labels=labels)
        return job, pods[0] if pods else None

    async def change(self, name: str, patch: Object) -> None:
        """Merge this into the Job, if it is still there."""
        try:
            await self._api.merge(JOBS, self._namespace, name, patch)
        except NotFound:
            log.info("job_removed_meanwhile", job=name)

    async def end_pod(self, name: str) -> None:
        """Let the kubelet end it as one that is too old: unlike a deleted one, it keeps its log and its exit status."""
        try:
            await self._api.merge(PODS, self._namespace, name, {"spec": {"activeDeadlineSeconds": 1}})
        except NotFound:
            log.info("pod_removed_meanwhile", pod=name)

    async def why_no_pod(self, name: str) -> str:
        """Why the Job's pod could not be made, as was told last; empty if it could, or nothing was told."""
        fields = f"involvedObject.kind=Job,involvedObject.name={name},reason=FailedCreate"
        events = await self._api.list(EVENTS, self._namespace, fields=fields)
        return sentence(max(events, key=lambda event: event.get("lastTimestamp") or "", default={}))

    def log_of(self, pod: Object, *, follow: bool) -> AsyncGenerator[bytes, None]:
        """The log from its start, with times; followed until the container ends. Also raises NotFound, InvalidInput."""
        query = {"container": CONTAINER, "timestamps": "true", "follow": "true" if follow else ""}
        return self._api.log(self._namespace, pod["metadata"]["name"], query)

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of `call`, made again while the API server is away. Raises: Unavailable at the end."""
        begin = self._clock.monotonic()
        while True:
            try:
                return await call()
            except Unavailable:
                if self._clock.monotonic() - begin >= self._patience.total_seconds():
                    raise
            await asyncio.sleep(PAUSE)
