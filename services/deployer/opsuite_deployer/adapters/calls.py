"""What every servicer takes from a call: who calls, how it is replayed, and which deployment a name means."""

from __future__ import annotations

import grpc
from google.protobuf.message import Message

from opsuite_deployer.application.deployments import Call, Reference
from opsuite_rpc.calls import audits_itself
from opsuite_runs.calls import replay_of
from opsuite_runs.port import AuditEntry

Context = grpc.aio.ServicerContext


def call_of(request: Message) -> Call:
    """Who makes the present call, its trace, its replay protection if the request has an id, and its audit entry."""
    call = audits_itself()
    span = call.span.get_span_context()
    return Call(
        actor=call.principal.name,
        trace_id=f"{span.trace_id:032x}",
        span_id=f"{span.span_id:016x}",
        replay=replay_of(request),
        audit=AuditEntry(call.principal.name, call.action, call.resource, "OK", call.details, call.trace_id),
    )


def reference_of(name: str) -> Reference:
    """The deployment that a resource name of correct shape means."""
    _, pipeline, _, environment, _, uid = name.split("/")
    return Reference(pipeline, environment, uid)


def parent_of(name: str) -> tuple[str, str]:
    """Pipeline and environment of a parent; "-" stands for all."""
    _, pipeline, _, environment = name.split("/")
    return pipeline, environment


def page_size(asked: int, *, default: int, largest: int) -> int:
    """Rows of a page: the default for 0, never more than the largest."""
    return min(asked or default, largest)
