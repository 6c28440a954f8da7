"""What a servicer takes from the present call: who makes it, how it is replayed, what the audit log keeps of it."""

from __future__ import annotations

import hashlib

from google.protobuf.message import Message

from opsuite_rpc.access import current_principal
from opsuite_rpc.calls import audits_itself
from opsuite_runs.port import AuditEntry, Call, Replay


def call_of(request: Message) -> Call:
    """Who makes the present call, its replay protection if the request has an id, and its audit entry."""
    call = audits_itself()
    return Call(
        actor=call.principal.name,
        replay=replay_of(request),
        audit=AuditEntry(call.principal.name, call.action, call.resource, "OK", call.details, call.trace_id),
    )


def replay_of(request: Message) -> Replay | None:
    """Replay protection of the present call; None without a request id."""
    request_id: str = getattr(request, "request_id", "")
    if not request_id:
        return None
    fingerprint = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    return Replay(current_principal().name, request.DESCRIPTOR.full_name, request_id, fingerprint)
