"""The tables of the scaler. What is here and what the migrations make is compared by a test, on both databases."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from opsuite_runs import audit as audit_tables
from opsuite_runs import events as event_tables
from opsuite_runs import idempotency as idempotency_tables
from opsuite_storage.columns import Json, UtcDateTime, new_metadata

metadata: Final = new_metadata()

events: Final = event_tables.define(metadata)
audit: Final = audit_tables.define(metadata)
requests: Final = idempotency_tables.define(metadata)

policies: Final = sa.Table(
    "policies",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("target", sa.Text, nullable=False, unique=True, comment="canonical name of what is scaled"),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False, comment="message of the contract, as it was given"),
    sa.Column("number", sa.BigInteger, nullable=False, comment="changes with every change; the etag"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
)

sa.Index("ix_policies_pool", policies.c.pool)

targets: Final = sa.Table(
    "targets",
    metadata,
    sa.Column("id", sa.Text, primary_key=True, comment="that of the policy"),
    sa.Column("wish", sa.BigInteger, nullable=False, comment="grows when a person wants something of the target"),
    sa.Column("seen_wish", sa.BigInteger, nullable=False, comment="last one that a recorded look knew of"),
    sa.Column("state", Json, comment="what the next decision is told; NULL before the first"),
    sa.Column("size", sa.Integer, comment="size as we saw or left it last"),
    sa.Column("asked", sa.Integer, comment="size that is being asked for; NULL when nothing is"),
    sa.Column("status_size", sa.Integer),
    sa.Column("wanted", sa.Integer, comment="size that the last decision wanted"),
    sa.Column("readings", Json, nullable=False),
    sa.Column("activity", sa.Text, nullable=False, comment="the last activity"),
    sa.Column("manual_until", UtcDateTime),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("looked_at", UtcDateTime),
    sa.Column("revision", sa.BigInteger, nullable=False, comment="number of its last event"),
    sa.Column("owner", sa.Text),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("lease_expires_at", UtcDateTime),
)

sa.Index("ix_targets_lease", targets.c.lease_expires_at)

activities: Final = sa.Table(
    "activities",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("current", sa.Integer, nullable=False),
    sa.Column("desired", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("remaining_seconds", sa.Float, nullable=False),
    sa.Column("withheld", sa.Integer),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("last_at", UtcDateTime, nullable=False),
    sa.Column("evaluations", sa.BigInteger, nullable=False),
    sa.Column("policy_number", sa.BigInteger, nullable=False),
    sa.Column("explanation", sa.LargeBinary, nullable=False, comment="steps and snapshot, as a message"),
)

sa.Index("ix_activities_policy", activities.c.policy, activities.c.id)
PENDING: Final = activities.c.outcome == "PENDING"
sa.Index(
    "ix_activities_pending",
    activities.c.policy,
    activities.c.id,
    sqlite_where=sa.text("outcome = 'PENDING'"),
    postgresql_where=sa.text("outcome = 'PENDING'"),
)

pools: Final = sa.Table(
    "pools",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("capacity", sa.Integer, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False, comment="changes with every change; the etag"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

points: Final = sa.Table(
    "points",
    metadata,
    sa.Column("metric", sa.Text, primary_key=True),
    sa.Column("member", sa.Text, primary_key=True, comment="empty: the number is the metric"),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("time", UtcDateTime, nullable=False),
)

sa.Index("ix_points_time", points.c.time)

observations: Final = sa.Table(
    "observations",
    metadata,
    sa.Column("policy", sa.Text, primary_key=True),
    sa.Column("time", UtcDateTime, primary_key=True),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("values", Json, nullable=False, comment="total of each metric that had one, by its name"),
)

sa.Index("ix_observations_time", observations.c.time)

spending: Final = sa.Table(
    "spending",
    metadata,
    sa.Column("policy", sa.Text, primary_key=True),
    sa.Column("hour", UtcDateTime, primary_key=True),
    sa.Column("replica_seconds", sa.Float, nullable=False),
)
