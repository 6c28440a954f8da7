"""Decides what the audit log hears of, and keeps a flood of refusals from filling it."""

from __future__ import annotations

from collections import Counter
from typing import Final

import grpc
import structlog

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import InvalidInput, Unavailable
from opsuite_rpc.audit import COMMAND_REJECTED, AuditEntry, AuditSink
from opsuite_rpc.calls import Call
from opsuite_rpc.limits import Rate, RateLimiter

REFUSALS: Final = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
COMMAND_REASONS: Final = frozenset({"COMMAND_NOT_ALLOWED", "ARGUMENT_REFUSED", "OUTSIDE_ROOTS"})
REFUSAL_RATE: Final = Rate(per_second=10, burst=100)
SUPPRESSED: Final = "audit.suppressed"

log = structlog.get_logger("opsuite.audit")


class AuditTrail:
    """Audits calls. Refusals beyond REFUSAL_RATE per (actor, outcome) are counted and told with the next one."""

    def __init__(self, sink: AuditSink | None, clock: Clock | None = None, rate: Rate = REFUSAL_RATE) -> None:
        self._sink = sink
        self._limiter = RateLimiter(rate, clock)
        self._suppressed: Counter[tuple[str, str]] = Counter()

    async def succeeded(self, action: str, call: Call) -> None:
        """Record an act. Raises Unavailable when it cannot be recorded.

        An act that nobody can trace back is not acknowledged; a repeat with the same request_id finds it done and
        records it then.
        """
        if self._sink is None or call.audits_itself:
            return
        try:
            await self._sink.record(_entry(action, call))
        except Exception as error:
            log.exception("audit_failed", action=action, actor=call.principal.name)
            raise Unavailable("the audit log cannot be written", reason="AUDIT_UNAVAILABLE") from error

    async def failed(self, action: str, call: Call, error: BaseException, *, always: bool) -> None:
        """Record a call that did not succeed, if it is a refusal or its method is always audited.

        A failure to record is logged: what was refused stays refused.
        """
        if self._sink is None:
            return
        rejected = rejected_command(error)
        if not (always or rejected or call.code in REFUSALS):
            return
        key = (call.principal.name, call.code.name)
        if self._limiter.take(key) is not None:
            self._suppressed[key] += 1
            return
        details = {"reason": call.reason, "peer": call.context.peer(), **rejected}
        if rejected:
            details["method"] = action
        if missed := self._suppressed.pop(key, 0):
            details["suppressed"] = str(missed)
        await self._try(_entry(COMMAND_REJECTED if rejected else action, call, details))

    async def close(self) -> None:
        """Tell what was left out and not told yet."""
        for (actor, outcome), missed in self._suppressed.items():
            await self._try(AuditEntry(actor, SUPPRESSED, "", outcome, {"suppressed": str(missed)}))
        self._suppressed.clear()

    async def _try(self, entry: AuditEntry) -> None:
        if self._sink is None:
            return
        try:
            await self._sink.record(entry)
        except Exception:
            log.exception("audit_failed", action=entry.action, actor=entry.actor, outcome=entry.outcome)


def rejected_command(error: BaseException) -> dict[str, str]:
    """Field, reason and description of the first command or argument that the command policy refused; empty if none."""
    if isinstance(error, InvalidInput):
        for violation in error.violations:
            if violation.reason in COMMAND_REASONS:
                return {"field": violation.field, "reason": violation.reason, "description": violation.description}
    return {}


def _entry(action: str, call: Call, details: dict[str, str] | None = None) -> AuditEntry:
    facts = {**call.details, **(details or {})}
    return AuditEntry(call.principal.name, action, call.resource, call.code.name, facts, call.trace_id)
