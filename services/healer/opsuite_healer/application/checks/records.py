"""Checks as they are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from opsuite_healer.domain.checks.check import CheckSpec
from opsuite_healer.domain.checks.subject import Subject


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """A check, and what only its row knows."""

    spec: CheckSpec
    document: bytes
    """The message of the contract, as it was given."""
    number: int
    """Changes with every change; the etag."""
    created_at: datetime
    updated_at: datetime
    created_by: str
    revision: int = 0
    """Number of its last event."""
    changed: int = 0
    """Grows when anybody but its attendant changes what it counts."""
    grace_until: datetime | None = None
    """Bad answers before do not count, whatever they are about."""

    @property
    def etag(self) -> str:
        """As callers see it."""
        return str(self.number)


class EventKind(Enum):
    """What can happen to a check."""

    CREATED = 1
    UPDATED = 2
    DELETED = 3
    OUTCOME_CHANGED = 4
    FLAPPING_STARTED = 5
    FLAPPING_STOPPED = 6
    SUBJECT_GONE = 7
    RESET = 8


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that happened."""

    kind: EventKind
    subject: Subject | None = None
    """What it happened to; None: the check as a whole."""
    message: str = ""
