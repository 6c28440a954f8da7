"""The moments at which hooks run."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple


class Moment(Enum):
    """Which side of a phase."""

    BEFORE = "before"
    AFTER = "after"


class Phase(Enum):
    """What hooks run before or after; the words are those of the contract."""

    DEPLOYMENT = "DEPLOYMENT"
    STAGE = "STAGE"
    TRAFFIC = "TRAFFIC"
    INCREASE = "INCREASE"
    PROMOTION = "PROMOTION"
    ROLLBACK = "ROLLBACK"
    FAILURE = "FAILURE"


class HookPoint(NamedTuple):
    """One side of one phase."""

    moment: Moment
    phase: Phase


BEFORE_TRAFFIC: Final = HookPoint(Moment.BEFORE, Phase.TRAFFIC)
BEFORE_INCREASE: Final = HookPoint(Moment.BEFORE, Phase.INCREASE)
BEFORE_PROMOTION: Final = HookPoint(Moment.BEFORE, Phase.PROMOTION)
AFTER_PROMOTION: Final = HookPoint(Moment.AFTER, Phase.PROMOTION)
OF_ROLLOUTS: Final = (BEFORE_TRAFFIC, BEFORE_INCREASE, BEFORE_PROMOTION, AFTER_PROMOTION)
"""Points that a rollout comes to while it runs."""
ON_WAYS_BACK: Final = frozenset({Phase.ROLLBACK, Phase.FAILURE})
"""Phases whose hooks cannot stop anything."""


def moment_name(point: HookPoint, *names: str) -> str:
    """The name of the hooks of one moment: `before:DEPLOYMENT`, `before:web`, `after:PROMOTION:web:shop`.

    No stage is called so, since names of stages are DNS labels.
    """
    phase = () if point.phase is Phase.STAGE else (point.phase.value,)
    return ":".join((point.moment.value, *phase, *names))
