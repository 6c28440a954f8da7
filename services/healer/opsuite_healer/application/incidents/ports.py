"""What the use cases of incidents need from the world."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from opsuite_healer.application.messages import Messages
from opsuite_healer.application.unit import Unit
from opsuite_healer.domain.incidents.changes import Changed
from opsuite_healer.domain.incidents.escalation import Policy
from opsuite_healer.domain.incidents.incident import Incident
from opsuite_notify.port import Channel
from opsuite_runs.port import Lease


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody, or a program, that is told."""

    id: str
    channel: Channel
    description: str = ""
    number: int = 1
    """Grows with every change."""
    created_at: datetime = field(default=datetime.min)
    updated_at: datetime = field(default=datetime.min)

    @property
    def etag(self) -> str:
        """Changes with every change."""
        return str(self.number)


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """An escalation policy as it is kept."""

    policy: Policy
    description: str = ""
    number: int = 1
    created_at: datetime = field(default=datetime.min)
    updated_at: datetime = field(default=datetime.min)

    @property
    def etag(self) -> str:
        """Changes with every change."""
        return str(self.number)

    def changed(self, policy: Policy, description: str, now: datetime) -> PolicyRecord:
        """The next version."""
        return replace(self, policy=policy, description=description, number=self.number + 1, updated_at=now)


class IncidentMessages(Messages, Protocol):
    """The outbox inside a transaction, as incidents use it."""

    def withdraw(self, about: str, why: str) -> Sequence[str]:
        """Send no call for help any more that nobody is sending now; the ids of receivers that have heard one.

        Whoever was not called hears of nothing that becomes of it, either.
        """


class Tx(Unit, Protocol):
    """One transaction over incidents, receivers and policies."""

    @property
    def messages(self) -> IncidentMessages:
        """The outbox, in this transaction."""

    # incidents; whoever changes one locks it first, and keys of trouble only after that

    def incident(self, incident: str) -> Incident | None:
        """An incident."""

    def lock(self, incident: str) -> Incident | None:
        """The same, and nobody else changes it before this transaction ends."""

    def mine(self, lease: Lease) -> Incident:
        """The incident of a lease. Raises FencedOut: somebody else looks after it now, or it is gone."""

    def lock_mine(self, lease: Lease) -> Incident:
        """The same, and nobody else changes it before this transaction ends. Raises FencedOut."""

    def open_for(self, key: str) -> str | None:
        """Id of the incident that is open for a key."""

    def open_incidents(self, limit: int) -> Sequence[Incident]:
        """Those that are not resolved, the oldest first."""

    def add(self, changed: Changed) -> bool:
        """Keep a new incident; False if its key was taken at this moment, and then nothing was written."""

    def put(self, changed: Changed) -> None:
        """Keep a change of an incident that is locked, its timeline, and an event for each entry."""

    def hold_keys(self, incident: Incident) -> str | None:
        """Let an incident be the open one for its keys; id of the incident that is so for one of them already."""

    def drop_keys(self, incident: Incident) -> None:
        """No incident is open for its keys any more."""

    # receivers and policies

    def receiver(self, receiver: str) -> Receiver | None:
        """A receiver."""

    def lock_receiver(self, receiver: str) -> Receiver | None:
        """A receiver that nobody else changes or begins to name before this transaction ends."""

    def unknown_receivers(self, receivers: Sequence[str]) -> Sequence[str]:
        """Those that do not exist; the others cannot be forgotten before this transaction ends."""

    def put_receiver(self, receiver: Receiver) -> bool:
        """Keep a receiver; False if it is new and its name was taken."""

    def delete_receiver(self, receiver: str) -> None:
        """Forget a receiver."""

    def policy_naming(self, receiver: str) -> str | None:
        """Id of an escalation policy that names a receiver."""

    def policies(self) -> Sequence[Policy]:
        """All escalation policies."""

    def policy(self, policy: str) -> PolicyRecord | None:
        """An escalation policy."""

    def lock_policy(self, policy: str) -> PolicyRecord | None:
        """The same, and nobody else changes it before this transaction ends."""

    def put_policy(self, record: PolicyRecord) -> bool:
        """Keep an escalation policy; False if it is new and its name was taken."""

    def delete_policy(self, policy: str) -> None:
        """Forget an escalation policy; incidents keep what they were opened with."""


class Watcher(Protocol):
    """Sees what is done about incidents by itself."""

    def acting(self, incident: Incident, step: str) -> AbstractContextManager[None]:
        """Around what is done."""
