"""The watch stream of an execution: a snapshot, then every event after it, until the execution is over."""

from __future__ import annotations

from collections.abc import AsyncIterator

from opsuite.healer.v1 import runbook_pb2
from opsuite.healer.v1 import runbook_service_pb2 as pb
from opsuite_healer.adapters.feeds import DEFAULT_BATCH, Feeds, heartbeat_of
from opsuite_healer.adapters.runbooks.execution_messages import execution_message
from opsuite_healer.application.runbooks.steering import Steering

ENDED = runbook_pb2.EXECUTION_EVENT_KIND_ENDED


class Watches:
    """Serves WatchExecution."""

    def __init__(self, steering: Steering, feeds: Feeds) -> None:
        self._steering = steering
        self._feeds = feeds

    async def follow(self, request: pb.WatchExecutionRequest) -> AsyncIterator[pb.WatchExecutionResponse]:
        """A snapshot unless it resumes, then every event after it."""
        name = request.name
        present = await self._steering.get(name)
        after = present.revision
        if request.resume_token:
            after = self._feeds.after(name, request.resume_token, present.revision)
        else:
            token = self._feeds.token(name, after)
            yield pb.WatchExecutionResponse(snapshot=execution_message(present), resume_token=token)
        if present.execution.is_over and after >= present.revision:
            return
        async for told in self._feeds.follow(name, after, heartbeat=heartbeat_of(request), most=DEFAULT_BATCH):
            answer = pb.WatchExecutionResponse(resume_token=told.resume_token)
            for payload in told.payloads:
                answer.events.add().MergeFromString(payload)
            yield answer
            if any(event.kind == ENDED for event in answer.events):
                return
