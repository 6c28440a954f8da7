"""RunbookService: runbooks as they are kept, and executions as they are steered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

import grpc

from opsuite.healer.v1 import runbook_pb2
from opsuite.healer.v1 import runbook_service_pb2 as pb
from opsuite.healer.v1 import runbook_service_pb2_grpc as stubs
from opsuite_healer.adapters.runbooks.execution_messages import execution_message
from opsuite_healer.adapters.runbooks.queries import Queries, Wanted
from opsuite_healer.adapters.runbooks.runbook_messages import from_yaml, record_message, runbook_message, runbook_of
from opsuite_healer.adapters.runbooks.watches import Watches
from opsuite_healer.adapters.target_messages import target_from
from opsuite_healer.application.names import id_of
from opsuite_healer.application.runbook_runner import RunbookCall
from opsuite_healer.application.runbooks.catalogue import Catalogue
from opsuite_healer.application.runbooks.steering import Steering, Wish
from opsuite_healer.domain.runbooks.execution import Answer
from opsuite_healer.domain.runbooks.runbook import Runbook
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.calls import audited_as, shape_violations
from opsuite_rpc.shapes import check_for
from opsuite_rpc.values import page_size
from opsuite_runs.calls import call_of
from opsuite_telemetry.port import current_trace

Context = grpc.aio.ServicerContext
Source = pb.CreateRunbookRequest | pb.UpdateRunbookRequest | pb.ValidateRunbookRequest
Steered = pb.PauseExecutionRequest | pb.ResumeExecutionRequest | pb.CancelExecutionRequest
SHAPE: Final = check_for(runbook_pb2.Runbook)


class RunbookServicer(stubs.RunbookServiceServicer):
    """Serves the contract of runbooks."""

    def __init__(self, catalogue: Catalogue, steering: Steering, queries: Queries, watches: Watches) -> None:
        self._catalogue = catalogue
        self._steering = steering
        self._queries = queries
        self._watches = watches

    # --- runbooks

    async def CreateRunbook(
        self, request: pb.CreateRunbookRequest, context: Context[pb.CreateRunbookRequest, pb.CreateRunbookResponse]
    ) -> pb.CreateRunbookResponse:
        """Record a runbook."""
        _, runbook, path = _written(request)
        audited_as(runbook.name)
        record = await self._catalogue.create(runbook, path, call_of(request))
        return pb.CreateRunbookResponse(runbook=record_message(record))

    async def GetRunbook(
        self, request: pb.GetRunbookRequest, context: Context[pb.GetRunbookRequest, pb.GetRunbookResponse]
    ) -> pb.GetRunbookResponse:
        """Return a runbook."""
        return pb.GetRunbookResponse(runbook=record_message(await self._catalogue.get(id_of(request.name))))

    async def ListRunbooks(
        self, request: pb.ListRunbooksRequest, context: Context[pb.ListRunbooksRequest, pb.ListRunbooksResponse]
    ) -> pb.ListRunbooksResponse:
        """Return a page of runbooks."""
        size = page_size(request.page_size)
        page = await self._queries.runbooks(request.issue, token=request.page_token, size=size)
        return pb.ListRunbooksResponse(runbooks=page.items, next_page_token=page.next_token)

    async def UpdateRunbook(
        self, request: pb.UpdateRunbookRequest, context: Context[pb.UpdateRunbookRequest, pb.UpdateRunbookResponse]
    ) -> pb.UpdateRunbookResponse:
        """Replace a runbook."""
        message, runbook, path = _written(request)
        audited_as(runbook.name)
        record = await self._catalogue.update(runbook, message.etag, path, call_of(request))
        return pb.UpdateRunbookResponse(runbook=record_message(record))

    async def DeleteRunbook(
        self, request: pb.DeleteRunbookRequest, context: Context[pb.DeleteRunbookRequest, pb.DeleteRunbookResponse]
    ) -> pb.DeleteRunbookResponse:
        """Forget a runbook."""
        audited_as(request.name)
        await self._catalogue.delete(id_of(request.name), request.etag, call_of(request))
        return pb.DeleteRunbookResponse()

    async def ValidateRunbook(
        self,
        request: pb.ValidateRunbookRequest,
        context: Context[pb.ValidateRunbookRequest, pb.ValidateRunbookResponse],
    ) -> pb.ValidateRunbookResponse:
        """Tell all that is wrong with a runbook."""
        if request.WhichOneof("source") != "runbook" and (wrong := shape_violations()):
            raise InvalidInput(wrong)
        try:
            message, shape = _read(request)
        except InvalidInput as error:
            return _told(error.violations)
        answer = _told([*shape, *self._deeper(message, shape)])
        answer.runbook.CopyFrom(message if shape else runbook_message(runbook_of(message)))
        return answer

    def _deeper(self, message: runbook_pb2.Runbook, shape: Sequence[Violation]) -> Sequence[Violation]:
        """What is wrong beyond the shape, as far as that lets one look."""
        try:
            return self._catalogue.violations(runbook_of(message))
        except (ValueError, KeyError):  # what cannot be read is told by its shape
            if not shape:
                raise
            return ()

    # --- executions

    async def ExecuteRunbook(
        self, request: pb.ExecuteRunbookRequest, context: Context[pb.ExecuteRunbookRequest, pb.ExecuteRunbookResponse]
    ) -> pb.ExecuteRunbookResponse:
        """Begin an execution."""
        call, trace = call_of(request), current_trace()
        wanted = RunbookCall(
            key="",
            runbook=id_of(request.name),
            params=dict(request.params),
            target=target_from(request.target) if request.HasField("target") else None,
            actor=call.actor,
            incident=request.incident,
            traceparent=trace.traceparent if trace else "",
        )
        record = await self._steering.execute(wanted, call)
        return pb.ExecuteRunbookResponse(execution=execution_message(record))

    async def GetExecution(
        self, request: pb.GetExecutionRequest, context: Context[pb.GetExecutionRequest, pb.GetExecutionResponse]
    ) -> pb.GetExecutionResponse:
        """Return an execution."""
        return pb.GetExecutionResponse(execution=execution_message(await self._steering.get(request.name)))

    async def ListExecutions(
        self, request: pb.ListExecutionsRequest, context: Context[pb.ListExecutionsRequest, pb.ListExecutionsResponse]
    ) -> pb.ListExecutionsResponse:
        """Return a page of executions."""
        wanted = Wanted(id_of(request.parent), request.incident, request.active_only)
        size = page_size(request.page_size)
        page = await self._queries.executions(wanted, token=request.page_token, size=size)
        return pb.ListExecutionsResponse(executions=page.items, next_page_token=page.next_token)

    async def WatchExecution(
        self, request: pb.WatchExecutionRequest, context: Context[pb.WatchExecutionRequest, pb.WatchExecutionResponse]
    ) -> AsyncIterator[pb.WatchExecutionResponse]:
        """Stream what happens to an execution."""
        async for answer in self._watches.follow(request):
            yield answer

    async def PauseExecution(
        self, request: pb.PauseExecutionRequest, context: Context[pb.PauseExecutionRequest, pb.PauseExecutionResponse]
    ) -> pb.PauseExecutionResponse:
        """Stop before the next step."""
        record = await self._steering.pause(_wish(request), call_of(request))
        return pb.PauseExecutionResponse(execution=execution_message(record))

    async def ResumeExecution(
        self,
        request: pb.ResumeExecutionRequest,
        context: Context[pb.ResumeExecutionRequest, pb.ResumeExecutionResponse],
    ) -> pb.ResumeExecutionResponse:
        """Go on."""
        record = await self._steering.resume(_wish(request), call_of(request))
        return pb.ResumeExecutionResponse(execution=execution_message(record))

    async def CancelExecution(
        self,
        request: pb.CancelExecutionRequest,
        context: Context[pb.CancelExecutionRequest, pb.CancelExecutionResponse],
    ) -> pb.CancelExecutionResponse:
        """End it."""
        record = await self._steering.cancel_by(_wish(request), call_of(request))
        return pb.CancelExecutionResponse(execution=execution_message(record))

    async def RespondInquiry(
        self, request: pb.RespondInquiryRequest, context: Context[pb.RespondInquiryRequest, pb.RespondInquiryResponse]
    ) -> pb.RespondInquiryResponse:
        """Answer a question."""
        audited_as(request.name, step=request.step, approved=str(request.approved).lower())
        call = call_of(request)
        answer = Answer(call.actor, request.approved, dict(request.answers), request.comment)
        record = await self._steering.respond(Wish(request.name), request.step, answer, call)
        return pb.RespondInquiryResponse(execution=execution_message(record))


def _wish(request: Steered) -> Wish:
    audited_as(request.name, **({"reason": request.reason} if request.reason else {}))
    return Wish(request.name, request.etag, request.reason)


def _read(request: Source) -> tuple[runbook_pb2.Runbook, Sequence[Violation]]:
    """The message that a request holds or writes as YAML, and what is wrong with its shape. Raises InvalidInput."""
    message = request.runbook if request.WhichOneof("source") == "runbook" else from_yaml(request.yaml)
    return message, SHAPE(message)


def _written(request: Source) -> tuple[runbook_pb2.Runbook, Runbook, str]:
    """The runbook of a request, and where it stands there. Raises InvalidInput."""
    path = request.WhichOneof("source") or ""
    try:
        message, shape = _read(request)
    except InvalidInput as error:
        raise InvalidInput([violation.below(path) for violation in error.violations]) from error
    if shape:  # of YAML: that of a message was judged before
        raise InvalidInput([violation.below(path) for violation in shape])
    return message, runbook_of(message), path


def _told(violations: Sequence[Violation]) -> pb.ValidateRunbookResponse:
    answer = pb.ValidateRunbookResponse(valid=not violations)
    for one in violations:
        answer.violations.add(field=one.field, description=one.description, reason=one.reason)
    return answer
