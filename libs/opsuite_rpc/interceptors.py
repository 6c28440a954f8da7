"""What stands between the wire and a handler, the same for every method.

Outermost first: errors to statuses, trace, metrics and log, identity, rate, a slot, shape, permission, deadline. They
are one function per method, composed when the server is built: an interceptor of grpc.aio is asked for a handler at
every call, and nine of them would cost more than what they do.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import grpc
import structlog
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from opsuite_kernel.errors import Internal, InvalidInput, OpsuiteError, TimedOut, Unavailable, Violation
from opsuite_kernel.ids import new_id
from opsuite_rpc import calls
from opsuite_rpc.access import Rights
from opsuite_rpc.calls import Call
from opsuite_rpc.gate import Gate
from opsuite_rpc.limits import CallClass, check_rate
from opsuite_rpc.observe import Observer
from opsuite_rpc.status import code_of, to_status

Check = Callable[[Message], Sequence[Violation]]
Behaviour = Callable[[Any, Any], Any]

HEALTH: Final = "grpc.health.v1.Health"
CODES: Final[Mapping[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}
DETAILS: Final = "grpc-status-details-bin"
PUSHBACK: Final = "grpc-retry-pushback-ms"

log = structlog.get_logger("opsuite.rpc")


@dataclass(frozen=True, slots=True)
class Method:
    """All that is known of a method before its first call."""

    service: str
    name: str
    rights: Rights
    check: Check | None = None
    """Violations of the request; None where the contract has no rules."""
    resource_field: str = ""
    """Field of the request that the audit log names as the resource."""
    request_streaming: bool = False
    response_streaming: bool = False
    judges_shape: bool = False
    """Violations are handed to the handler, which tells them together with its own; not of a request that streams."""

    @property
    def full_name(self) -> str:
        """`package.Service/Method`."""
        return f"{self.service}/{self.name}"

    @property
    def call_class(self) -> CallClass:
        """Which limits it falls under."""
        if self.service == HEALTH:
            return CallClass.HEALTH_WATCH if self.response_streaming else CallClass.HEALTH
        if self.service.startswith("grpc.") or self.rights.permission.startswith("audit."):
            return CallClass.ADMIN
        if self.response_streaming or self.request_streaming:
            return CallClass.WATCH
        return CallClass.WRITE if self.rights.audit_always else CallClass.READ


class GuardedMethod:
    """One method with everything in front of it."""

    def __init__(self, method: Method, behaviour: Behaviour, observer: Observer, gate: Gate) -> None:
        self._method = method
        self._behaviour = behaviour
        self._observer = observer
        self._gate = gate
        self._slots = gate.slots[method.call_class]
        self._limiter = gate.limiters.get(method.call_class)
        self._is_upload = method.request_streaming and not method.response_streaming
        # Health watches and uploads that report for ever end only with the server.
        self._counted = method.service != HEALTH and not self._is_upload

    async def single(self, request: Any, context: Any) -> Any:
        """Answer with one message."""
        call = self._began(context)
        try:
            await self._identify(call)
            async with self._slots:
                request = self._examined(call, request)
                response = await self._in_time(request, context)
            await self._succeeded(call)
        except BaseException as error:
            await self._fail(call, error)
            raise
        finally:
            self._observer.ended(call)
        return response

    async def stream(self, request: Any, context: Any) -> None:
        """Answer with a stream, from a handler that is an async generator or one that writes to the context itself."""
        call = self._began(context)
        try:
            await self._identify(call)
            async with self._slots:
                request = self._examined(call, request)
                self._remember_stream(call)
                await self._pump(self._behaviour(request, context), context)
            await self._succeeded(call)
        except BaseException as error:
            await self._fail(call, error)
            raise
        finally:
            self._gate.streams.pop(call, None)
            self._observer.ended(call)

    def _began(self, context: Any) -> Call:
        if self._counted:
            self._gate.opened(context)
        call = self._observer.began(context)
        call.action = self._method.full_name
        calls.enter(call)
        return call

    async def _identify(self, call: Call) -> None:
        if self._method.rights.anonymous:
            return
        access = self._gate.access
        call.identity = await access.authenticate(call.authorization, call.context)
        call.principal = access.principal(call.identity)
        if self._limiter is not None:
            check_rate(self._limiter, call.principal.name, self._method.call_class)

    def _examined(self, call: Call, request: Any) -> Any:
        """The request, found right in shape and permitted to this caller; a stream is examined as it is read."""
        method = self._method
        if method.request_streaming:
            self._gate.access.authorize(call.principal, method.rights, "")
            return request if method.check is None else _examined_stream(method.check, request)
        if method.resource_field:
            call.resource = getattr(request, method.resource_field)
        if method.check is not None and (violations := method.check(request)):
            if not method.judges_shape:
                raise InvalidInput(violations)
            call.violations = tuple(violations)
        self._gate.access.authorize(call.principal, method.rights, call.resource)
        return request

    async def _in_time(self, request: Any, context: Any) -> Any:
        """Call the handler; grpc cancels it at the caller's deadline, we at ours where theirs is later or missing."""
        cap = self._gate.deadline_cap_seconds
        remaining = context.time_remaining()
        if self._is_upload or (remaining is not None and remaining <= cap):
            return await self._behaviour(request, context)
        limit = asyncio.timeout(cap)
        try:
            async with limit:
                return await self._behaviour(request, context)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TimedOut(f"the server gives a call at most {cap:g} s", reason="DEADLINE_CAP") from error

    async def _pump(self, answer: Any, context: Any) -> None:
        if not hasattr(answer, "__aiter__"):
            await answer
            return
        async with aclosing(answer):
            async for message in answer:
                await context.write(message)

    def _remember_stream(self, call: Call) -> None:
        if self._counted:
            call.task = asyncio.current_task()
            self._gate.streams[call] = (self._method.rights, call.resource)

    async def _succeeded(self, call: Call) -> None:
        call.is_done = True
        if self._method.rights.audit_always:
            await self._gate.trail.succeeded(self._method.full_name, call)

    async def _fail(self, call: Call, error: BaseException) -> None:
        """End the call with the status of `error`. Returns where `error` itself has to go on."""
        if call.ended_by is not None and isinstance(error, asyncio.CancelledError):
            error = call.ended_by
        if isinstance(error, grpc.aio.AbortError):
            call.code = status_code(call.context.code())
            await self._audit_failure(call, error)
        elif not isinstance(error, Exception) or isinstance(error, grpc.aio.BaseError):
            self._cancelled(call, error)
        else:
            known = error if isinstance(error, OpsuiteError) else self._incident(error)
            status = to_status(known)
            call.code, call.reason = code_of(known), known.reason
            await self._audit_failure(call, known)
            await call.context.abort(call.code, status.message, trailing_metadata(status, known))

    def _cancelled(self, call: Call, error: BaseException) -> None:
        """The caller is gone, or the server is stopping. An act that was done is audited as done, if need be twice."""
        if not call.is_done:
            late = call.context.time_remaining() == 0
            call.code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
        if self._method.rights.audit_always:
            self._gate.audit_later(self._succeeded(call) if call.is_done else self._audit_failure(call, error))

    def _incident(self, error: Exception) -> Internal:
        """What the caller sees of a fault of ours: an id under which the log has it in full."""
        incident = new_id(self._gate.clock.now())
        log.error("rpc_fault", incident=incident, method=self._method.full_name, exc_info=error)
        return Internal(f"internal error, incident {incident}", metadata={"incident": incident})

    async def _audit_failure(self, call: Call, error: BaseException) -> None:
        if not call.is_done:
            always = self._method.rights.audit_always
            await self._gate.trail.failed(self._method.full_name, call, error, always=always)


