"""What a person may wish of a rollout, and what follows from it."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from opsuite_deployer.domain.rollout_state import RolloutState
from opsuite_deployer.domain.rollout_words import RolloutPlan
from opsuite_kernel.errors import Conflict


class RolloutVerb(Enum):
    """What may be wished."""

    PROMOTE_NEXT_STEP = "promote_next_step"
    """The pause that it is in ends; what was inconclusive is asked again."""
    PROMOTE_SKIP_STEP = "promote_skip_step"
    """The present step counts as done."""
    PROMOTE_FULL = "promote_full"
    """All steps, pauses and gates that are left count as done."""
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    """An aborted one begins again with its first step."""
    RESTART = "restart"
    """One under way begins again with its first step."""


class RolloutRefused(Conflict):
    """The rollout stands where the wish makes no sense; its message says where: "0/2 healthy"."""

    reason = "ROLLOUT_REFUSED"


def wish(plan: RolloutPlan, state: RolloutState, verb: RolloutVerb, now: datetime, *, by: str = "") -> RolloutState:
    """Return the state after a wish. Raises RolloutRefused, and then nothing has changed.

    A wish that is already granted changes nothing. Once an abort is recorded every promotion is refused.
    """
    raise NotImplementedError
