"""When to ask next, and when the answer stands. Pure: the caller passes the time in and does the asking.

    began ── initial_delay ──▶ first try ── interval ──▶ second try ── … ──▶ verdict, or the deadline

Tries start `interval` apart; one that takes longer is followed by the next at once, so that two never overlap. A check
is decided by the first verdict of its thresholds, or by its deadline.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from opsuite_probes.hysteresis import HealthState, Thresholds, follow
from opsuite_probes.port import Outcome, ProbeResult


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """How often a check is asked and what decides it; the defaults are those of `opsuite.common.v1.HealthCheck`."""

    initial_delay: timedelta = timedelta()
    interval: timedelta = timedelta(seconds=1)
    """Time between the starts of two tries."""
    timeout: timedelta = timedelta(seconds=5)
    """Longest time of one try."""
    deadline: timedelta = timedelta(seconds=60)
    """Time from the first try after which an undecided check counts as unhealthy."""
    thresholds: Thresholds = field(default_factory=Thresholds)

    def __post_init__(self) -> None:
        if self.initial_delay < timedelta():
            raise ValueError("initial_delay is negative")
        if min(self.interval, self.timeout, self.deadline) <= timedelta():
            raise ValueError("interval, timeout and deadline are longer than nothing")


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """How far one check has come."""

    began_at: datetime
    """When the initial delay began. A pause is left out by moving this and `asked_at` on by its length."""
    asked_at: datetime | None = None
    """Start of the last try."""
    health: HealthState = field(default_factory=HealthState)
    last: ProbeResult | None = None
    """Answer of the last try."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask now, and wait for the answer no longer than `timeout`."""

    timeout: timedelta


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until`."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Decided:
    """The check is over."""

    outcome: Outcome
    """HEALTHY or UNHEALTHY."""
    message: str
    """Why, for people."""


Step = Ask | Wait | Decided


def next_step(plan: CheckPlan, progress: CheckProgress, now: datetime) -> Step:
    """The one thing to do next for a check of which no try is under way."""
    if verdict := progress.health.verdict:
        return Decided(verdict, _explain(plan, progress))
    first_try = progress.began_at + plan.initial_delay
    deadline = first_try + plan.deadline
    if now >= deadline:
        return Decided(Outcome.UNHEALTHY, f"undecided after {_seconds(plan.deadline)}; {_last_answer(progress)}")
    due = first_try if progress.asked_at is None else progress.asked_at + plan.interval
    if now < due:
        return Wait(until=min(due, deadline))
    return Ask(timeout=min(plan.timeout, deadline - now))


def record(plan: CheckPlan, progress: CheckProgress, asked_at: datetime, result: ProbeResult) -> CheckProgress:
    """The progress after the try that started at `asked_at` and was answered with `result`."""
    health = follow(progress.health, result.outcome, plan.thresholds)
    return replace(progress, asked_at=asked_at, health=health, last=result)


def _explain(plan: CheckPlan, progress: CheckProgress) -> str:
    """`3 failures in a row; last answer: HTTP 503, expected 200`."""
    if progress.health.verdict is Outcome.HEALTHY:
        row = f"{plan.thresholds.success} {'success' if plan.thresholds.success == 1 else 'successes in a row'}"
    else:
        row = f"{plan.thresholds.failure} {'failure' if plan.thresholds.failure == 1 else 'failures in a row'}"
    return f"{row}; {_last_answer(progress)}"


def _last_answer(progress: CheckProgress) -> str:
    return f"last answer: {progress.last.message}" if progress.last else "never answered"


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():g} s"
