"""Policies as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from opsuite_healer.adapters.remediation import tables
from opsuite_healer.adapters.remediation.policy_messages import policy_from_document
from opsuite_healer.adapters.unit import OverUnit
from opsuite_healer.application.remediation.errors import PolicyExists
from opsuite_healer.application.remediation.records import PolicyRecord
from opsuite_storage.prepared import Prepared

Row = Mapping[str, Any]
_p = tables.policies.c
_BY_ID: Final = Prepared(sa.select(tables.policies).where(_p.id == sa.bindparam("policy", type_=sa.Text)))
_ALL: Final = Prepared(sa.select(tables.policies).order_by(_p.id))


class PolicyRows(OverUnit):
    """The part of a transaction that is about policies."""

    def policy(self, policy: str) -> PolicyRecord | None:
        """A policy."""
        row = _BY_ID.row(self.connection, {"policy": policy})
        return None if row is None else policy_record(row)

    def policies(self) -> Sequence[PolicyRecord]:
        """All of them, by name."""
        return [policy_record(row) for row in _ALL.rows(self.connection)]

    def add_policy(self, record: PolicyRecord) -> None:
        """Record a new policy. Raises PolicyExists."""
        if self.policy(record.id) is not None:
            raise PolicyExists(record.id)
        row = _row(record) | {"id": record.id, "created_at": record.created_at, "created_by": record.created_by}
        try:
            with self.connection.begin_nested():
                self.connection.execute(sa.insert(tables.policies).values(row))
        except sa.exc.IntegrityError as error:  # somebody else at the same moment
            raise PolicyExists(record.id) from error

    def put_policy(self, record: PolicyRecord) -> None:
        """Record a change of a policy."""
        self.connection.execute(sa.update(tables.policies).where(_p.id == record.id).values(_row(record)))

    def lock_policy(self, policy: str) -> None:
        """Let nobody else change a policy before this transaction has ended."""
        self.connection.execute(sa.select(_p.id).where(_p.id == policy).with_for_update())

    def delete_policy(self, policy: str) -> None:
        """Forget a policy."""
        self.connection.execute(sa.delete(tables.policies).where(_p.id == policy))


def policy_record(row: Row) -> PolicyRecord:
    """What a row says."""
    return PolicyRecord(
        id=row["id"],
        policy=policy_from_document(row["document"]),
        document=row["document"],
        number=row["number"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        created_by=row["created_by"],
    )


def _row(record: PolicyRecord) -> dict[str, Any]:
    return {"document": record.document, "number": record.number, "updated_at": record.updated_at}
