"""Who may use the HTTP face: whoever may use the RPCs, with the same tokens, permissions, limits and audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiohttp import web
from opentelemetry import trace

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import (
    Conflict,
    Denied,
    Exhausted,
    InvalidInput,
    NotFound,
    OpsuiteError,
    Stale,
    TimedOut,
    Unauthenticated,
    Unavailable,
)
from opsuite_kernel.ids import new_id
from opsuite_rpc.access import AccessControl, Rights
from opsuite_rpc.calls import Call as RpcCall
from opsuite_rpc.limits import DEFAULT_RATES, CallClass, RateLimiter, check_rate
from opsuite_rpc.status import code_of
from opsuite_rpc.trail import AuditTrail
from opsuite_runs.port import AuditEntry, Call
from opsuite_telemetry.port import TraceContext
from opsuite_telemetry.tracing import context_of

log = structlog.get_logger(__name__)

DEADLINE_SECONDS: Final = 60.0
STATUSES: Final[Mapping[type[OpsuiteError], int]] = {
    InvalidInput: 400,
    Unauthenticated: 401,
    Denied: 403,
    NotFound: 404,
    Conflict: 409,
    Stale: 409,
    Exhausted: 429,
    Unavailable: 503,
    TimedOut: 503,
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    actor: str
    traceparent: str
    action: str
    trace_id: str

    def call(self, resource: str = "") -> Call:
        """As use cases want it, to be audited with what it does."""
        return Call(self.actor, audit=AuditEntry(self.actor, self.action, resource, "OK", {}, self.trace_id))

    @property
    def quiet_call(self) -> Call:
        """The same for what is not audited when it succeeds."""
        return Call(self.actor)


Handler = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]


class Guard:
    """Stands in front of every handler."""

    def __init__(self, access: AccessControl, trail: AuditTrail, tracer: trace.Tracer, clock: Clock) -> None:
        self._access = access
        self._trail = trail
        self._tracer = tracer
        self._clock = clock
        self._limiters = {kind: RateLimiter(DEFAULT_RATES[kind], clock) for kind in (CallClass.READ, CallClass.WRITE)}

    def wrap(self, permission: str, kind: CallClass, handler: Handler) -> Callable[[web.Request], Awaitable[Any]]:
        """The handler, for callers who have the permission. Errors become statuses and a text, as JSON."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            action = f"{request.method} {_route(request)}"
            above = TraceContext.parse(request.headers.get("traceparent", ""))
            with self._tracer.start_as_current_span(
                action, context=context_of(above) if above else None, kind=trace.SpanKind.SERVER
            ) as span:
                call = RpcCall(_Peer(request), "", self._clock.monotonic(), span, action=action)
                try:
                    await self._admit(request, call, permission, kind)
                    async with asyncio.timeout(DEADLINE_SECONDS):
                        return await handler(request, _caller(call))
                except TimeoutError:
                    error: OpsuiteError = TimedOut(f"a request gets at most {DEADLINE_SECONDS:g} s")
                except OpsuiteError as known:
                    error = known
                except web.HTTPException:
                    raise
                except Exception as fault:
                    incident = new_id(self._clock.now())
                    log.exception("http_fault", incident=incident, action=action, exc_info=fault)
                    return _answer(500, f"internal error, incident {incident}")
                return await self._refuse(call, error)

        return guarded

    async def _admit(self, request: web.Request, call: RpcCall, permission: str, kind: CallClass) -> None:
        call.identity = await self._access.authenticate(request.headers.get("Authorization", ""), call.context)
        call.principal = self._access.principal(call.identity)
        check_rate(self._limiters[kind], call.principal.name, kind)
        self._access.authorize(call.principal, Rights(permission), "")

    async def _refuse(self, call: RpcCall, error: OpsuiteError) -> web.Response:
        call.code, call.reason = code_of(error), error.reason
        await self._trail.failed(call.action, call, error, always=False)
        status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        if isinstance(error, Unavailable) and error.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(error.retry_after.total_seconds())))
        return _answer(status, error.message, headers)


class _Peer:
    """What access control asks of a connection: over HTTP only a token proves anything."""

    def __init__(self, request: web.Request) -> None:
        self._request = request

    def peer(self) -> str:
        return f"http:{self._request.remote or ''}"

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return {}


def _caller(call: RpcCall) -> Caller:
    context = call.span.get_span_context()
    traceparent = ""
    if context.is_valid:
        place = TraceContext(
            trace.format_trace_id(context.trace_id),
            trace.format_span_id(context.span_id),
            bool(context.trace_flags & trace.TraceFlags.SAMPLED),
        )
        traceparent = place.traceparent
    return Caller(call.principal.name, traceparent, call.action, call.trace_id)


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else request.path


def _answer(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Clients of Alertmanager expect a JSON text."""
    return web.json_response(text, status=status, headers=headers)
