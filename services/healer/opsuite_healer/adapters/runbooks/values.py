"""Moments and durations of messages."""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(value: datetime | None) -> Timestamp | None:
    """For the contract."""
    if value is None:
        return None
    message = Timestamp()
    message.FromDatetime(value)
    return message


def duration(value: timedelta) -> Duration:
    """For the contract."""
    message = Duration()
    message.FromTimedelta(value)
    return message


def duration_of(message: Message, field: str, default: timedelta) -> timedelta:
    """A duration in a field; `default` when it is not set."""
    value: timedelta = getattr(message, field).ToTimedelta() if message.HasField(field) else default
    return value
