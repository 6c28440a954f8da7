"""What a rollout will take, told before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from opsuite_deployer.domain.rollout_words import RolloutPlan


@dataclass(frozen=True, slots=True)
class Explanation:
    """What to expect of a rollout."""

    steps: tuple[str, ...]
    """What is done in order, for people."""
    least_to_promote: timedelta
    """Shortest time until the new version has all requests; starting of replicas not counted."""
    waits_for_person: bool
    """Whether it cannot end without one."""
    most_to_roll_back: timedelta
    """Longest time from a failure of the new version until the old one has all requests, edges and platform willing."""


def explain(plan: RolloutPlan) -> Explanation:
    """What to expect of `plan`."""
    raise NotImplementedError
