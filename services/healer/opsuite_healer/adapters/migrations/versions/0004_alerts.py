"""The tables of alerts, groups and silences."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from opsuite_storage.columns import Json, UtcDateTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables, and the row of the built-in routing."""
    op.create_table(
        "alerts",
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("labels", Json(), nullable=False),
        sa.Column("annotations", Json(), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=True),
        sa.Column("is_timeout", sa.Boolean(), nullable=False),
        sa.Column("is_firing", sa.Boolean(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("generator_url", sa.Text(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_alerts")),
    )
    op.create_index("ix_alerts_key", "alerts", ["key"], unique=False)
    op.create_index("ix_alerts_is_firing", "alerts", ["is_firing", "ends_at"], unique=False)
    op.create_index("ix_alerts_starts_at", "alerts", ["starts_at", "fingerprint"], unique=False)
    op.create_table(
        "alert_sources",
        sa.Column("common", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("is_target_too", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("common", "fingerprint", name=op.f("pk_alert_sources")),
    )
    op.create_index("ix_alert_sources_fingerprint", "alert_sources", ["fingerprint"], unique=False)
    op.create_table(
        "alert_groups",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("labels", Json(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("next_flush_at", UtcDateTime(), nullable=False),
        sa.Column("notified_at", UtcDateTime(), nullable=True),
        sa.Column("was_looked_at", sa.Boolean(), nullable=False),
        sa.Column("last_reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_groups")),
    )
    op.create_index("ix_alert_groups_next_flush_at", "alert_groups", ["next_flush_at"], unique=False)
    op.create_table(
        "alert_members",
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("group_id", "fingerprint", name=op.f("pk_alert_members")),
    )
    op.create_index("ix_alert_members_fingerprint", "alert_members", ["fingerprint"], unique=False)
    _silences()
    _routing()


def _silences() -> None:
    op.create_table(
        "silences",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("matchers", Json(), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("recurrence", Json(), nullable=True),
        sa.Column("unmatched_seconds", sa.Float(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("matched_at", UtcDateTime(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("is_end_told", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silences")),
    )
    op.create_index("ix_silences_ends_at", "silences", ["ends_at", "id"], unique=False)
    op.create_index("ix_silences_is_end_told", "silences", ["is_end_told", "ends_at"], unique=False)


def _routing() -> None:
    table = op.create_table(
        "alert_routing",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=True),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_routing")),
    )
    op.bulk_insert(table, [{"id": 1, "document": b"", "number": 1, "updated_at": None, "updated_by": ""}])
