"""Moments, durations and enums of messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from opsuite_kernel.errors import InvalidInput, Violation


def timestamp(value: datetime | None) -> Timestamp | None:
    """For the contract."""
    if value is None:
        return None
    message = Timestamp()
    message.FromDatetime(value)
    return message


def duration(value: timedelta | None) -> Duration | None:
    """For the contract."""
    if value is None:
        return None
    message = Duration()
    message.FromTimedelta(value)
    return message


def moment(message: Message, field: str, path: str = "") -> datetime | None:
    """A time of a request; None when it is not set. `path` is where it stands. Raises InvalidInput."""
    if not message.HasField(field):
        return None
    try:
        found: datetime = getattr(message, field).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput([Violation(path or field, "is no time that a calendar holds", "RANGE")]) from error
    return found


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
