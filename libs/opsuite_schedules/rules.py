"""Whether something may happen now, by windows that allow and windows that deny. Pure.

No rule: allowed. Any allow rule: only inside one of them. Inside any deny rule: denied, whatever allows it. A freeze is
a deny rule without a window: it holds until somebody takes it away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from opsuite_schedules.windows import Window

_HORIZON: Final = 1000
"""Windows looked at in search of the next moment that is allowed."""


class Effect(Enum):
    """What a rule does inside its window."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Rule:
    """One window and what it does."""

    name: str
    effect: Effect
    window: Window | None = None
    """None means at all times."""

    def is_active(self, instant: datetime) -> bool:
        """Whether its window is open."""
        return self.window is None or self.window.contains(instant)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the rules say about one moment."""

    is_allowed: bool
    reason: str
    """Why, for people, naming the rule: `denied by friday`."""
    allowed_from: datetime | None
    """The earliest moment from then on that is allowed; None when there is none in sight."""


def decide(rules: Sequence[Rule], now: datetime) -> Ruling:
    """Whether it may happen at `now` (aware)."""
    is_allowed, reason = _judge(rules, now)
    return Ruling(is_allowed, reason, now if is_allowed else _next_allowed(rules, now))


def _judge(rules: Sequence[Rule], instant: datetime) -> tuple[bool, str]:
    if denying := [rule.name for rule in _denying(rules, instant)]:
        return False, f"denied by {', '.join(denying)}"
    allow = [rule for rule in rules if rule.effect is Effect.ALLOW]
    if not allow:
        return True, "no rule denies it"
    if active := [rule.name for rule in allow if rule.is_active(instant)]:
        return True, f"allowed by {', '.join(active)}"
    return False, f"outside of {', '.join(rule.name for rule in allow)}"


def _next_allowed(rules: Sequence[Rule], now: datetime) -> datetime | None:
    """Goes from obstacle to obstacle: to the end of what denies, then to the opening of what allows."""
    moment = now
    for _ in range(_HORIZON):
        if _judge(rules, moment)[0]:
            return moment
        later = _after_obstacle(rules, moment)
        if later is None:
            return None
        moment = later
    return None


def _after_obstacle(rules: Sequence[Rule], instant: datetime) -> datetime | None:
    if denying := _denying(rules, instant):
        ends = [rule.window.next_closing(instant) if rule.window else None for rule in denying]
        return None if None in ends else max(end for end in ends if end is not None)
    return min(rule.window.next_opening(instant) for rule in rules if rule.effect is Effect.ALLOW and rule.window)


def _denying(rules: Sequence[Rule], instant: datetime) -> list[Rule]:
    return [rule for rule in rules if rule.effect is Effect.DENY and rule.is_active(instant)]
