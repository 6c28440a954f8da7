"""Errors as problem documents (RFC 9457), with the same reasons and field paths as over gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from opsuite_kernel.errors import (
    Conflict,
    Denied,
    Exhausted,
    Gone,
    Internal,
    InvalidInput,
    NotFound,
    OpsuiteError,
    Stale,
    TimedOut,
    Unauthenticated,
    Unavailable,
)

STATUSES: Final[Mapping[type[OpsuiteError], HTTPStatus]] = {
    InvalidInput: HTTPStatus.BAD_REQUEST,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Denied: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Stale: HTTPStatus.PRECONDITION_FAILED,
    Gone: HTTPStatus.GONE,
    Exhausted: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    TimedOut: HTTPStatus.GATEWAY_TIMEOUT,
    Internal: HTTPStatus.INTERNAL_SERVER_ERROR,
}
CONTENT_TYPE: Final = "application/problem+json"


def status_of(error: OpsuiteError) -> HTTPStatus:
    """The status of the nearest kind that `error` belongs to."""
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), HTTPStatus.INTERNAL_SERVER_ERROR)


def problem(error: OpsuiteError, *, instance: str = "", trace_id: str = "") -> dict[str, Any]:
    """The document. `reason` is stable, for programs; `violations` say by field path all that is wrong."""
    status = status_of(error)
    document: dict[str, Any] = {
        "type": f"urn:opsuite:problem:{error.reason}",
        "title": status.phrase,
        "status": status.value,
        "detail": error.message,
        "reason": error.reason,
    }
    if instance:
        document["instance"] = instance
    if error.metadata:
        document["metadata"] = dict(error.metadata)
    if isinstance(error, InvalidInput):
        document["violations"] = [
            {"field": one.field, "description": one.description, "reason": one.reason} for one in error.violations
        ]
    if isinstance(error, Unavailable) and error.retry_after is not None:
        document["retryAfterSeconds"] = error.retry_after.total_seconds()
    if trace_id:
        document["traceId"] = trace_id
    return document