def guarded(handler: Any, method: Method, observer: Observer, gate: Gate) -> Any:
    """The handler (`grpc.RpcMethodHandler`) to register in place of `handler`."""
    behaviours = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    behaviour = next(found for found in behaviours if found is not None)
    method_with_all = GuardedMethod(method, behaviour, observer, gate)
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    answer = method_with_all.stream if handler.response_streaming else method_with_all.single
    return make(answer, handler.request_deserializer, passing_bytes(handler.response_serializer))


def passing_bytes(serialize: Callable[[Any], bytes] | None) -> Callable[[Any], bytes] | None:
    """The serializer, for handlers that may also answer with bytes serialised before: one event for many watchers."""
    if serialize is None:
        return None

    def pass_bytes(message: Any) -> bytes:
        return message if type(message) is bytes else serialize(message)

    return pass_bytes


def status_code(code: Any) -> grpc.StatusCode:
    """The code of a call, which grpc.aio gives as a number or as itself."""
    return code if isinstance(code, grpc.StatusCode) else CODES.get(code, grpc.StatusCode.UNKNOWN)


def trailing_metadata(status: Status, error: OpsuiteError) -> tuple[tuple[str, str | bytes], ...]:
    """The rich status and, where the server sheds load, how long a client should leave it alone."""
    details: tuple[tuple[str, str | bytes], ...] = ((DETAILS, status.SerializeToString()),)
    if isinstance(error, Unavailable) and error.retry_after is not None:
        return (*details, (PUSHBACK, str(math.ceil(error.retry_after.total_seconds() * 1000))))
    return details


async def _examined_stream(check: Check, requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for request in requests:
        if violations := check(request):
            raise InvalidInput(violations)
        yield request
