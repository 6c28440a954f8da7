"""Targets as rows: what was seen and left, and who looks after them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from opsuite_runs.port import FencedOut, Lease
from opsuite_scaler.adapters import tables
from opsuite_scaler.adapters.decision_messages import readings_document, readings_of
from opsuite_scaler.adapters.transaction import Row, Transaction
from opsuite_scaler.application.records import Observation, TargetRecord
from opsuite_scaler.application.store import Overtaken
from opsuite_scaler.domain import state_codec
from opsuite_storage.columns import UtcDateTime
from opsuite_storage.prepared import Prepared

_t, _s = tables.targets.c, tables.spending.c
_WHICH: Final = _t.id == sa.bindparam("policy", type_=sa.Text)
_BY_ID: Final = Prepared(sa.select(tables.targets).where(_WHICH))
_RECORDED: Final = (
    "seen_wish",
    "state",
    "size",
    "asked",
    "status_size",
    "wanted",
    "readings",
    "activity",
    "error",
    "looked_at",
)
_RECORD: Final = Prepared(
    sa.update(tables.targets)
    .where(
        _WHICH,
        _t.epoch == sa.bindparam("mine", type_=sa.BigInteger),
        _t.wish <= sa.bindparam("known_wish", type_=sa.BigInteger),
    )
    .values({name: sa.bindparam(f"new_{name}", type_=_t[name].type) for name in _RECORDED})
    .returning(_t.id)
)
_OBSERVE: Final = {
    "sqlite": Prepared(sqlite.insert(tables.observations).on_conflict_do_nothing(), tables.observations.c.keys()),
    "postgresql": Prepared(
        postgresql.insert(tables.observations).on_conflict_do_nothing(), tables.observations.c.keys()
    ),
}
ANY_WISH: Final = 2**62


def _adding(insert: sqlite.Insert | postgresql.Insert) -> Prepared:
    added = insert.on_conflict_do_update(
        index_elements=["policy", "hour"],
        set_={"replica_seconds": _s.replica_seconds + insert.excluded.replica_seconds},
    )
    return Prepared(added, _s.keys())


_SPEND: Final = {
    "sqlite": _adding(sqlite.insert(tables.spending)),
    "postgresql": _adding(postgresql.insert(tables.spending)),
}
_SPENT: Final = Prepared(
    sa.select(sa.func.coalesce(sa.func.sum(_s.replica_seconds), 0.0)).where(
        _s.policy == sa.bindparam("policy", type_=sa.Text), _s.hour >= sa.bindparam("since", type_=UtcDateTime)
    )
)


class TargetRows(Transaction):
    """The part of a transaction that is about targets."""

    def target(self, policy: str) -> TargetRecord | None:
        """A target."""
        row = _BY_ID.row(self.connection, {"policy": policy})
        return None if row is None else target_of(row)

    def lock_target(self, policy: str) -> TargetRecord | None:
        """A target that nobody else changes before this transaction has ended."""
        statement = sa.select(tables.targets).where(_t.id == policy).with_for_update()
        row = self.connection.execute(statement).mappings().first()
        return None if row is None else target_of(dict(row))

    def wish(self, policy: str, *, manual_until: datetime | None) -> int:
        """Tell the decider of a target that a person wants something, and until when the size stays as it was set."""
        self.wished.append(policy)
        statement = (
            sa.update(tables.targets)
            .where(_t.id == policy)
            .values(wish=_t.wish + 1, manual_until=manual_until)
            .returning(_t.wish)
        )
        number: int = self.connection.execute(statement).scalar_one()
        return number

    def record(self, lease: Lease, target: TargetRecord, *, despite_wishes: bool = False) -> None:
        """Keep what a look found. Raises FencedOut, Overtaken."""
        values = {
            "policy": target.id,
            "mine": lease.epoch,
            "known_wish": ANY_WISH if despite_wishes else target.wish,
            "new_seen_wish": target.seen_wish,
            "new_state": state_codec.encoded(target.state) if target.state is not None else None,
            "new_size": target.size,
            "new_asked": target.asked,
            "new_status_size": target.status_size,
            "new_wanted": target.wanted,
            "new_readings": readings_document(target.readings),
            "new_activity": target.activity,
            "new_error": target.error,
            "new_looked_at": target.looked_at,
        }
        if _RECORD.row(self.connection, values) is not None:
            return
        row = _BY_ID.row(self.connection, {"policy": target.id})
        if row is None or row["epoch"] != lease.epoch:
            raise FencedOut(target.id)
        raise Overtaken

    # --- what was seen

    def observe(self, policy: str, observation: Observation) -> None:
        """Keep what was seen of a target."""
        row = {
            "policy": policy,
            "time": observation.at,
            "size": observation.size,
            "values": dict(observation.values),
        }
        _OBSERVE[self.connection.dialect.name].run(self.connection, [row])

    def spend(self, policy: str, hour: datetime, replica_seconds: float) -> None:
        """Add to what a target has used within an hour."""
        row = {"policy": policy, "hour": hour, "replica_seconds": replica_seconds}
        _SPEND[self.connection.dialect.name].run(self.connection, [row])

    def spent(self, policy: str, since: datetime) -> float:
        """Replica-seconds that a target has used since then, whole hours."""
        used: float = _SPENT.only_value(self.connection, {"policy": policy, "since": since})
        return used

    # --- leases

    def claim(self, limit: int) -> Sequence[Lease]:
        """Take targets that nobody looks after, at most so many."""
        return self.leases.claim(self.connection, self.owner, where=sa.true(), limit=limit, now=self.now())

    def take_over_all(self) -> Sequence[Lease]:
        """Take every target, whoever has it."""
        return self.leases.take_over_all(self.connection, self.owner, where=sa.true(), now=self.now())

    def release(self, lease: Lease) -> None:
        """Let anybody claim the target at once."""
        self.leases.release(self.connection, lease)


def target_of(row: Row) -> TargetRecord:
    """What a row says."""
    return TargetRecord(
        id=row["id"],
        wish=row["wish"],
        seen_wish=row["seen_wish"],
        state=None if row["state"] is None else state_codec.decoded(row["state"]),
        size=row["size"],
        asked=row["asked"],
        status_size=row["status_size"],
        wanted=row["wanted"],
        readings=readings_of(row["readings"]),
        activity=row["activity"],
        manual_until=row["manual_until"],
        error=row["error"],
        looked_at=row["looked_at"],
        revision=row["revision"],
        is_attended=row["owner"] is not None,
    )
