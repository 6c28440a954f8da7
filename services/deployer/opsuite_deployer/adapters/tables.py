"""The tables of the deployer. What is here and what the migrations make is compared by a test, on both databases."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from opsuite_runs import audit as audit_tables
from opsuite_runs import events as event_tables
from opsuite_runs import idempotency as idempotency_tables
from opsuite_runs import outbox as outbox_table
from opsuite_storage.columns import Json, UtcDateTime, new_metadata

metadata: Final = new_metadata()

events: Final = event_tables.define(metadata)
audit: Final = audit_tables.define(metadata)
requests: Final = idempotency_tables.define(metadata)

pipelines: Final = sa.Table(
    "pipelines",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("latest", sa.Integer, nullable=False),
    sa.Column("deleted", sa.Boolean, nullable=False),
)

pipeline_revisions: Final = sa.Table(
    "pipeline_revisions",
    metadata,
    sa.Column("pipeline", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
)

deployments: Final = sa.Table(
    "deployments",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("pipeline_revision", sa.Integer, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("pause_reason", sa.Text),
    sa.Column("warnings", Json, nullable=False),
    sa.Column("failure", Json),
    sa.Column("failed_steps", sa.Integer, nullable=False),
    sa.Column("ending", sa.Text),
    sa.Column("holds_slot", sa.Boolean, nullable=False),
    sa.Column("stable", sa.Boolean, nullable=False),
    sa.Column("rollback_of", sa.Text, nullable=False),
    sa.Column("rolled_back_by", sa.Text, nullable=False),
    sa.Column("rollback_to", sa.Text, nullable=False),
    sa.Column("retry_of", sa.Text, nullable=False),
    sa.Column("requested_by", sa.Text, nullable=False),
    sa.Column("request_reason", sa.Text, nullable=False),
    sa.Column("variables", Json, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("started_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("paused_at", UtcDateTime),
    sa.Column("paused_seconds", sa.Float, nullable=False),
    sa.Column("trace_id", sa.Text, nullable=False),
    sa.Column("span_id", sa.Text, nullable=False),
    sa.Column("takeovers", sa.Integer, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    sa.Column("order_skipped", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("revision", sa.BigInteger, nullable=False, comment="number of its last event"),
    sa.Column("turn", sa.BigInteger, nullable=False, comment="turns its owners have recorded"),
    sa.Column("owner", sa.Text),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("lease_expires_at", UtcDateTime),
)

AT_WORK: Final = deployments.c.status.in_(["STARTING", "RUNNING", "PAUSED", "VERIFYING", "PROMOTING"])
"""Deployments that somebody has to own; ROLLING_BACK ends with its rollback and needs no owner."""

# One deployment at a time may touch an environment: the judge, whatever the code before it thought.
sa.Index(
    "uq_deployments_slot",
    deployments.c.pipeline,
    deployments.c.environment,
    unique=True,
    sqlite_where=deployments.c.holds_slot,
    postgresql_where=deployments.c.holds_slot,
)
sa.Index(
    "ix_deployments_queue",
    deployments.c.pipeline,
    deployments.c.environment,
    deployments.c.id,
    sqlite_where=deployments.c.status == "QUEUED",
    postgresql_where=deployments.c.status == "QUEUED",
)
sa.Index("ix_deployments_history", deployments.c.pipeline, deployments.c.environment, deployments.c.id)
sa.Index("ix_deployments_status", deployments.c.status, deployments.c.id)
sa.Index(
    "ix_deployments_stable",
    deployments.c.pipeline,
    deployments.c.environment,
    deployments.c.id,
    sqlite_where=deployments.c.stable,
    postgresql_where=deployments.c.stable,
)

environment_locks: Final = sa.Table(
    "environment_locks",
    metadata,
    sa.Column("pipeline", sa.Text, primary_key=True),
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("ttl_seconds", sa.Float, comment="how long it holds after each renewal; absent: it never ends"),
    sa.Column("expires_at", UtcDateTime),
)

parts: Final = sa.Table(
    "parts",
    metadata,
    sa.Column("deployment", sa.Text, primary_key=True),
    sa.Column("stage", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("started_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("exit_code", sa.Integer),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("retry_at", UtcDateTime),
    sa.Column("rollout", Json, comment="what a rollout remembers"),
)

wishes: Final = sa.Table(
    "wishes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("deployment", sa.Text, nullable=False),
    sa.Column("verb", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("stage", sa.Integer),
    sa.Column("position", sa.Integer),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
)
sa.Index("ix_wishes_deployment", wishes.c.deployment, wishes.c.id)

log_lines: Final = sa.Table(
    "log_lines",
    metadata,
    sa.Column("deployment", sa.Text, primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time", UtcDateTime, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
)

notification_outbox: Final = outbox_table.define(metadata, "deployment")

spans: Final = sa.Table(
    "spans",
    metadata,
    sa.Column("trace_id", sa.Text, primary_key=True),
    sa.Column("span_id", sa.Text, primary_key=True),
    sa.Column("parent_span_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime, nullable=False),
    sa.Column("attributes", Json, nullable=False),
    sa.Column("failed", sa.Boolean, nullable=False),
    sa.Column("links", Json, nullable=False),
)
sa.Index("ix_spans_started", spans.c.started_at)

totals: Final = sa.Table(
    "totals",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("label", sa.Text, primary_key=True),
    sa.Column("value", sa.Float, nullable=False),
)

workloads: Final = sa.Table(
    "workloads",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("stable", sa.Text, comment="revision promoted last"),
    sa.Column("rollout_of", sa.Text, nullable=False, comment="deployment that is rolling it out"),
)

workload_revisions: Final = sa.Table(
    "workload_revisions",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("workload", sa.Text, primary_key=True),
    sa.Column("document", Json, nullable=False, comment="what its platform was asked for"),
    sa.Column("deployment", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("promoted_at", UtcDateTime),
    sa.Column("retire_at", UtcDateTime, comment="when its replicas may go"),
    sa.Column("idle", sa.Boolean, nullable=False, comment="whether they are gone"),
)
sa.Index("ix_workload_revisions_workload", workload_revisions.c.workload, workload_revisions.c.created_at)
sa.Index(
    "ix_workload_revisions_retire_at",
    workload_revisions.c.retire_at,
    sqlite_where=workload_revisions.c.retire_at.is_not(None),
    postgresql_where=workload_revisions.c.retire_at.is_not(None),
)

routes: Final = sa.Table(
    "routes",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False, comment="version of the whole at which it changed last"),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("document", Json, nullable=False),
)

route_version: Final = sa.Table(
    "route_version",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.BigInteger, nullable=False, comment="grows with every change of any route"),
)

edge_reports: Final = sa.Table(
    "edge_reports",
    metadata,
    sa.Column("edge", sa.Text, primary_key=True),
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False, comment="taken, or refused by name"),
    sa.Column("refusals", Json, nullable=False),
    sa.Column("last_seen", UtcDateTime),
)

edge_counts: Final = sa.Table(
    "edge_counts",
    metadata,
    sa.Column("edge", sa.Text, primary_key=True),
    sa.Column("cluster", sa.Text, primary_key=True),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("errors", sa.BigInteger, nullable=False),
    sa.Column("latency", Json, nullable=False),
)

route_overrides: Final = sa.Table(
    "route_overrides",
    metadata,
    sa.Column("route", sa.Text, primary_key=True),
    sa.Column("before", Json, nullable=False, comment="the route that holds again"),
    sa.Column("after", Json, nullable=False, comment="the route that holds until then"),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
