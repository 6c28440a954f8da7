"""Alerts, what they explain, the groups that they are in, silences, and the routing."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from opsuite_healer.adapters.tables import metadata
from opsuite_storage.columns import Json, UtcDateTime

alerts: Final = sa.Table(
    "alerts",
    metadata,
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("labels", Json, nullable=False),
    sa.Column("annotations", Json, nullable=False),
    sa.Column("starts_at", UtcDateTime, nullable=False),
    sa.Column("ends_at", UtcDateTime),
    sa.Column("is_timeout", sa.Boolean, nullable=False),
    sa.Column("is_firing", sa.Boolean, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("generator_url", sa.Text, nullable=False),
    sa.Column("traceparent", sa.Text, nullable=False),
)
sa.Index("ix_alerts_key", alerts.c.key)
sa.Index("ix_alerts_is_firing", alerts.c.is_firing, alerts.c.ends_at)
sa.Index("ix_alerts_starts_at", alerts.c.starts_at, alerts.c.fingerprint)

sources: Final = sa.Table(
    "alert_sources",
    metadata,
    sa.Column("common", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("is_target_too", sa.Boolean, nullable=False),
)
sa.Index("ix_alert_sources_fingerprint", sources.c.fingerprint)

groups: Final = sa.Table(
    "alert_groups",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("route", sa.Text, nullable=False),
    sa.Column("labels", Json, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("next_flush_at", UtcDateTime, nullable=False),
    sa.Column("notified_at", UtcDateTime),
    sa.Column("was_looked_at", sa.Boolean, nullable=False),
    sa.Column("last_reason", sa.Text, nullable=False),
)
sa.Index("ix_alert_groups_next_flush_at", groups.c.next_flush_at)

members: Final = sa.Table(
    "alert_members",
    metadata,
    sa.Column("group_id", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("told", sa.Integer, nullable=False),
)
sa.Index("ix_alert_members_fingerprint", members.c.fingerprint)

silences: Final = sa.Table(
    "silences",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("matchers", Json, nullable=False),
    sa.Column("starts_at", UtcDateTime, nullable=False),
    sa.Column("ends_at", UtcDateTime, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("recurrence", Json),
    sa.Column("unmatched_seconds", sa.Float),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("matched_at", UtcDateTime),
    sa.Column("end_reason", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("is_end_told", sa.Boolean, nullable=False),
)
sa.Index("ix_silences_ends_at", silences.c.ends_at, silences.c.id)
sa.Index("ix_silences_is_end_told", silences.c.is_end_told, silences.c.ends_at)

routing: Final = sa.Table(
    "alert_routing",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("updated_at", UtcDateTime),
    sa.Column("updated_by", sa.Text, nullable=False),
)
"""One row. Whoever changes alerts locks it."""
