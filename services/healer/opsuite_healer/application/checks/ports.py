"""What the part `checks` needs from the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from opsuite_healer.application.checks.records import CheckRecord, Happened
from opsuite_healer.application.troubles import Troubles
from opsuite_healer.application.unit import Unit
from opsuite_healer.domain.checks.answers import Sight
from opsuite_healer.domain.checks.check import CheckSpec
from opsuite_healer.domain.checks.standing import Standing
from opsuite_healer.domain.checks.subject import Begun, Subject
from opsuite_healer.domain.targets import TargetRef
from opsuite_probes.port import Outcome
from opsuite_runs.port import Lease


class Tx(Unit, Protocol):
    """One transaction over checks."""

    @property
    def troubles(self) -> Troubles:
        """Where trouble is told."""

    def check(self, check: str) -> CheckRecord | None:
        """A check by its id."""

    def subjects(self, check: str) -> Mapping[str, Subject]:
        """What is known of what it covers, by replica."""

    def checks_of(self, target: TargetRef) -> Sequence[CheckRecord]:
        """Checks that ask a target; of a workload as a whole, those of its replicas too. By id."""

    def ids(self, group: str) -> Sequence[str]:
        """Ids of all checks, or of those of a group."""

    def standings_of(self, target: TargetRef) -> Sequence[Standing]:
        """What is known of a target; of a workload as a whole, of its replicas too."""

    def standings_in(self, group: str) -> Sequence[Standing]:
        """What is known of the targets of a group; of all without one."""

    def add(self, record: CheckRecord) -> None:
        """Record a new check. Raises CheckExists."""

    def put(self, record: CheckRecord) -> None:
        """Record a change of what is asked, or of when bad answers count again, so that the attendant begins anew."""

    def delete(self, check: str) -> None:
        """Forget a check and all but its events."""

    def lock(self, check: str) -> CheckRecord | None:
        """A check that nobody else changes before this transaction has ended."""

    def advance(self, lease: Lease, changed: int, events: int) -> int:
        """Let the attendant of a check write: the revision before its next events. Raises FencedOut, Overtaken."""

    def count_on(self, check: str, events: int) -> int:
        """The revision before its next events."""

    def put_subjects(self, record: CheckRecord, subjects: Sequence[Subject]) -> None:
        """Record what is known now."""

    def drop_subjects(self, check: str, replicas: Sequence[str]) -> None:
        """Forget what is not there any more."""

    def happened(self, record: CheckRecord, after: int, happened: Sequence[Happened]) -> None:
        """Tell what happened to a check, as its events after that revision."""


class World(Protocol):
    """Asks targets."""

    async def look(self, spec: CheckSpec) -> Sight:
        """What a check finds now. Never raises because of whom it asks."""


class Recorder(Protocol):
    """Keeps answers that change nothing, so that people see that somebody asks. May lose some."""

    def note(self, lease: Lease, subject: Subject) -> None:
        """This was said last of a subject."""

    def forget(self, check: str) -> None:
        """What was noted of a check is out of date."""


class Watcher(Protocol):
    """Measures and traces."""

    def looked(self, spec: CheckSpec, lag: timedelta, outcomes: Sequence[Outcome]) -> None:
        """A check was asked, so long after its turn."""

    def found(self, spec: CheckSpec, subject: Subject, begun: Begun) -> str:
        """Trouble was found: the trace context that what follows can link to; empty for none."""


class Replicas(Protocol):
    """Knows replicas where no check does."""

    async def of(self, workload: TargetRef) -> Mapping[str, Outcome]:
        """Replicas of a workload as their platform tells it. Raises Unavailable; NotFound (workload)."""
