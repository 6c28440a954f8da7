"""One answer of one thing that a check covers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from opsuite_probes.port import Outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said once."""

    outcome: Outcome
    message: str
    """Why, for people."""
    at: datetime
    """When it was asked."""
    latency: timedelta = timedelta()
    value: float | None = None
    """The number behind it."""
    issue: str = ""
    """What is wrong in one word; empty where the outcome says it all."""
    is_crash: bool = False
    """Bad even for something that has just started."""
    started_at: datetime | None = None
    """When the replica was started, if somebody knows."""
    restarts: int | None = None
    """How often its platform has started it again; None: nobody counts."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look of a check has found."""

    answers: Mapping[str, Answer] = field(default_factory=dict)
    """By replica; the empty name is the target itself."""
    is_complete: bool = True
    """Whether what is not among them is not there any more; False where nobody could say what there is."""
    why_not: str = ""
    """Why it is not complete, for people."""
