"""Moments, durations and absent fields of messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def duration(value: timedelta) -> Duration:
    """For the contract."""
    message = Duration()
    message.FromTimedelta(value)
    return message


def timestamp(value: datetime | None) -> Timestamp | None:
    """For the contract."""
    if value is None:
        return None
    message = Timestamp()
    message.FromDatetime(value)
    return message


def time_of(message: Message, field: str) -> datetime | None:
    """A moment in a field; None when it is not set."""
    return getattr(message, field).ToDatetime(tzinfo=UTC) if message.HasField(field) else None


def duration_of(message: Message, field: str, default: timedelta) -> timedelta:
    """A duration in a field; `default` when it is not set."""
    value: timedelta = getattr(message, field).ToTimedelta() if message.HasField(field) else default
    return value


def given(message: Message, field: str, default: Any) -> Any:
    """What a field with presence holds; `default` when it is not set."""
    return getattr(message, field) if message.HasField(field) else default
