"""What every servicer takes from a call: who calls, how it is replayed, and which policy a name means."""

from __future__ import annotations

import hashlib
from datetime import datetime

import grpc
from google.protobuf.message import Message

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.access import current_principal
from opsuite_rpc.calls import audits_itself
from opsuite_runs.port import AuditEntry
from opsuite_scaler.adapters.policy_names import POLICIES, POOLS
from opsuite_scaler.adapters.values import time_of
from opsuite_scaler.application.store import Call, Replay

Context = grpc.aio.ServicerContext


def call_of(request: Message) -> Call:
    """Who makes the present call, its replay protection if the request has an id, and its audit entry."""
    call = audits_itself()
    return Call(
        actor=call.principal.name,
        replay=_replay_of(request),
        audit=AuditEntry(call.principal.name, call.action, call.resource, "OK", call.details, call.trace_id),
    )


def _replay_of(request: Message) -> Replay | None:
    request_id: str = getattr(request, "request_id", "")
    if not request_id:
        return None
    fingerprint = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    return Replay(current_principal().name, request.DESCRIPTOR.full_name, request_id, fingerprint)


def policy_id(name: str) -> str:
    """The id in the name of a policy."""
    return name.removeprefix(POLICIES)


def pool_id(name: str) -> str:
    """The id in the name of a pool."""
    return name.removeprefix(POOLS)


def activity_ids(name: str) -> tuple[str, str]:
    """Policy and activity in the name of an activity."""
    _, policy, _, activity = name.split("/")
    return policy, activity


def moment(request: Message, field: str) -> datetime | None:
    """A time of a request. Raises InvalidInput (no calendar holds it)."""
    try:
        return time_of(request, field)
    except (ValueError, OverflowError) as error:
        raise InvalidInput([Violation(field, "is no time that a calendar holds", "RANGE")]) from error


def page_size(asked: int, *, default: int = 50, largest: int = 1000) -> int:
    """Rows of a page: the default for 0, never more than the largest."""
    return min(asked or default, largest)
