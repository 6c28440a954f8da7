"""The call in work: who makes it, how long it may still take, what the audit log will say about it."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry import trace

from opsuite_kernel.errors import OpsuiteError, Violation
from opsuite_rpc.identity import Identity
from opsuite_rpc.policy import ANONYMOUS, Principal


@dataclass(slots=True, eq=False)
class Call:
    """One call in work, filled in on its way through the interceptors."""

    context: Any
    authorization: str = field(repr=False)  # holds the token, and a logged traceback may show locals
    """The header of that name, empty if absent; the others are not kept, for a call may last for long."""
    started: float
    span: trace.Span
    identity: Identity | None = None
    """How the caller proved who they are; None for methods open to all."""
    principal: Principal = ANONYMOUS
    violations: tuple[Violation, ...] = ()
    """What is wrong with the shape of the request, where the method is one that judges that itself."""
    action: str = ""
    """Full name of the method."""
    resource: str = ""
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""
    details: dict[str, str] = field(default_factory=dict)
    is_done: bool = False
    """The handler has succeeded; what comes after is telling of it."""
    audits_itself: bool = False
    """The handler records its success in the transaction of the act; failures and refusals are recorded for it."""
    task: asyncio.Task[Any] | None = None
    ended_by: OpsuiteError | None = None
    """Why the server itself ends a stream."""

    def end(self, error: OpsuiteError) -> None:
        """End a stream with the status of `error`, in the middle of whatever it does."""
        if self.task is not None:
            self.ended_by = error
            self.task.cancel()

    @property
    def trace_id(self) -> str:
        """32 hex digits; empty where nothing is traced."""
        context = self.span.get_span_context()
        return trace.format_trace_id(context.trace_id) if context.is_valid else ""


_current: ContextVar[Call] = ContextVar("opsuite_rpc_call")


def enter(call: Call) -> None:
    """Make `call` the one in work; every call runs in a context of its own, so nothing has to be undone."""
    _current.set(call)


def current_call() -> Call:
    """The call in work. Raises LookupError outside of calls."""
    return _current.get()


def time_remaining() -> float | None:
    """Seconds until the caller gives up; None when the call has no deadline. Raises LookupError outside of calls."""
    remaining: float | None = _current.get().context.time_remaining()
    return remaining


def shape_violations() -> tuple[Violation, ...]:
    """What is wrong with the shape of this request: for handlers whose contract says `judges_shape`, others get none.

    Such a handler is called with requests that keep no rule, and has to end in an error or an answer that tells these.
    """
    return _current.get().violations


def audits_itself() -> Call:
    """The call in work, of which the handler promises to audit a success together with what it does."""
    call = _current.get()
    call.audits_itself = True
    return call


def audited_as(resource: str, **details: str) -> None:
    """Say what the call acted on, where only the handler knows: the name of what it created. Never a secret."""
    call = _current.get()
    call.resource = resource
    call.details.update(details)
