"""What is known of one thing that a check covers, and what one more answer makes of it. Pure.

    answer ── levels, grace ──▶ outcome ── thresholds ──▶ verdict ── flapping ──▶ what is told

The target itself is a subject, or each of its replicas. What is told is trouble that began, goes on or is over; while a
subject flaps that is all that is told of it. Told trouble stays told while nobody knows better: until there is a
verdict again after somebody acted, and while the target cannot be asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from opsuite_healer.domain.checks.answers import Answer
from opsuite_healer.domain.checks.check import FLAPPING, RESTART_LOOP, UNHEALTHY, CheckSpec, StateProbe
from opsuite_healer.domain.checks.flapping import FlapState, counts, record
from opsuite_healer.domain.checks.replicas import RestartHistory, seen_restarts
from opsuite_probes.hysteresis import HealthState, Thresholds, follow
from opsuite_probes.port import Outcome

TELL_AGAIN_AFTER: Final = timedelta(seconds=60)
"""Trouble that goes on is told again, as Prometheus does: what nobody tells of any more may be taken for over."""


@dataclass(frozen=True, slots=True)
class Told:
    """Trouble that was told and still goes on."""

    issue: str
    at: datetime
    """When it was told last."""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known of one thing."""

    replica: str
    """Name of the replica; empty: the target itself."""
    first_seen_at: datetime
    health: HealthState = field(default_factory=HealthState)
    """Rows of answers are counted up to their thresholds only."""
    since: datetime | None = None
    """When the verdict became what it is; None without one."""
    flap: FlapState = field(default_factory=FlapState)
    flapping_since: datetime | None = None
    suppressed: int = 0
    """Changes of the verdict that were not told because it flaps."""
    told: Told | None = None
    proven_start: datetime | None = None
    """Start of the life that has answered well: its grace is over."""
    grace_until: datetime | None = None
    """Bad answers before do not count, since somebody did something to the target."""
    owes_answer: bool = False
    """It had a verdict before somebody acted, and has none since."""
    restarts: RestartHistory = field(default_factory=RestartHistory)
    last: Answer | None = field(default=None, compare=False)

    @property
    def outcome(self) -> Outcome:
        """What is known of it."""
        return self.health.verdict or Outcome.UNKNOWN


class Change(Enum):
    """What can happen to a subject."""

    OUTCOME_CHANGED = "outcome_changed"
    FLAPPING_STARTED = "flapping_started"
    FLAPPING_STOPPED = "flapping_stopped"


@dataclass(frozen=True, slots=True)
class Begun:
    """There is trouble, or it goes on."""

    issue: str


@dataclass(frozen=True, slots=True)
class Over:
    """Trouble is over."""

    issue: str
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """What one answer has made of a subject."""

    subject: Subject
    """`told` is still that of before: whoever tells writes it down (`told_now`)."""
    changes: tuple[Change, ...] = ()
    tellings: tuple[Begun | Over, ...] = ()


def answered(spec: CheckSpec, before: Subject, answer: Answer, now: datetime) -> Step:
    """The subject after one more answer."""
    seen = _with_restarts(spec, before, answer)
    answer = judged(spec, seen, answer, now)
    health = _saturated(follow(seen.health, answer.outcome, spec.thresholds), spec.thresholds)
    flap = seen.flap
    if counts(answer.outcome, health.verdict):
        flap = record(flap, is_good=answer.outcome is Outcome.HEALTHY, levels=spec.flapping)
    has_changed = health.verdict is not before.health.verdict
    after = replace(
        seen,
        health=health,
        since=now if has_changed else seen.since,
        flap=flap,
        flapping_since=(seen.flapping_since or now) if flap.is_flapping else None,
        suppressed=seen.suppressed + has_changed if flap.is_flapping and before.flap.is_flapping else 0,
        proven_start=_proven(seen, answer),
        owes_answer=seen.owes_answer and health.verdict is None,
        last=answer,
    )
    return Step(after, tuple(_changes(before, after)), tuple(tellings(spec, after, now)))


def judged(spec: CheckSpec, subject: Subject, answer: Answer, now: datetime) -> Answer:
    """The answer with what levels, restarts and grace make of it."""
    if answer.value is not None and spec.levels is not None and answer.outcome is Outcome.HEALTHY:
        if spec.levels.is_bad(answer.value, was_bad=subject.health.verdict is Outcome.UNHEALTHY):
            answer = replace(answer, outcome=Outcome.UNHEALTHY)
        else:
            answer = replace(answer, issue="")
    if answer.outcome is Outcome.HEALTHY and (why := _loops(spec, subject, now)):
        answer = replace(answer, outcome=Outcome.UNHEALTHY, message=why, issue=RESTART_LOOP, is_crash=True)
    if answer.outcome is Outcome.UNHEALTHY and in_grace(spec, subject, answer, now):
        answer = replace(answer, outcome=Outcome.UNKNOWN, message=f"does not count yet: {answer.message}")
    return answer


