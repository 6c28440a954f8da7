"""Kinds of error to gRPC statuses and back, in one table.

A status of ours carries exactly one ErrorInfo (reason, domain, metadata) and at most one detail of each other type. It
stays below 4 KiB, because it travels in the trailers: what does not fit is cut visibly, never refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

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
    Violation,
)

DOMAIN: Final = "opsuite"
TRUNCATED: Final = "TRUNCATED"
"""Reason of the violation that stands for those that did not fit."""
MAX_STATUS_BYTES: Final = 4096
MAX_MESSAGE_BYTES: Final = 512  # sent twice, and percent-encoded the second time: three times as long at worst
MAX_REASON_BYTES: Final = 63  # AIP-193
MAX_METADATA_BYTES: Final = 1024
_NAME_BYTES: Final = 256
_MORE_BYTES: Final = 64  # room for the violation that counts the others
_TRAILER: Final = "grpc-status-details-bin"

CODES: Final[Mapping[type[OpsuiteError], grpc.StatusCode]] = {
    InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    Stale: grpc.StatusCode.ABORTED,
    Denied: grpc.StatusCode.PERMISSION_DENIED,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Gone: grpc.StatusCode.OUT_OF_RANGE,
    TimedOut: grpc.StatusCode.DEADLINE_EXCEEDED,
    Internal: grpc.StatusCode.INTERNAL,
}
# What only servers that are not ours, or gRPC itself, send. CANCELLED without having cancelled is what a server does
# that has too much to do.
_FOREIGN: Final[Mapping[grpc.StatusCode, type[OpsuiteError]]] = {
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.CANCELLED: Unavailable,
}
_KINDS: Final = {**{code: kind for kind, code in CODES.items()}, **_FOREIGN}

M = TypeVar("M", bound=Message)


def code_of(error: OpsuiteError) -> grpc.StatusCode:
    """The code of the nearest kind that `error` belongs to; INTERNAL for none."""
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), grpc.StatusCode.INTERNAL)


# ---- to a status ----------------------------------------------------------------------------------------------------


def to_status(error: OpsuiteError) -> status_pb2.Status:
    """The status to send for `error`, smaller than 4 KiB."""
    status = status_pb2.Status(code=code_of(error).value[0], message=_clip(error.message, MAX_MESSAGE_BYTES))
    info = details.ErrorInfo(reason=_clip(error.reason, MAX_REASON_BYTES), domain=DOMAIN)
    info.metadata.update(_fitting_metadata(error.metadata))
    status.details.add().Pack(info)
    for detail in _details(error, room=MAX_STATUS_BYTES - status.ByteSize() - _MORE_BYTES):
        status.details.add().Pack(detail)
    return status


def _details(error: OpsuiteError, room: int) -> Iterator[Message]:
    if isinstance(error, InvalidInput):
        yield _bad_request(error, room)
    elif isinstance(error, NotFound):
        yield details.ResourceInfo(
            resource_type=_clip(error.kind, _NAME_BYTES), resource_name=_clip(error.name, _NAME_BYTES)
        )
    elif isinstance(error, Conflict):
        failure = details.PreconditionFailure()
        failure.violations.add(
            type=_clip(error.reason, MAX_REASON_BYTES),
            subject=_clip(error.metadata.get("name", ""), _NAME_BYTES),
            description=_clip(error.message, MAX_MESSAGE_BYTES),
        )
        yield failure
    elif isinstance(error, Unavailable) and error.retry_after is not None:
        delay = Duration()
        delay.FromTimedelta(error.retry_after)
        yield details.RetryInfo(retry_delay=delay)


def _bad_request(error: InvalidInput, room: int) -> details.BadRequest:
    """As many violations as there is room for, then one that counts the rest."""
    request = details.BadRequest()
    room -= 2 * _MORE_BYTES  # the type's URL, and the count
    for number, violation in enumerate(error.violations):
        added = request.field_violations.add(
            field=_clip(violation.field, _NAME_BYTES),
            description=_clip(violation.description, MAX_MESSAGE_BYTES),
            reason=_clip(violation.reason, MAX_REASON_BYTES),
        )
        room -= added.ByteSize() + 3  # its tag and length
        if room < 0:
            del request.field_violations[number:]
            left = len(error.violations) - number
            request.field_violations.add(description=f"and {left} more", reason=TRUNCATED)
            break
    return request


def _fitting_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    fitting, room = {}, MAX_METADATA_BYTES
    for key, value in metadata.items():
        name, text = _clip(key, MAX_REASON_BYTES), _clip(str(value), _NAME_BYTES)
        room -= len(name.encode()) + len(text.encode()) + 8  # tags and lengths of an entry
        if room >= 0:
            fitting[name] = text
    return fitting


def _clip(text: str, limit_bytes: int) -> str:
    """`text` as UTF-8 can carry it, with an ellipsis where it is cut."""
    encoded = text.encode("utf-8", "replace")  # output of programs may hold lone surrogates
    if len(encoded) <= limit_bytes:
        return encoded.decode()
    return encoded[: limit_bytes - 3].decode("utf-8", "ignore") + "…"


# ---- from a status --------------------------------------------------------------------------------------------------


def from_rpc_error(error: grpc.RpcError) -> OpsuiteError:
    """The error that the server raised. One that is not ours, and sends no details, is judged by its code alone."""
    if not isinstance(error, (grpc.Call, grpc.aio.AioRpcError)):
        return Internal(f"the call failed: {error}", reason="UNKNOWN")
    return from_code(error.code(), error.details() or "", _sent_status(error.trailing_metadata()))


def from_code(code: grpc.StatusCode, message: str, status: status_pb2.Status | None = None) -> OpsuiteError:
    """The error for `code`; `status` holds the details, if there are any."""
    status = status or status_pb2.Status()
    kind = _KINDS.get(code, Internal)
    info = _detail(status, details.ErrorInfo)
    error = _MAKERS.get(kind, _plain)(kind, message, status)
    error.message, error.args = message, (message,)
    error.metadata = dict(info.metadata)
    if info.reason or CODES.get(kind) is not code:
        error.reason = info.reason or code.name  # type: ignore[misc]  # as in OpsuiteError: an instance may be more precise
    return error


def _sent_status(metadata: Any) -> status_pb2.Status | None:
    packed = next((value for key, value in metadata or () if key == _TRAILER), None)
    try:
        return None if packed is None else status_pb2.Status.FromString(packed)
    except DecodeError:
        return None  # then the code has to do


def _detail(status: status_pb2.Status, kind: type[M]) -> M:
    """The detail of that type; an empty one if there is none, or if it cannot be read."""
    found = kind()
    for packed in status.details:
        if packed.TypeName() == kind.DESCRIPTOR.full_name:
            try:
                packed.Unpack(found)
            except DecodeError:
                return kind()
    return found


def _plain(kind: type[OpsuiteError], message: str, _status: status_pb2.Status) -> OpsuiteError:
    return kind(message)


def _invalid_input(_kind: type[OpsuiteError], message: str, status: status_pb2.Status) -> OpsuiteError:
    sent = _detail(status, details.BadRequest).field_violations
    found = [Violation(each.field, each.description, each.reason or "INVALID") for each in sent]
    return InvalidInput(found or [Violation("", message)])


def _not_found(_kind: type[OpsuiteError], _message: str, status: status_pb2.Status) -> OpsuiteError:
    resource = _detail(status, details.ResourceInfo)
    return NotFound(resource.resource_type, resource.resource_name)


def _unavailable(kind: type[OpsuiteError], message: str, status: status_pb2.Status) -> OpsuiteError:
    assert issubclass(kind, Unavailable)  # noqa: S101  # the table below says so
    delay = _detail(status, details.RetryInfo)
    return kind(message, retry_after=delay.retry_delay.ToTimedelta() if delay.HasField("retry_delay") else None)


_MAKERS: Final[Mapping[type[OpsuiteError], Callable[[type[OpsuiteError], str, status_pb2.Status], OpsuiteError]]] = {
    InvalidInput: _invalid_input,
    NotFound: _not_found,
    Unavailable: _unavailable,
    Exhausted: _unavailable,
}
