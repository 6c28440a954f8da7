"""What runbooks need: rows, conditions, leases, spans."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

from opsuite_healer.application.incident_book import IncidentBook
from opsuite_healer.application.runbooks.records import ExecutionRecord, Happened, RunbookRecord
from opsuite_healer.application.unit import Unit
from opsuite_healer.domain.runbooks.execution import Execution, StepRun
from opsuite_runs.port import Lease

PART: Final = "runbooks"
"""Who is nudged about executions."""


class Tx(Unit, Protocol):
    """One transaction over runbooks."""

    @property
    def book(self) -> IncidentBook:
        """Incidents, in this transaction."""

    def runbook(self, runbook: str) -> RunbookRecord | None:
        """A runbook by its id."""

    def lock_runbook(self, runbook: str) -> RunbookRecord | None:
        """The same, and nobody else changes it before this transaction ends."""

    def add_runbook(self, record: RunbookRecord) -> None:
        """Record a new runbook. Raises RunbookExists."""

    def put_runbook(self, record: RunbookRecord) -> None:
        """Record a change of a runbook."""

    def delete_runbook(self, runbook: str) -> None:
        """Forget a runbook."""

    def execution(self, execution: str) -> ExecutionRecord | None:
        """An execution by its id."""

    def lock(self, execution: str) -> ExecutionRecord | None:
        """The same, and nobody else changes it before this transaction ends."""

    def lock_mine(self, lease: Lease) -> ExecutionRecord:
        """The same for the owner of a lease. Raises FencedOut."""

    def of_key(self, key: str) -> ExecutionRecord | None:
        """The execution that was begun with a key."""

    def begun_by(self, actor: str) -> Sequence[ExecutionRecord]:
        """Executions that are not over and were begun by an actor, locked."""

    def add_execution(self, execution: Execution) -> ExecutionRecord | None:
        """Record a new execution and its first event; None if its key was taken at this moment."""

    def put_execution(self, record: ExecutionRecord, happened: Sequence[Happened]) -> ExecutionRecord:
        """Record a change of a locked execution, and an event for each thing that happened."""


class HeldLeases(Protocol):
    """Leases of this process."""

    def may_act(self, run: str) -> bool:
        """Whether nobody else can own the run now."""


class Watcher(Protocol):
    """Makes spans of steps."""

    def acting(self, execution: Execution, run: StepRun) -> AbstractContextManager[str]:
        """Around one try of an action; what it gives is the trace context of the span."""

    def ended(self, execution: Execution, run: StepRun) -> None:
        """A run has ended that took no action: it was skipped, or a person was asked."""

    def over(self, execution: Execution) -> None:
        """An execution has ended."""
