"""What the audit log hears of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest
from fakes.clock import FakeClock
from fakes.rpc_service import RecordingAudit
from opentelemetry import trace

from opsuite_kernel.errors import Denied, InvalidInput, Unauthenticated, Unavailable, Violation
from opsuite_rpc.calls import Call
from opsuite_rpc.limits import Rate
from opsuite_rpc.policy import Principal
from opsuite_rpc.trail import SUPPRESSED, AuditTrail

ACTION = "package.Service/Method"
DENIED = grpc.StatusCode.PERMISSION_DENIED


class Context:
    def peer(self) -> str:
        return "unix:"


def a_call(code: grpc.StatusCode = DENIED, actor: str = "ann") -> Call:
    return Call(Context(), "", 0.0, trace.INVALID_SPAN, principal=Principal(actor), code=code, reason="REASON")


def a_trail(burst: int = 100) -> tuple[AuditTrail, RecordingAudit, FakeClock]:
    audit, clock = RecordingAudit(), FakeClock()
    return AuditTrail(audit, clock, Rate(per_second=1, burst=burst)), audit, clock


@pytest.mark.parametrize(
    ("code", "error", "always", "recorded"),
    [
        (DENIED, Denied("no"), False, True),
        (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated("who"), False, True),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidInput([]), False, False),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidInput([]), True, True),
        (grpc.StatusCode.UNAVAILABLE, Unavailable("later"), False, False),
        (grpc.StatusCode.UNAVAILABLE, Unavailable("later"), True, True),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidInput([Violation("a", "b", "ARGUMENT_REFUSED")]), False, True),
    ],
)
async def test_refusals_are_always_heard_of_and_other_failures_where_the_method_says_so(
    code: grpc.StatusCode, error: Exception, always: bool, recorded: bool
) -> None:
    trail, audit, _ = a_trail()

    await trail.failed(ACTION, a_call(code), error, always=always)

    assert bool(audit.entries) is recorded


async def test_what_is_left_out_is_told_with_the_next_entry_that_is_let_in() -> None:
    trail, audit, clock = a_trail(burst=2)
    for _ in range(7):
        await trail.failed(ACTION, a_call(), Denied("no"), always=False)
    clock.advance(timedelta(seconds=1))
    await trail.failed(ACTION, a_call(), Denied("no"), always=False)
    await trail.close()

    assert [entry.details.get("suppressed") for entry in audit.entries] == [None, None, "5"]


async def test_what_was_not_told_yet_is_told_at_the_end_once() -> None:
    trail, audit, _ = a_trail(burst=1)
    for actor in ("ann", "ann", "ann", "bob"):
        await trail.failed(ACTION, a_call(actor=actor), Denied("no"), always=False)
    await trail.close()
    await trail.close()

    told = [(entry.actor, entry.action, entry.details.get("suppressed")) for entry in audit.entries]
    assert told == [("ann", ACTION, None), ("bob", ACTION, None), ("ann", SUPPRESSED, "2")]


async def test_acts_are_never_left_out() -> None:
    trail, audit, _ = a_trail(burst=1)
    for _ in range(50):
        await trail.succeeded(ACTION, a_call(grpc.StatusCode.OK))

    assert len(audit.entries) == 50


async def test_a_sink_that_fails_fails_an_act_and_no_refusal() -> None:
    trail, audit, _ = a_trail()
    audit.fault = OSError("disk full")

    with pytest.raises(Unavailable) as caught:
        await trail.succeeded(ACTION, a_call(grpc.StatusCode.OK))
    await trail.failed(ACTION, a_call(), Denied("no"), always=False)

    assert caught.value.reason == "AUDIT_UNAVAILABLE"


async def test_without_a_sink_nothing_happens() -> None:
    trail: Any = AuditTrail(None)

    await trail.succeeded(ACTION, a_call())
    await trail.failed(ACTION, a_call(), Denied("no"), always=True)
    await trail.close()
