"""Receivers and escalation policies as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from opsuite_healer.adapters.incidents import tables
from opsuite_healer.adapters.incidents.policy_codec import policy_from_json, policy_to_json
from opsuite_healer.adapters.unit import OverUnit
from opsuite_healer.application.incidents.ports import PolicyRecord, Receiver
from opsuite_healer.domain.incidents.escalation import Policy
from opsuite_notify.codec import channel_from_json, channel_to_json

_r, _p, _n = tables.receivers.c, tables.escalation_policies.c, tables.policy_receivers.c


class ReceiverRows(OverUnit):
    """The part of a transaction that is about receivers and policies."""

    # --- receivers

    def receiver(self, receiver: str) -> Receiver | None:
        """A receiver."""
        row = self.connection.execute(sa.select(tables.receivers).where(_r.id == receiver)).mappings().first()
        return None if row is None else receiver_of(row)

    def lock_receiver(self, receiver: str) -> Receiver | None:
        """A receiver that nobody else changes or begins to name before this transaction ends."""
        statement = sa.select(tables.receivers).where(_r.id == receiver).with_for_update()
        row = self.connection.execute(statement).mappings().first()
        return None if row is None else receiver_of(row)

    def unknown_receivers(self, receivers: Sequence[str]) -> Sequence[str]:
        """Those that do not exist; the others cannot be forgotten before this transaction ends."""
        statement = sa.select(_r.id).where(_r.id.in_(receivers)).order_by(_r.id).with_for_update(read=True)
        known = set(self.connection.execute(statement).scalars())
        return [one for one in receivers if one not in known]

    def put_receiver(self, receiver: Receiver) -> bool:
        """Keep a receiver; False if it is new and its name was taken."""
        row = {
            "channel": channel_to_json(receiver.channel),
            "description": receiver.description,
            "number": receiver.number,
            "created_at": receiver.created_at,
            "updated_at": receiver.updated_at,
        }
        return self._put(tables.receivers, receiver.id, row)

    def delete_receiver(self, receiver: str) -> None:
        """Forget a receiver."""
        self.connection.execute(sa.delete(tables.receivers).where(_r.id == receiver))

    def policy_naming(self, receiver: str) -> str | None:
        """Id of an escalation policy that names a receiver."""
        statement = sa.select(_n.policy).where(_n.receiver == receiver).order_by(_n.policy).limit(1)
        found: str | None = self.connection.execute(statement).scalar_one_or_none()
        return found

    # --- policies

    def policies(self) -> Sequence[Policy]:
        """All escalation policies."""
        return [policy_from_json(one) for one in self.connection.execute(sa.select(_p.document)).scalars()]

    def policy(self, policy: str) -> PolicyRecord | None:
        """An escalation policy."""
        row = self.connection.execute(sa.select(tables.escalation_policies).where(_p.id == policy)).mappings().first()
        return None if row is None else policy_record_of(row)

    def lock_policy(self, policy: str) -> PolicyRecord | None:
        """The same, and nobody else changes it before this transaction ends."""
        statement = sa.select(tables.escalation_policies).where(_p.id == policy).with_for_update()
        row = self.connection.execute(statement).mappings().first()
        return None if row is None else policy_record_of(row)

    def put_policy(self, record: PolicyRecord) -> bool:
        """Keep an escalation policy; False if it is new and its name was taken."""
        policy = record.policy
        row = {
            "document": policy_to_json(policy),
            "description": record.description,
            "number": record.number,
            "created_at": record.created_at,
            "updated_at": record.updated_at,
        }
        if not self._put(tables.escalation_policies, policy.id, row):
            return False
        self.connection.execute(sa.delete(tables.policy_receivers).where(_n.policy == policy.id))
        named = sorted({receiver for level in policy.levels for receiver in level.receivers})
        rows = [{"policy": policy.id, "receiver": receiver} for receiver in named]
        self.connection.execute(sa.insert(tables.policy_receivers), rows)
        return True

    def delete_policy(self, policy: str) -> None:
        """Forget an escalation policy."""
        self.connection.execute(sa.delete(tables.policy_receivers).where(_n.policy == policy))
        self.connection.execute(sa.delete(tables.escalation_policies).where(_p.id == policy))

    def _put(self, table: sa.Table, row_id: str, row: dict[str, Any]) -> bool:
        """Change a row, or make the first version of one; False if that was made already."""
        if row["number"] > 1:
            self.connection.execute(sa.update(table).where(table.c.id == row_id).values(row))
            return True
        try:
            with self.connection.begin_nested():
                self.connection.execute(sa.insert(table).values(row | {"id": row_id}))
        except sa.exc.IntegrityError:
            return False
        return True


def receiver_of(row: Any) -> Receiver:
    """The receiver of a row."""
    return Receiver(
        row["id"],
        channel_from_json(row["channel"]),
        row["description"],
        row["number"],
        row["created_at"],
        row["updated_at"],
    )


def policy_record_of(row: Any) -> PolicyRecord:
    """The policy of a row."""
    return PolicyRecord(
        policy_from_json(row["document"]), row["description"], row["number"], row["created_at"], row["updated_at"]
    )
