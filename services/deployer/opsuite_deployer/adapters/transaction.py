"""One transaction of the deployer: its connection, and the events that it tells of when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.deployment_messages import event_message
from opsuite_deployer.adapters.revisions import RevisionCache
from opsuite_deployer.adapters.totals import count_ended
from opsuite_deployer.domain.deployment import Deployment
from opsuite_deployer.domain.pipeline import Pipeline
from opsuite_deployer.domain.turn import Happened
from opsuite_kernel.clock import Clock
from opsuite_runs import audit
from opsuite_runs import events as event_log
from opsuite_runs.lease import Leases
from opsuite_runs.port import AuditEntry, Event
from opsuite_storage.listen import notify
from opsuite_storage.store import Store as Database

WAKE_CHANNEL = "opsuite_deployer"
"""PostgreSQL channel on which replicas tell one another that something is there to look at."""

EVENTS, LOOK, WISH = "events", "look", "wish"
"""What a wake-up is about: events of a replica to tell, work that it let go of, a wish for a deployment."""


class Transaction:
    """What all parts of `SqlTx` share."""

    def __init__(
        self,
        connection: sa.Connection,
        database: Database,
        leases: Leases,
        owner: str,
        revisions: RevisionCache,
        clock: Clock,
    ) -> None:
        self.connection = connection
        self.database = database
        self.leases = leases
        self.owner = owner
        self.revisions = revisions
        self.built: dict[tuple[str, int], Pipeline] = {}
        """Pipelines by revision that it has built, for the cache once it has committed."""
        self.clock = clock
        self._at: datetime | None = None
        """When everything in this transaction happened: the moment of its first event."""
        self._told: list[event_log.NewEvent] = []
        self._ended: list[Deployment] = []
        self._audited: list[AuditEntry] = []
        self.has_told_people = False

    def flush(self) -> Sequence[Event]:
        """Write audit rows and events of the transaction, all at its end: what they share is locked for a moment only.

        Always in this order, as PostgreSQL would see a deadlock otherwise.
        """
        if self._ended:
            count_ended(self.connection, self._ended)
        if self._audited:
            audit.append(self.connection, tables.audit, self._audited, self.clock.now())
        if not self._told:
            return ()
        appended = event_log.append(self.connection, tables.events, self._told)
        notify(self.connection, WAKE_CHANNEL, f"{EVENTS} {self.owner}")
        return appended

    def audit(self, entry: AuditEntry) -> None:
        """Keep an act in the audit log together with what it did."""
        self._audited.append(entry)

    def count(self, before: Deployment, after: Deployment) -> None:
        """Count a deployment that this transaction ends."""
        if after.is_terminal and not before.is_terminal:
            self._ended.append(after)

    def append(self, deployment: Deployment, happened: Sequence[Happened], last: int) -> None:
        """Tell what happened to a deployment; `last` is the revision of the last event."""
        at = self._at = self._at or self.clock.now()
        for revision, one in enumerate(happened, start=last - len(happened) + 1):
            event_id = f"{deployment.id}-{revision}"
            message = event_message(deployment, one, revision=revision, event_id=event_id, at=at)
            self._told.append(event_log.NewEvent(deployment.name, revision, at, message.SerializeToString()))

    @property
    def ends_any(self) -> bool:
        """Whether a deployment ends in this transaction."""
        return bool(self._ended)

    def now(self) -> datetime:
        """The database's clock."""
        return self.database.now(self.connection)
