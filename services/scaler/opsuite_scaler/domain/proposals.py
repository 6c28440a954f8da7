"""What one metric wants: the ways from a reading to a number of replicas."""

from __future__ import annotations

from typing import NamedTuple

from opsuite_scaler.domain.decision import Inputs
from opsuite_scaler.domain.draft import Draft
from opsuite_scaler.domain.policy import SCALE_DOWN_RULES, SCALE_UP_RULES


class Proposal(NamedTuple):
    """A number of replicas and why."""

    replicas: int
    reason: str
    message: str
    inputs: Inputs
    value: float
    """What the metric said, as formulas and activation see it."""


class MetricFailed(Exception):
    """A metric says nothing this time; the text says why."""


class Tolerance(NamedTuple):
    """How far a ratio may be from 1 before anything changes; both ends belong to it."""

    down: float
    up: float

    def holds(self, ratio: float) -> bool:
        """Whether a ratio is close enough to 1."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


def tolerance_of(draft: Draft) -> Tolerance:
    """The policy's tolerance, widened for small sizes where it asks for that."""
    behavior = draft.policy.behavior
    up = (behavior.scale_up if behavior else SCALE_UP_RULES).tolerance
    down = (behavior.scale_down if behavior else SCALE_DOWN_RULES).tolerance
    if draft.policy.flaps.adaptive_dead_band and draft.current > 0:
        least = 1 / (2 * draft.current)
        return Tolerance(max(down, least), max(up, least))
    return Tolerance(down, up)


def reason_for(replicas: int, current: int) -> str:
    """Why a metric proposes what it proposes, in a word."""
    if replicas == current:
        return "MatchesSize"
    return "AboveTarget" if replicas > current else "BelowTarget"
