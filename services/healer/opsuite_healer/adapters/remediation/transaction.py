"""One transaction over policies, remediations and brakes: fits `application.remediation.store.Tx`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from opsuite_healer.adapters.remediation import tables
from opsuite_healer.adapters.remediation.brake_rows import BrakeRows
from opsuite_healer.adapters.remediation.remediation_messages import remediation_message
from opsuite_healer.adapters.remediation.remediation_rows import (
    attempt_of,
    attempt_row,
    decision_of,
    decision_row,
    remediation_of,
    remediation_row,
)
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.incident_book import IncidentBook
from opsuite_healer.application.messages import Messages
from opsuite_healer.application.remediation.errors import UnderWay
from opsuite_healer.application.remediation.store import Fleet
from opsuite_healer.domain.remediation.remediation import MOST_DECISIONS, Attempt, Decision, Remediation
from opsuite_runs.port import FencedOut, Lease
from opsuite_storage.prepared import Prepared

_r, _a, _d, _f = tables.remediations.c, tables.attempts.c, tables.decisions.c, tables.fleets.c
_ID: Final = sa.bindparam("run", type_=sa.Text)
_BY_ID: Final = Prepared(sa.select(tables.remediations).where(_r.id == _ID))
_LOCKED: Final = Prepared(sa.select(tables.remediations).where(_r.id == _ID).with_for_update())
_OWNED: Final = Prepared(
    sa.select(tables.remediations)
    .where(_r.id == _ID, _r.epoch == sa.bindparam("mine", type_=sa.BigInteger))
    .with_for_update()
)
_BUSY: Final = _r.state.in_(tables.BUSY_NAMES)
_ON_TARGET: Final = Prepared(
    sa.select(tables.remediations).where(_r.target == sa.bindparam("target", type_=sa.Text), _BUSY)
)
_ATTEMPTS: Final = Prepared(sa.select(tables.attempts).where(_a.remediation == _ID).order_by(_a.number))


class SqlRemediations(BrakeRows):
    """The transaction of this part, over a unit."""

    def __init__(self, unit: SqlUnit, book: IncidentBook, messages: Messages) -> None:
        super().__init__(unit)
        self.book = book
        self.messages = messages

    # --- remediations

    def remediation(self, remediation: str) -> Remediation | None:
        """A remediation."""
        row = _BY_ID.row(self.connection, {"run": remediation})
        return None if row is None else remediation_of(row)

    def locked(self, remediation: str) -> Remediation | None:
        """A remediation that nobody else changes before this transaction has ended."""
        row = _LOCKED.row(self.connection, {"run": remediation})
        return None if row is None else remediation_of(row)

    def owned(self, lease: Lease) -> Remediation:
        """The same of a lease. Raises FencedOut."""
        row = _OWNED.row(self.connection, {"run": lease.run, "mine": lease.epoch})
        if row is None:
            raise FencedOut(lease.run)
        return remediation_of(row)

    def attempts(self, remediation: str) -> Sequence[Attempt]:
        """Its actions, in order."""
        return [attempt_of(row) for row in _ATTEMPTS.rows(self.connection, {"run": remediation})]

    def last_decisions(self, remediation: str, limit: int = MOST_DECISIONS) -> Sequence[Decision]:
        """What was decided last about it, in order."""
        statement = (
            sa.select(tables.decisions).where(_d.remediation == remediation).order_by(_d.number.desc()).limit(limit)
        )
        return [decision_of(dict(row)) for row in self.connection.execute(statement).mappings()][::-1]

    def last_of(self, incidents: Sequence[str]) -> Mapping[str, Remediation]:
        """The last remediation of each incident that had one."""
        statement = sa.select(tables.remediations).where(_r.incident.in_(incidents)).order_by(_r.round)
        return {row["incident"]: remediation_of(dict(row)) for row in self.connection.execute(statement).mappings()}

    def busy_on(self, target: str) -> Remediation | None:
        """The remediation that has a target."""
        row = _ON_TARGET.row(self.connection, {"target": target})
        return None if row is None else remediation_of(row)

    def held(self, fleet: str) -> Sequence[str]:
        """Ids of remediations that brakes hold, of a fleet or of all."""
        statement = sa.select(_r.id).where(_r.state == "HELD", _BUSY).order_by(_r.id)
        if fleet:
            statement = statement.where(_r.fleet == fleet)
        return list(self.connection.execute(statement).scalars())

    def add(self, remediation: Remediation, document: bytes) -> Remediation:
        """Record a new one, and tell of it. Raises UnderWay."""
        row = remediation_row(remediation) | {"document": document, "epoch": 0}
        try:
            with self.connection.begin_nested():
                self.connection.execute(sa.insert(tables.remediations).values(row))
        except sa.exc.IntegrityError as error:  # of its target, or of its incident, there is one already
            raise UnderWay(f"another remediation of {remediation.incident or remediation.issue}") from error
        return self.put(remediation)

    def put(self, remediation: Remediation) -> Remediation:
        """Record a change, and tell of it."""
        changed = replace(remediation, revision=remediation.revision + 1)
        self.connection.execute(
            sa.update(tables.remediations).where(_r.id == changed.id).values(remediation_row(changed))
        )
        attempts, decisions = self.attempts(changed.id), self.last_decisions(changed.id)
        message = remediation_message(changed, attempts, decisions)
        self.tell(changed.name, changed.revision, message.SerializeToString())
        return changed

    def add_attempt(self, remediation: str, attempt: Attempt) -> None:
        """Record an action that is about to begin."""
        row = attempt_row(attempt) | {"remediation": remediation}
        self.connection.execute(sa.insert(tables.attempts).values(row))

    def put_attempt(self, remediation: str, attempt: Attempt) -> None:
        """Record what came of an action."""
        which = (_a.remediation == remediation, _a.number == attempt.number)
        self.connection.execute(sa.update(tables.attempts).where(*which).values(attempt_row(attempt)))

    def add_decision(self, remediation: str, number: int, decision: Decision) -> None:
        """Record a decision."""
        row: dict[str, Any] = decision_row(decision) | {"remediation": remediation, "number": number}
        self.connection.execute(sa.insert(tables.decisions).values(row))

    # --- brakes

    def fleet(self, fleet: str, *, but: str, lock: bool) -> Fleet:
        """A fleet; with `lock` no other transaction judges it before this one has ended."""
        row = self.locked_fleet(fleet) if lock else self.known_fleet(fleet)
        return self.counted(fleet, but, row)

    def fleet_refused(self, fleet: str) -> None:
        """Remember that the gate of a fleet was closed by its health."""
        self.connection.execute(sa.update(tables.fleets).where(_f.id == fleet).values(refused_at=self.now()))

    def counts(self) -> Mapping[str, int]:
        """How many remediations that are not over there are, by state."""
        statement = sa.select(_r.state, sa.func.count()).where(_r.ended_at.is_(None)).group_by(_r.state)
        return {row[0]: row[1] for row in self.connection.execute(statement)}
