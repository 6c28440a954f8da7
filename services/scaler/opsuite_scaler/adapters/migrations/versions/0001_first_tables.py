"""The first tables of the scaler."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from opsuite_runs import events
from opsuite_storage.columns import Json, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table and begin the life of the event log."""
    op.create_table(
        "activities",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("current", sa.Integer(), nullable=False),
        sa.Column("desired", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("remaining_seconds", sa.Float(), nullable=False),
        sa.Column("withheld", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.Column("evaluations", sa.BigInteger(), nullable=False),
        sa.Column("policy_number", sa.BigInteger(), nullable=False),
        sa.Column("explanation", sa.LargeBinary(), nullable=False, comment="steps and snapshot, as a message"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activities")),
    )
    op.create_index(
        "ix_activities_pending",
        "activities",
        ["policy", "id"],
        unique=False,
        sqlite_where=sa.text("outcome = 'PENDING'"),
        postgresql_where=sa.text("outcome = 'PENDING'"),
    )
    op.create_index("ix_activities_policy", "activities", ["policy", "id"], unique=False)
    op.create_table(
        "audit",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("details", Json(), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit")),
    )
    op.create_table(
        "events",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("time", UtcDateTime(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_events")),
        sa.UniqueConstraint("resource", "revision", name=op.f("uq_events_resource_revision")),
    )
    op.create_table(
        "feed",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("head", sa.BigInteger(), nullable=False),
        sa.Column("life", sa.Text(), nullable=False),
        sa.Column("compacted", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed")),
    )
    op.create_table(
        "observations",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("time", UtcDateTime(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("values", Json(), nullable=False, comment="total of each metric that had one, by its name"),
        sa.PrimaryKeyConstraint("policy", "time", name=op.f("pk_observations")),
    )
    op.create_index("ix_observations_time", "observations", ["time"], unique=False)
    op.create_table(
        "points",
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False, comment="empty: the number is the metric"),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("time", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("metric", "member", name=op.f("pk_points")),
    )
    op.create_index("ix_points_time", "points", ["time"], unique=False)
    op.create_table(
        "policies",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False, comment="canonical name of what is scaled"),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False, comment="message of the contract, as it was given"),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="changes with every change; the etag"),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policies")),
        sa.UniqueConstraint("target", name=op.f("uq_policies_target")),
    )
    op.create_index("ix_policies_pool", "policies", ["pool"], unique=False)
    op.create_table(
        "pools",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="changes with every change; the etag"),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pools")),
    )
    op.create_table(
        "requests",
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("principal", "method", "request_id", name=op.f("pk_requests")),
    )
    op.create_index("ix_requests_created_at", "requests", ["created_at"], unique=False)
    op.create_table(
        "spending",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("hour", UtcDateTime(), nullable=False),
        sa.Column("replica_seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("policy", "hour", name=op.f("pk_spending")),
    )
    op.create_table(
        "targets",
        sa.Column("id", sa.Text(), nullable=False, comment="that of the policy"),
        sa.Column("wish", sa.BigInteger(), nullable=False, comment="grows when a person wants something of the target"),
        sa.Column("seen_wish", sa.BigInteger(), nullable=False, comment="last one that a recorded look knew of"),
        sa.Column("state", Json(), nullable=True, comment="what the next decision is told; NULL before the first"),
        sa.Column("size", sa.Integer(), nullable=True, comment="size as we saw or left it last"),
        sa.Column("asked", sa.Integer(), nullable=True, comment="size that is being asked for; NULL when nothing is"),
        sa.Column("status_size", sa.Integer(), nullable=True),
        sa.Column("wanted", sa.Integer(), nullable=True, comment="size that the last decision wanted"),
        sa.Column("readings", Json(), nullable=False),
        sa.Column("activity", sa.Text(), nullable=False, comment="the last activity"),
        sa.Column("manual_until", UtcDateTime(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("looked_at", UtcDateTime(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="number of its last event"),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("lease_expires_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_targets")),
    )
    op.create_index("ix_targets_lease", "targets", ["lease_expires_at"], unique=False)
    feed = sa.table("feed", *(sa.column(name) for name in ("id", "head", "life", "compacted")))
    events.begin(op.get_bind(), feed)