def in_grace(spec: CheckSpec, subject: Subject, answer: Answer, now: datetime) -> bool:
    """Whether a bad answer does not count: something was done a moment ago, or the replica has just started."""
    if subject.grace_until is not None and now < subject.grace_until:
        return True
    if answer.is_crash or not spec.covers_replicas or not subject.replica:
        return False
    start = answer.started_at or subject.first_seen_at
    return subject.proven_start != start and now < start + spec.startup_grace


def tellings(spec: CheckSpec, subject: Subject, now: datetime) -> Sequence[Begun | Over]:
    """What is to be told of a subject as it stands."""
    told, wanted = subject.told, issue_of(spec, subject)
    if told is not None and wanted == told.issue:
        return [Begun(wanted)] if now >= told.at + TELL_AGAIN_AFTER else []
    over = [Over(told.issue, _why_over(subject, wanted))] if told is not None else []
    return [*over, Begun(wanted)] if wanted else over


def issue_of(spec: CheckSpec, subject: Subject) -> str:
    """The trouble that a subject is in; empty for none. It stays as it was told until there is a verdict."""
    if subject.flap.is_flapping:
        return FLAPPING
    match subject.health.verdict:
        case Outcome.HEALTHY:
            return ""
        case Outcome.UNHEALTHY if subject.last is not None and subject.last.outcome is Outcome.UNHEALTHY:
            return spec.issue or subject.last.issue or UNHEALTHY
        case Outcome.UNHEALTHY if subject.told is None or subject.told.issue == FLAPPING:
            return spec.issue or UNHEALTHY
        case _:
            return subject.told.issue if subject.told else ""


def told_now(subject: Subject, telling: Begun | Over, now: datetime, traceparent: str = "") -> Subject:
    """The subject after something was told of it."""
    if isinstance(telling, Over):
        return replace(subject, told=None)
    earlier = subject.told.traceparent if subject.told else ""
    return replace(subject, told=Told(telling.issue, now, earlier or traceparent))


def acted_on(subject: Subject, until: datetime) -> Subject:
    """The subject after something was done to it: all is counted from nothing, and bad answers before `until` are not.

    What was told stays told until there is a verdict again; what was seen of flapping stays.
    """
    return replace(
        subject,
        health=HealthState(),
        since=None,
        grace_until=until,
        owes_answer=subject.health.verdict is not None or subject.owes_answer,
        restarts=RestartHistory(),
        proven_start=None,
    )


def _with_restarts(spec: CheckSpec, subject: Subject, answer: Answer) -> Subject:
    if not isinstance(spec.question, StateProbe):
        return subject
    return replace(subject, restarts=seen_restarts(subject.restarts, answer, spec.question.restart_limit))


def _loops(spec: CheckSpec, subject: Subject, now: datetime) -> str:
    """Why a replica that runs does so in vain; empty if it does not."""
    if not isinstance(spec.question, StateProbe):
        return ""
    limit, window = spec.question.restart_limit, spec.question.restart_window
    recent = [time for time in subject.restarts.times if time > now - window]
    if len(recent) < limit:
        return ""
    return f"was started again {len(recent)} times within {window.total_seconds() / 60:g} min"


def _saturated(health: HealthState, thresholds: Thresholds) -> HealthState:
    """More answers in a row than are asked for change nothing, and need not be written down."""
    return replace(
        health,
        successes=min(health.successes, thresholds.success),
        failures=min(health.failures, thresholds.failure),
    )


def _proven(subject: Subject, answer: Answer) -> datetime | None:
    if answer.outcome is not Outcome.HEALTHY:
        return subject.proven_start
    return answer.started_at or subject.first_seen_at


def _changes(before: Subject, after: Subject) -> Sequence[Change]:
    found = []
    if before.health.verdict is not after.health.verdict:
        found.append(Change.OUTCOME_CHANGED)
    if after.flap.is_flapping and not before.flap.is_flapping:
        found.append(Change.FLAPPING_STARTED)
    if before.flap.is_flapping and not after.flap.is_flapping:
        found.append(Change.FLAPPING_STOPPED)
    return found


def _why_over(subject: Subject, wanted: str) -> str:
    said = subject.last.message if subject.last else "nothing was said"
    if wanted == FLAPPING:
        return "it flaps, which is told instead"
    if wanted:
        return f"it is {wanted} now: {said}"
    return f"healthy again: {said}" if subject.outcome is Outcome.HEALTHY else f"no verdict any more: {said}"
