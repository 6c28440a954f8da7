"""What servicers take from a request: which policy a name means, a time, how long a page is."""

from __future__ import annotations

from datetime import datetime

import grpc
from google.protobuf.message import Message

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_scaler.adapters.policy_names import POLICIES, POOLS
from opsuite_scaler.adapters.values import time_of

Context = grpc.aio.ServicerContext


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
