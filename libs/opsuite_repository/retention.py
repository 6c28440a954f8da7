"""Which snapshots a policy keeps: restic's rules, in its words, over a list that somebody else made. Pure.

Source: restic's internal/data/snapshot_policy.go. Snapshots are looked at from the newest to the oldest. A rule that
keeps `n` daily ones keeps the newest of each day on which there is one, for `n` days; while it has days left it keeps
the oldest snapshot of all too, so that the history reaches back as far as it can. What is kept `within` a span is
counted from the newest snapshot that is not in the future, not from now: a host that is switched off loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Final, NamedTuple

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_repository import periods
from opsuite_repository.choosing import Saved, has_tags, newest_first
from opsuite_repository.format.times import Instant, from_datetime
from opsuite_repository.periods import NO_SPAN, Span

UNLIMITED: Final = -1
"""As a number of snapshots to keep: all of them."""
_YEAR_1: Final = Instant(-62_135_596_800 * 1_000_000_000)  # Go's zero time, for a list that is all in the future


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What to keep. A snapshot is kept when any of the rules wants it. Raises InvalidInput for numbers below -1."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: Span = NO_SPAN
    within_hourly: Span = NO_SPAN
    within_daily: Span = NO_SPAN
    within_weekly: Span = NO_SPAN
    within_monthly: Span = NO_SPAN
    within_yearly: Span = NO_SPAN
    tags: tuple[tuple[str, ...], ...] = ()
    """Keep what has all tags of one of these lists."""

    def __post_init__(self) -> None:
        wrong = [each.name for each in fields(self) if each.name in _COUNTED and getattr(self, each.name) < UNLIMITED]
        wrong += [each.name for each in fields(self) if each.name in _WITHIN and min(getattr(self, each.name)) < 0]
        if wrong:
            raise InvalidInput([Violation(f"keep_{name}", "cannot be negative", "RANGE") for name in wrong])

    def __bool__(self) -> bool:
        return self != Policy()


class Verdict(NamedTuple):
    """What becomes of a snapshot."""

    saved: Saved
    keep: bool
    reasons: tuple[str, ...]
    """Why it is kept, in restic's words; empty when it is not."""


def plan(snapshots: Iterable[Saved], policy: Policy, *, now: datetime) -> list[Verdict]:
    """What the policy means for the snapshots of one group, newest first. `now` is aware."""
    ordered = newest_first(snapshots)
    rules = _rules(policy, _reference(ordered, from_datetime(now).ns))
    verdicts = []
    for number, saved in enumerate(ordered):
        is_oldest = number == len(ordered) - 1
        reasons = tuple(reason for rule in rules for reason in rule(saved, number, is_oldest))
        verdicts.append(Verdict(saved, bool(reasons), reasons))
    return verdicts


_Rule = Callable[[Saved, int, bool], Iterator[str]]
_Period = Callable[[Instant], Hashable]
_COUNTED: Final[dict[str, _Period | None]] = {
    "last": None,  # each is a period of its own
    "hourly": periods.hour_of,
    "daily": periods.day_of,
    "weekly": periods.week_of,
    "monthly": periods.month_of,
    "yearly": periods.year_of,
}
_WITHIN: Final = ("within", *(f"within_{name}" for name in _COUNTED if name != "last"))


def _reference(ordered: list[Saved], now_ns: int) -> Instant:
    """The newest time that is not in the future."""
    return next((saved.snapshot.time for saved in ordered if saved.snapshot.time.ns < now_ns), _YEAR_1)


def _rules(policy: Policy, reference: Instant) -> list[_Rule]:
    """The rules that are in force, in the order in which restic names them."""
    rules: list[_Rule] = [_HasTags(tags) for tags in policy.tags]
    if any(policy.within):
        rules.append(_Within(policy.within, periods.before(reference, policy.within)))
    for name, period in _COUNTED.items():
        if (count := getattr(policy, name)) != 0:
            rules.append(_Newest(f"{name} snapshot", period, count))
    for name, period in _COUNTED.items():
        if period is not None and any(span := getattr(policy, f"within_{name}")):
            rules.append(_NewestWithin(f"{name} within", f" {span}", period, periods.before(reference, span)))
    return rules


@dataclass(frozen=True, slots=True)
class _HasTags:
    tags: tuple[str, ...]

    def __call__(self, saved: Saved, number: int, is_oldest: bool) -> Iterator[str]:
        if has_tags(saved.snapshot, self.tags):
            yield f"has tags [{', '.join(self.tags)}]"


@dataclass(frozen=True, slots=True)
class _Within:
    span: Span
    after_ns: int

    def __call__(self, saved: Saved, number: int, is_oldest: bool) -> Iterator[str]:
        if saved.snapshot.time.ns > self.after_ns:
            yield f"within {self.span}"


@dataclass(slots=True)
class _Newest:
    """The newest of each period, as long as some are left to keep."""

    reason: str
    period: _Period | None
    left: int
    """UNLIMITED never ends."""
    previous: Hashable = field(default=None, init=False)

    def __call__(self, saved: Saved, number: int, is_oldest: bool) -> Iterator[str]:
        if self.left == 0:
            return
        at = self.period(saved.snapshot.time) if self.period else number
        if at == self.previous and not is_oldest:
            return
        yield f"oldest {self.reason}" if at == self.previous else self.reason
        self.previous = at
        self.left -= self.left > 0


@dataclass(slots=True)
class _NewestWithin:
    """The newest of each period after a moment."""

    reason: str
    written_span: str
    period: _Period
    after_ns: int
    previous: Hashable = field(default=None, init=False)

    def __call__(self, saved: Saved, number: int, is_oldest: bool) -> Iterator[str]:
        if saved.snapshot.time.ns <= self.after_ns:
            return
        at = self.period(saved.snapshot.time)
        if at == self.previous and not is_oldest:
            return
        yield (f"oldest {self.reason}" if at == self.previous else self.reason) + self.written_span
        self.previous = at
