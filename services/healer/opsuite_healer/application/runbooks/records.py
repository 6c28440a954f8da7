"""What is remembered of runbooks and their executions, and what happens to these."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from opsuite_healer.domain.runbooks.execution import Execution
from opsuite_healer.domain.runbooks.runbook import Runbook


@dataclass(frozen=True, slots=True)
class RunbookRecord:
    """A runbook as recorded."""

    runbook: Runbook
    number: int
    """Grows with every change."""
    created_at: datetime
    updated_at: datetime
    created_by: str

    @property
    def etag(self) -> str:
        """What callers name a change by."""
        return str(self.number)


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """An execution as recorded."""

    execution: Execution
    number: int
    """Grows with every change."""
    revision: int
    """Number of its last event."""

    @property
    def etag(self) -> str:
        """What callers name a change by."""
        return str(self.number)


class EventKind(Enum):
    """Kind of an event."""

    STARTED = "STARTED"
    STEP = "STEP"
    PAUSED = "PAUSED"
    RESUMED = "RESUMED"
    ANSWERED = "ANSWERED"
    CANCELLED = "CANCELLED"
    ENDED = "ENDED"


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that happened to an execution."""

    kind: EventKind
    position: int | None = None
    """Of the run that it is about; None: it is about none."""
    actor: str = ""
    """Who did it; empty: the healer."""
