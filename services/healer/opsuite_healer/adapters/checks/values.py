"""Moments, durations, outcomes and absent fields of messages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from opsuite.healer.v1 import check_pb2 as pb
from opsuite_probes.port import Outcome

OUTCOMES: Final = {
    Outcome.HEALTHY: pb.HEALTH_OUTCOME_HEALTHY,
    Outcome.UNHEALTHY: pb.HEALTH_OUTCOME_UNHEALTHY,
    Outcome.UNKNOWN: pb.HEALTH_OUTCOME_UNKNOWN,
}
OUTCOMES_OF: Final = {number: outcome for outcome, number in OUTCOMES.items()}


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


def given(message: Message, field: str, default: Any) -> Any:
    """What a field with presence holds; `default` when it is not set."""
    return getattr(message, field) if message.HasField(field) else default


def page_size(asked: int, *, default: int = 50, largest: int = 1000) -> int:
    """Rows of a page: the default for 0, never more than the largest."""
    return min(asked or default, largest)
