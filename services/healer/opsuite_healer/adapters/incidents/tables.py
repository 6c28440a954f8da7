"""The tables of incidents, escalation and messages that are to be sent."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from opsuite_healer.adapters.tables import metadata
from opsuite_healer.domain.incidents.incident import Status
from opsuite_runs import outbox as outbox_table
from opsuite_storage.columns import Json, UtcDateTime

incidents: Final = sa.Table(
    "incidents",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("issue", sa.Text, nullable=False),
    sa.Column("severity", sa.Integer, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("opened_at", UtcDateTime, nullable=False),
    sa.Column("last_seen_at", UtcDateTime, nullable=False),
    sa.Column("seen_count", sa.BigInteger, nullable=False),
    sa.Column("cleared_at", UtcDateTime),
    sa.Column("first_acknowledged_at", UtcDateTime),
    sa.Column("acknowledged_at", UtcDateTime),
    sa.Column("acknowledged_by", sa.Text, nullable=False),
    sa.Column("resolved_at", UtcDateTime),
    sa.Column("resolved_by", sa.Text, nullable=False),
    sa.Column("resolver", sa.Text, nullable=False),
    sa.Column("merged_into", sa.Text, nullable=False),
    sa.Column("snoozed_until", UtcDateTime),
    sa.Column("remediation", sa.Text, nullable=False),
    sa.Column("deployment", sa.Text, nullable=False),
    sa.Column("begun_at", UtcDateTime),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("due_at", UtcDateTime),
    sa.Column("is_exhausted", sa.Boolean, nullable=False),
    sa.Column("more", Json, nullable=False, comment="target, labels, annotations, keys, policy, who was told"),
    sa.Column("traceparent", sa.Text, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("lease_expires_at", UtcDateTime),
)
IS_OPEN: Final = incidents.c.status != Status.RESOLVED.value
_OPEN_ROWS: Final = sa.text("status <> 'RESOLVED'")
sa.Index("ix_incidents_open", incidents.c.opened_at, sqlite_where=_OPEN_ROWS, postgresql_where=_OPEN_ROWS)
sa.Index("ix_incidents_opened", incidents.c.opened_at, incidents.c.id)

incident_keys: Final = sa.Table(
    "incident_keys",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("incident", sa.Text, nullable=False),
)
"""The one incident that is open for a key."""
sa.Index("ix_incident_keys_incident", incident_keys.c.incident)

incident_entries: Final = sa.Table(
    "incident_entries",
    metadata,
    sa.Column("incident", sa.Text, primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("facts", Json, nullable=False),
)

receivers: Final = sa.Table(
    "receivers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("channel", Json, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

escalation_policies: Final = sa.Table(
    "escalation_policies",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("document", Json, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

policy_receivers: Final = sa.Table(
    "policy_receivers",
    metadata,
    sa.Column("policy", sa.Text, primary_key=True),
    sa.Column("receiver", sa.Text, primary_key=True),
)
"""Which policies name a receiver: it is not forgotten while there are any."""
sa.Index("ix_policy_receivers_receiver", policy_receivers.c.receiver)

outbox: Final = outbox_table.define(metadata, "about")
