"""Whether a check changes too often to be believed: the weighted share of changes among its last answers. Pure.

Nagios' formula (Nagios Core, "Detection and Handling of State Flapping"): of the last 21 answers there are 20 pairs of
neighbours; each pair that differs counts, the oldest 0.75, the newest 1.25, evenly between, so that all of them
together make 100 percent. It flaps from `high` on and until `low`; between the two it stays as it is.

What counts: every good answer, and a bad one once the verdict is bad. Bad answers on the way to their threshold say
nothing yet, and UNKNOWN says nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from opsuite_probes.hysteresis import HealthState, Thresholds, follow
from opsuite_probes.port import Outcome

ANSWERS: Final = 21
PAIRS: Final = ANSWERS - 1
OLDEST_WEIGHT: Final = 0.75
NEWEST_WEIGHT: Final = 1.25
WEIGHTS: Final = tuple(OLDEST_WEIGHT + (NEWEST_WEIGHT - OLDEST_WEIGHT) * pair / (PAIRS - 1) for pair in range(PAIRS))


@dataclass(frozen=True, slots=True)
class FlapLevels:
    """Percent at which flapping begins and ends."""

    high: float = 30.0
    low: float = 20.0


@dataclass(frozen=True, slots=True)
class FlapState:
    """The answers that count, and what is made of them."""

    history: tuple[bool, ...] = ()
    """The oldest first, at most 21; True is good. Of equal ones at its beginning one is kept: they are no changes."""
    is_flapping: bool = False

    @property
    def percent(self) -> float:
        """Weighted share of changes, 0 to 100. Answers that there have not been yet are no changes."""
        changes = [older != newer for older, newer in pairwise(self.history)]
        weights = WEIGHTS[PAIRS - len(changes) :]
        return sum(weight for weight, is_change in zip(weights, changes, strict=True) if is_change) * 100 / PAIRS


def counts(outcome: Outcome, verdict: Outcome | None) -> bool:
    """Whether an answer counts, given the verdict after it."""
    return outcome is Outcome.HEALTHY or (outcome is Outcome.UNHEALTHY and verdict is Outcome.UNHEALTHY)


def record(state: FlapState, *, is_good: bool, levels: FlapLevels | None) -> FlapState:
    """The state after one more answer that counts; without levels it never flaps."""
    seen = FlapState(_shortened((*state.history, is_good)[-ANSWERS:]), state.is_flapping)
    if levels is None:
        return FlapState(seen.history)
    percent = seen.percent
    if percent >= levels.high:
        return FlapState(seen.history, is_flapping=True)
    return FlapState(seen.history, is_flapping=seen.is_flapping and percent > levels.low)


def _shortened(history: tuple[bool, ...]) -> tuple[bool, ...]:
    """Without what comes before the last of the equal ones at the beginning: one more of the same changes nothing."""
    start = next((index for index, one in enumerate(history) if one != history[0]), len(history)) - 1
    return history[start:]


@dataclass(frozen=True, slots=True)
class FlapStep:
    """A check after one of a series of answers."""

    health: HealthState
    counts: bool
    flap: FlapState


def evaluate(answers: Iterable[Outcome], thresholds: Thresholds, levels: FlapLevels | None) -> Sequence[FlapStep]:
    """What a series of answers makes of a check that knows nothing yet, after each."""
    health, flap, steps = HealthState(), FlapState(), list[FlapStep]()
    for outcome in answers:
        health = follow(health, outcome, thresholds)
        is_counted = counts(outcome, health.verdict)
        if is_counted:
            flap = record(flap, is_good=outcome is Outcome.HEALTHY, levels=levels)
        steps.append(FlapStep(health, is_counted, flap))
    return steps
