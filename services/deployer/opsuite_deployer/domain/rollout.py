"""What a rollout wants next: one pure function from what is remembered and seen to what is wanted.

The caller looks at the world, calls `decide`, records the state and the events in one transaction, makes `Want` true
by calls that are safe to repeat, and looks again: when something changes, or at `wake_at`. Nothing is done once, so
whoever takes over after a crash has only to look and ask.
"""

from __future__ import annotations

from datetime import datetime

from opsuite_deployer.domain.rollout_state import RolloutState
from opsuite_deployer.domain.rollout_words import Decision, RolloutPlan, Seen


def decide(plan: RolloutPlan, state: RolloutState, seen: Seen, now: datetime) -> Decision:
    """Return what follows for a rollout from what is `seen` (`now` is aware, UTC). An ended one stays as it is."""
    raise NotImplementedError
