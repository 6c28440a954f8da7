"""Moments, durations and absent fields of messages, as every servicer reads and writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, overload

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from opsuite_kernel.errors import InvalidInput, Violation


def timestamp(value: datetime | None) -> Timestamp | None:
    """A moment for the contract; None where there is none."""
    if value is None:
        return None
    message = Timestamp()
    message.FromDatetime(value)
    return message


@overload
def duration(value: timedelta) -> Duration: ...
@overload
def duration(value: timedelta | None) -> Duration | None: ...
def duration(value: timedelta | None) -> Duration | None:
    """A duration for the contract; None where there is none."""
    if value is None:
        return None
    message = Duration()
    message.FromTimedelta(value)
    return message


def time_of(message: Message, field: str) -> datetime | None:
    """A moment in a field; None when it is not set. Raises ValueError, OverflowError (no calendar holds it)."""
    return getattr(message, field).ToDatetime(tzinfo=UTC) if message.HasField(field) else None


def moment(message: Message, field: str, path: str = "") -> datetime | None:
    """The same of a request; `path` is where it stands there. Raises InvalidInput."""
    try:
        return time_of(message, field)
    except (ValueError, OverflowError) as error:
        raise InvalidInput([Violation(path or field, "is no time that a calendar holds", "RANGE")]) from error


def duration_of(message: Message, field: str, default: timedelta) -> timedelta:
    """A duration in a field; `default` when it is not set."""
    value: timedelta = getattr(message, field).ToTimedelta() if message.HasField(field) else default
    return value


def given(message: Message, field: str, default: Any) -> Any:
    """What a field with presence holds; `default` when it is not set."""
    return getattr(message, field) if message.HasField(field) else default


def page_size(asked: int, *, default: int = 50, largest: int = 1000) -> int:
    """Rows of a page: the default for 0, never more than the largest."""
    return min(asked or default, largest)
