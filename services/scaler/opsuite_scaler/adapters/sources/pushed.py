"""Metrics that somebody hands in (PutMetricData): the last point of each series, as the database keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from opsuite_scaler.adapters.sources.source import BY_MEMBER, a_value, failed, missing, values
from opsuite_scaler.domain.policy import MetricSpec, TargetRef
from opsuite_scaler.domain.snapshot import Member, Reading


@dataclass(frozen=True, slots=True)
class Point:
    """One number of one series."""

    member: str
    """Empty: the number is of no member in particular."""
    value: float
    at: datetime


class PushedMetrics(Protocol):
    """Keeps what was handed in."""

    async def latest(self, metric: str) -> Sequence[Point]:
        """The last point of each series of a metric; none of one that was never handed in."""


class PushedSource:
    """Fits `sources.source.MetricSource`."""

    kind = "push"
    description = "the name under which the metric is handed in by PutMetricData"

    def __init__(self, metrics: PushedMetrics) -> None:
        self._metrics = metrics

    async def close(self) -> None:
        """Nothing is held."""

    def problem(self, metric: MetricSpec) -> str:
        """Whether there is a name."""
        return "" if metric.query else "the name of a metric is missing"

    async def read(self, ref: TargetRef, metric: MetricSpec, members: Sequence[Member], now: datetime) -> Reading:
        """The number, or for metrics by member those of them that are not too old."""
        points = await self._metrics.latest(metric.query)
        if metric.kind in BY_MEMBER:
            return _by_member([point for point in points if point.member], metric, now)
        whole = [point for point in points if not point.member]
        if not whole:
            return missing(f"{metric.query} was never handed in")
        return a_value(whole[0].value, whole[0].at) if len(whole) == 1 else failed(f"{metric.query} has two values")


def _by_member(points: Sequence[Point], metric: MetricSpec, now: datetime) -> Reading:
    """One member that stopped telling does not make the others stale: it is missing, and they count."""
    if not points:
        return missing(f"{metric.query} was handed in for no member")
    fresh = [point for point in points if now - point.at <= metric.stale_after] or points
    return values({point.member: point.value for point in fresh}, min(point.at for point in fresh))
