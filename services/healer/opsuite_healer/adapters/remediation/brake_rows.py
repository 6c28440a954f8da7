"""Circuits, fleets and the pause of the healer as rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from opsuite_healer.adapters.remediation import tables
from opsuite_healer.adapters.remediation.policy_rows import PolicyRows, Row
from opsuite_healer.application.remediation.store import Fleet
from opsuite_healer.domain.remediation.circuit import Circuit
from opsuite_healer.domain.remediation.gates import Pause
from opsuite_healer.domain.remediation.remediation import IN_FLIGHT
from opsuite_storage.prepared import Prepared

_c, _f, _h, _r = tables.circuits.c, tables.fleets.c, tables.healer.c, tables.remediations.c
_FLYING: Final = tuple(sorted(state.value for state in IN_FLIGHT))
_FLEET: Final = sa.bindparam("fleet", type_=sa.Text)
_ACTING: Final = Prepared(
    sa.select(sa.func.count())
    .select_from(tables.remediations)
    .where(_r.fleet == _FLEET, _r.id != sa.bindparam("but", type_=sa.Text), _r.state.in_(_FLYING))
)


class BrakeRows(PolicyRows):
    """The part of a transaction that is about brakes."""

    def locked_fleet(self, fleet: str) -> Row:
        """The row of a fleet, locked; made when it is asked for first."""
        statement = sa.select(tables.fleets).where(_f.id == fleet).with_for_update()
        row = self.connection.execute(statement).mappings().one_or_none()
        if row is None:
            _insert_or_ignore(self.connection, tables.fleets, {"id": fleet, "refused_at": None})
            row = self.connection.execute(statement).mappings().one()
        return dict(row)

    def known_fleet(self, fleet: str) -> Row:
        """The same without a lock; empty where there is none."""
        row = self.connection.execute(sa.select(tables.fleets).where(_f.id == fleet)).mappings().one_or_none()
        return dict(row) if row else {"refused_at": None}

    def counted(self, fleet: str, but: str, row: Row) -> Fleet:
        """A fleet with what is under way in it."""
        acting: int = _ACTING.only_value(self.connection, {"fleet": fleet, "but": but})
        return Fleet(acting, row["refused_at"])

    def circuits(self, target: str) -> Mapping[str, Circuit]:
        """The circuits of a target, by kind of action."""
        statement = sa.select(tables.circuits).where(_c.target == target)
        rows = self.connection.execute(statement).mappings()
        return {row["action"]: circuit_of(dict(row)) for row in rows}

    def put_circuit(self, target: str, action: str, circuit: Circuit, half_open_at: datetime | None = None) -> None:
        """Remember a circuit, and when it allows a trial by the rules that it was judged by."""
        values = {
            "starts": [start.isoformat() for start in circuit.starts],
            "failures": circuit.failures,
            "opened_at": circuit.opened_at,
            "half_open_at": half_open_at,
            "cool_down_seconds": None if circuit.cool_down is None else circuit.cool_down.total_seconds(),
            "trial_at": circuit.trial_at,
            "counted_from": circuit.counted_from,
            "bad_at": circuit.bad_at,
            "reason": circuit.reason,
            "updated_at": self.now(),
        }
        change = sa.update(tables.circuits).where(_c.target == target, _c.action == action).values(values)
        if self.connection.execute(change).rowcount == 0:
            row = values | {"target": target, "action": action}
            self.connection.execute(sa.insert(tables.circuits).values(row))

    def pause(self) -> Pause | None:
        """The pause of the healer, also one that is over."""
        row = self.connection.execute(sa.select(tables.healer)).mappings().one()
        return Pause(row["reason"], row["author"], row["until"]) if row["is_paused"] else None

    def set_pause(self, pause: Pause | None) -> None:
        """Begin or end a pause."""
        values: dict[str, Any] = {"is_paused": False, "until": None, "reason": "", "author": ""}
        if pause is not None:
            values = {"is_paused": True, "until": pause.until, "reason": pause.reason, "author": pause.author}
        self.connection.execute(sa.update(tables.healer).where(_h.id == 1).values(values))


def circuit_of(row: Row) -> Circuit:
    """What a row says."""
    seconds = row["cool_down_seconds"]
    return Circuit(
        starts=tuple(datetime.fromisoformat(start) for start in row["starts"]),
        failures=row["failures"],
        opened_at=row["opened_at"],
        cool_down=None if seconds is None else timedelta(seconds=seconds),
        trial_at=row["trial_at"],
        counted_from=row["counted_from"],
        bad_at=row["bad_at"],
        reason=row["reason"],
    )


def _insert_or_ignore(connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> None:
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(table).values(row))
    except sa.exc.IntegrityError:
        return  # somebody else at the same moment
