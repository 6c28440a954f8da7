"""One Job followed to its end: its output as it comes, and then how it ended."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import InvalidInput, NotFound, Unavailable
from opsuite_platforms.docker_output import ContainerOutput
from opsuite_platforms.kubernetes_job_calls import NEVER_BEGIN, PAUSE, JobCalls
from opsuite_platforms.kubernetes_job_manifests import NOT_STARTED, exit_of, has_begun, why_it_does_not_begin
from opsuite_platforms.kubernetes_job_output import PodLog
from opsuite_platforms.kubernetes_status import pod_phase
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.port import ContainerSpec, Exit, ExitKind, OnOutput, OutputLine, Stream

# Seconds between two looks, growing from the shorter; the end of the log calls for a look at once.
LONGEST_PAUSE: Final = 1.0
GROWTH: Final = 1.25

log = structlog.get_logger()


class JobRun:
    """What is known about the Job in the course of one call; a later call finds it all out again."""

    def __init__(
        self, calls: JobCalls, clock: Clock, spec: ContainerSpec, on_output: OnOutput, image_patience: timedelta
    ) -> None:
        self._calls = calls
        self._clock = clock
        self._spec = spec
        self._on_output = on_output
        self._output = ContainerOutput(spec.output_bytes, on_output, clock)
        self._image_patience = image_patience
        self._unable_since: float | None = None
        self._obstacle = ""
        self._log_has_ended = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    async def to_end(self) -> Exit:
        """How it ended, all of its output delivered. Raises: Unavailable, and what `on_output` raises."""
        try:
            pod, end = await self._until_end()
        finally:
            await self._stop_following()
        if pod is not None and has_begun(pod):
            await self._read_rest(pod)
        if end.kind is ExitKind.NOT_STARTED:
            obstacle = self._obstacle or await self._calls.patiently(lambda: self._calls.why_no_pod(self._spec.name))
            return end if obstacle in end.message else replace(end, message=f"{end.message}; {obstacle}")
        return end

    async def _until_end(self) -> tuple[Object | None, Exit]:
        seconds = PAUSE
        while True:
            job, pod = await self._calls.patiently(lambda: self._calls.look(self._spec.name))
            if (end := exit_of(job, pod, self._spec)) is not None:
                return pod, end
            if pod is not None and has_begun(pod):
                self._follow(pod)
            elif pod is not None:
                self._obstacle = pod_phase(pod)[1]
                await self._give_up_in_time(why_it_does_not_begin(pod))
            seconds = PAUSE if await self._log_ends_within(seconds) else min(LONGEST_PAUSE, seconds * GROWTH)

    async def _log_ends_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._log_has_ended.wait()
        except TimeoutError:
            return False
        self._log_has_ended.clear()
        return True

    async def _give_up_in_time(self, reason: str) -> None:
        """Tell the Job never to begin when it has been unable to for too long."""
        now = self._clock.monotonic()
        self._unable_since = (self._unable_since or now) if reason else None
        if self._unable_since is not None and now - self._unable_since >= self._image_patience.total_seconds():
            asked = {"metadata": {"annotations": {NOT_STARTED: reason}}} | NEVER_BEGIN
            await self._calls.patiently(lambda: self._calls.change(self._spec.name, asked))

    def _follow(self, pod: Object) -> None:
        if self._following is None:
            self._following = asyncio.create_task(self._deliver_as_it_comes(pod))

    async def _stop_following(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
            if not self._following.cancelled():
                self._following.result()  # raises what the caller's on_output raised

    async def _deliver_as_it_comes(self, pod: Object) -> None:
        while not self._output.is_full:
            try:
                await self._read_log(pod, follow=True)
                self._log_has_ended.set()
                return
            except (Unavailable, InvalidInput, NotFound):
                log.warning("pod_log_interrupted", pod=pod["metadata"]["name"])
            await asyncio.sleep(PAUSE)

    async def _read_rest(self, pod: Object) -> None:
        """Deliver what following missed, or say that it is lost."""
        try:
            await self._calls.patiently(lambda: self._read_log(pod, follow=False))
        except (Unavailable, InvalidInput, NotFound) as fault:
            text = f"the rest of the output cannot be read: {fault.message}"
            self._on_output([OutputLine(self._clock.now(), Stream.SYSTEM, text)])

    async def _read_log(self, pod: Object, *, follow: bool) -> None:
        reading = PodLog(self._output, self._spec.output_bytes + 1)
        async with aclosing(self._calls.log_of(pod, follow=follow)) as parts:
            async for data in parts:
                reading.feed(data)
                if self._output.is_full:
                    return
        if not follow:
            reading.finish()
