"""What every kind of metric source does, and the few forms that its answers have. An error is never zero."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from opsuite_scaler.domain.policy import MetricKind, MetricSpec, TargetRef
from opsuite_scaler.domain.snapshot import Member, Reading, SampleKind

BY_MEMBER = frozenset({MetricKind.RESOURCE, MetricKind.PODS})
"""Kinds of metric with a sample for each member."""


class MetricSource(Protocol):
    """Something that can be asked for numbers."""

    @property
    def kind(self) -> str:
        """What it is: "prometheus"."""

    @property
    def description(self) -> str:
        """What its queries look like, for people."""

    def problem(self, metric: MetricSpec) -> str:
        """What is wrong with the query of a metric, without asking; empty when nothing is."""

    async def read(self, ref: TargetRef, metric: MetricSpec, members: Sequence[Member], now: datetime) -> Reading:
        """What the metric says now. Raises: any OpsuiteError, TimeoutError; whoever asks makes an ERROR of them.

        Takes as long as it takes: whoever asks sets the limit.
        """

    async def close(self) -> None:
        """Let go of connections; no call may be under way."""


def a_value(total: float, at: datetime) -> Reading:
    """One number. What is not a number is none, and what has no end is no answer."""
    if math.isnan(total):
        return missing("it answered NaN")
    if math.isinf(total):
        return failed("it answered an infinite number")
    return Reading(SampleKind.VALUE, total=total, at=at)


def values(by_member: Mapping[str, float], at: datetime, window: timedelta = timedelta(0)) -> Reading:
    """A number for each member that has one; NaN is none."""
    known = {name: number for name, number in by_member.items() if not math.isnan(number)}
    if any(math.isinf(number) for number in known.values()):
        return failed("it answered an infinite number")
    if not known:
        return missing("it has no sample of any member")
    return Reading(SampleKind.VALUE, total=sum(known.values()), by_member=known, at=at, window=window)


def missing(why: str) -> Reading:
    """The source answered and has no such thing."""
    return Reading(SampleKind.MISSING, message=why)


def failed(why: str) -> Reading:
    """The source did not answer, or not with a number."""
    return Reading(SampleKind.ERROR, message=why)
