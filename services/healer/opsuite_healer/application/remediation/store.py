"""What remediation reads and writes, inside one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from opsuite_healer.application import unit
from opsuite_healer.application.incident_book import IncidentBook
from opsuite_healer.application.messages import Messages
from opsuite_healer.application.remediation.records import PolicyRecord
from opsuite_healer.domain.remediation.circuit import Circuit
from opsuite_healer.domain.remediation.gates import Pause
from opsuite_healer.domain.remediation.remediation import Attempt, Decision, Remediation
from opsuite_runs.port import Lease


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is remembered of a fleet."""

    acting: int
    """Other remediations of it that act now."""
    refused_at: datetime | None
    """When its gate was closed last by its health."""


class Tx(unit.Unit, Protocol):
    """One transaction of the part."""

    @property
    def book(self) -> IncidentBook:
        """Incidents, in the same transaction."""

    @property
    def messages(self) -> Messages:
        """Messages to people, in the same transaction."""

    # --- policies

    def policy(self, policy: str) -> PolicyRecord | None:
        """A policy."""

    def policies(self) -> Sequence[PolicyRecord]:
        """All of them, by name."""

    def add_policy(self, record: PolicyRecord) -> None:
        """Record a new policy. Raises PolicyExists."""

    def put_policy(self, record: PolicyRecord) -> None:
        """Record a change of a policy."""

    def lock_policy(self, policy: str) -> None:
        """Let nobody else change a policy before this transaction has ended."""

    def delete_policy(self, policy: str) -> None:
        """Forget a policy."""

    # --- remediations

    def remediation(self, remediation: str) -> Remediation | None:
        """A remediation."""

    def locked(self, remediation: str) -> Remediation | None:
        """A remediation that nobody else changes before this transaction has ended."""

    def owned(self, lease: Lease) -> Remediation:
        """The same of a lease. Raises FencedOut: it has another owner now."""

    def attempts(self, remediation: str) -> Sequence[Attempt]:
        """Its actions, in order."""

    def last_decisions(self, remediation: str, limit: int) -> Sequence[Decision]:
        """What was decided last about it, in order."""

    def last_of(self, incidents: Sequence[str]) -> Mapping[str, Remediation]:
        """The last remediation of each incident that had one."""

    def busy_on(self, target: str) -> Remediation | None:
        """The remediation that has a target (canonical name)."""

    def held(self, fleet: str) -> Sequence[str]:
        """Ids of remediations of a fleet that brakes hold."""

    def add(self, remediation: Remediation, document: bytes) -> Remediation:
        """Record a new one with the document of its policy, and tell of it.

        Raises UnderWay: somebody else has begun the same, or another one of the target.
        """

    def put(self, remediation: Remediation) -> Remediation:
        """Record a change, and tell of it with all that was recorded of it before in this transaction."""

    def add_attempt(self, remediation: str, attempt: Attempt) -> None:
        """Record an action that is about to begin."""

    def put_attempt(self, remediation: str, attempt: Attempt) -> None:
        """Record what came of an action."""

    def add_decision(self, remediation: str, number: int, decision: Decision) -> None:
        """Record a decision."""

    # --- brakes

    def fleet(self, fleet: str, *, but: str, lock: bool) -> Fleet:
        """A fleet; with `lock` no other transaction judges it before this one has ended.

        `but` is a remediation that is not counted.
        """

    def fleet_refused(self, fleet: str) -> None:
        """Remember that the gate of a fleet was closed by its health."""

    def circuits(self, target: str) -> Mapping[str, Circuit]:
        """The circuits of a target, by kind of action."""

    def put_circuit(self, target: str, action: str, circuit: Circuit, half_open_at: datetime | None = None) -> None:
        """Remember a circuit, and when it allows a trial by the rules that it was judged by."""

    def pause(self) -> Pause | None:
        """The pause of the healer, also one that is over."""

    def set_pause(self, pause: Pause | None) -> None:
        """Begin or end a pause."""

    def counts(self) -> Mapping[str, int]:
        """How many remediations that are not over there are, by state."""


Store: TypeAlias = unit.Store[Tx]
