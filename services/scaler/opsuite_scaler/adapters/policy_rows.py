"""Policies as rows."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import sqlalchemy as sa

from opsuite.scaler.v1 import policy_pb2 as pb
from opsuite_scaler.adapters import tables
from opsuite_scaler.adapters.policy_messages import policy_of
from opsuite_scaler.adapters.policy_rendering import mode_message
from opsuite_scaler.adapters.transaction import Row, Transaction
from opsuite_scaler.application.errors import PolicyExists, TargetTaken
from opsuite_scaler.application.records import PolicyRecord, key_of
from opsuite_scaler.domain.policy import ScalingPolicy, TargetRef
from opsuite_storage.prepared import Prepared

_p, _t, _e = tables.policies.c, tables.targets.c, tables.events.events.c
_BY_ID: Final = Prepared(sa.select(tables.policies).where(_p.id == sa.bindparam("policy", type_=sa.Text)))
_BY_TARGET: Final = Prepared(sa.select(tables.policies).where(_p.target == sa.bindparam("target", type_=sa.Text)))
KEPT: Final = 10_000


class PolicyCache:
    """Policies by id and number: building one from its document costs more than reading the row."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int], ScalingPolicy] = OrderedDict()

    def policy(self, row: Row) -> ScalingPolicy:
        """The policy of a row."""
        key = (row["id"], row["number"])
        if (known := self._known.get(key)) is None:
            known = self._known[key] = policy_of(pb.ScalingPolicy.FromString(row["document"]))
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return known


class PolicyRows(Transaction):
    """The part of a transaction that is about policies."""

    def policy(self, policy: str) -> PolicyRecord | None:
        """A policy."""
        row = _BY_ID.row(self.connection, {"policy": policy})
        return None if row is None else self.record_of(row)

    def policy_of(self, target: TargetRef) -> PolicyRecord | None:
        """The policy that looks after a target."""
        row = _BY_TARGET.row(self.connection, {"target": key_of(target)})
        return None if row is None else self.record_of(row)

    def record_of(self, row: Row) -> PolicyRecord:
        """What a row says."""
        known: PolicyCache = self.policies
        return PolicyRecord(
            id=row["id"],
            policy=known.policy(row),
            document=row["document"],
            number=row["number"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            created_by=row["created_by"],
        )

    def add_policy(self, record: PolicyRecord) -> None:
        """Record a new policy and its target, not looked at yet. Raises TargetTaken, PolicyExists."""
        if self.policy(record.id) is not None:
            raise PolicyExists(record.id)
        if other := self.policy_of(record.policy.target):
            raise TargetTaken(other.id)
        row = _row(record) | {
            "id": record.id,
            "target": key_of(record.policy.target),
            "created_at": record.created_at,
            "created_by": record.created_by,
        }
        try:
            with self.connection.begin_nested():
                self.connection.execute(sa.insert(tables.policies).values(row))
        except sa.exc.IntegrityError as error:  # somebody else at the same moment
            raise PolicyExists(record.id) from error
        self.connection.execute(
            sa.insert(tables.targets).values(
                id=record.id,
                wish=0,
                seen_wish=0,
                readings={},
                activity="",
                error="",
                revision=self._last_revision(record.name),
                epoch=0,
            )
        )

    def _last_revision(self, name: str) -> int:
        """Where the events of an earlier policy of that name ended: whoever watched it goes on with this one."""
        last = sa.select(sa.func.coalesce(sa.func.max(_e.revision), 0)).where(_e.resource == name)
        revision: int = self.connection.execute(last).scalar_one()
        return revision

    def put_policy(self, record: PolicyRecord) -> None:
        """Record a change of a policy."""
        self.connection.execute(sa.update(tables.policies).where(_p.id == record.id).values(_row(record)))

    def delete_policy(self, policy: str) -> None:
        """Forget a policy and all of its target but its events."""
        for table in (tables.activities, tables.observations, tables.spending):
            self.connection.execute(sa.delete(table).where(table.c.policy == policy))
        self.connection.execute(sa.delete(tables.targets).where(_t.id == policy))
        self.connection.execute(sa.delete(tables.policies).where(_p.id == policy))


def _row(record: PolicyRecord) -> dict[str, Any]:
    document = pb.ScalingPolicy.FromString(record.document)
    document.mode.CopyFrom(mode_message(record.policy.mode))
    return {
        "pool": record.policy.pool,
        "document": document.SerializeToString(deterministic=True),
        "number": record.number,
        "updated_at": record.updated_at,
    }
