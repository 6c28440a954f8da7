"""What a series of answers means: a verdict changes only after enough answers in a row. Pure.

    verdict      answers in a row                    becomes
    None         `success` healthy                   HEALTHY
    None         `failure` unhealthy                 UNHEALTHY
    HEALTHY      `failure` unhealthy                 UNHEALTHY
    UNHEALTHY    `success` healthy                   HEALTHY

UNKNOWN says nothing about the target: it neither counts nor breaks a row, so it never triggers anything by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from opsuite_probes.port import Outcome


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Answers in a row that decide, both at least 1."""

    success: int = 1
    failure: int = 3

    def __post_init__(self) -> None:
        if self.success < 1 or self.failure < 1:
            raise ValueError(f"thresholds are at least 1, not {self.success} and {self.failure}")


@dataclass(frozen=True, slots=True)
class HealthState:
    """What is known of a target after the answers so far."""

    verdict: Outcome | None = None
    """HEALTHY, UNHEALTHY, or None while too little is known; never UNKNOWN."""
    successes: int = 0
    """Healthy answers in a row, up to now."""
    failures: int = 0
    """Unhealthy answers in a row, up to now."""


def follow(state: HealthState, outcome: Outcome, thresholds: Thresholds) -> HealthState:
    """The state after one more answer."""
    if outcome is Outcome.HEALTHY:
        counted = replace(state, successes=state.successes + 1, failures=0)
        return replace(counted, verdict=Outcome.HEALTHY) if counted.successes >= thresholds.success else counted
    if outcome is Outcome.UNHEALTHY:
        counted = replace(state, successes=0, failures=state.failures + 1)
        return replace(counted, verdict=Outcome.UNHEALTHY) if counted.failures >= thresholds.failure else counted
    return state
