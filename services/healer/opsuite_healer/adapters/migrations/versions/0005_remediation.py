"""The tables of policies, remediations and circuits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from opsuite_storage.columns import Json, UtcDateTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables, and the one row of the healer."""
    op.create_table(
        "healing_policies",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False, comment="message of the contract, as it was given"),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="grows with every change; the etag"),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_healing_policies")),
    )
    op.create_table(
        "remediations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("incident", sa.Text(), nullable=False, comment="empty: a person asked for it without one"),
        sa.Column("round", sa.Integer(), nullable=False, comment="which one of its incident it is"),
        sa.Column("issue", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False, comment="canonical name; empty: none"),
        sa.Column("fleet", sa.Text(), nullable=False, comment="whose members are not mended all at once"),
        sa.Column("labels", Json(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("policy_number", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False, comment="its policy, as it was at the beginning"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("end_state", sa.Text(), nullable=False, comment="how it ends once it has rested; empty: not decided"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("used", Json(), nullable=False, comment="positions of steps that are not tried any more"),
        sa.Column("next_at", UtcDateTime(), nullable=True),
        sa.Column("approved_step", sa.Integer(), nullable=True),
        sa.Column("approved_by", sa.Text(), nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=True),
        sa.Column("is_escalated", sa.Boolean(), nullable=False),
        sa.Column("cancelled_by", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("decisions", sa.Integer(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=False),
        sa.Column("began_at", UtcDateTime(), nullable=False, comment="when the trouble began"),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("mended_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True, comment="NULL: somebody has to look after it"),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="number of its last event"),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("lease_expires_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remediations")),
    )
    op.create_index("ix_remediations_ended_at", "remediations", ["ended_at"], unique=False)
    op.create_index(
        "ix_remediations_fleet",
        "remediations",
        ["fleet"],
        unique=False,
        sqlite_where=sa.text("state IN ('ACTING', 'AWAITING_APPROVAL', 'HELD', 'PENDING', 'VERIFYING')"),
        postgresql_where=sa.text("state IN ('ACTING', 'AWAITING_APPROVAL', 'HELD', 'PENDING', 'VERIFYING')"),
    )
    op.create_index(
        "ix_remediations_lease",
        "remediations",
        ["lease_expires_at"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "uq_remediations_incident_round",
        "remediations",
        ["incident", "round"],
        unique=True,
        sqlite_where=sa.text("incident <> ''"),
        postgresql_where=sa.text("incident <> ''"),
    )
    op.create_index(
        "uq_remediations_target",
        "remediations",
        ["target"],
        unique=True,
        sqlite_where=sa.text(
            "target <> '' AND state IN ('ACTING', 'AWAITING_APPROVAL', 'HELD', 'PENDING', 'VERIFYING')"
        ),
        postgresql_where=sa.text(
            "target <> '' AND state IN ('ACTING', 'AWAITING_APPROVAL', 'HELD', 'PENDING', 'VERIFYING')"
        ),
    )
    op.create_table(
        "remediation_attempts",
        sa.Column("remediation", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="names the act for ever"),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("params", Json(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("before", Json(), nullable=False, comment="known before it began, for a repeat to do nothing twice"),
        sa.Column("gates", Json(), nullable=False),
        sa.Column("is_undo", sa.Boolean(), nullable=False),
        sa.Column("undoes", sa.Integer(), nullable=False, comment="number of the attempt that it takes back; or 0"),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("facts", Json(), nullable=False),
        sa.Column("undo", Json(), nullable=True, comment="what takes it back; NULL: nothing has to be"),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("remediation", "number", name=op.f("pk_remediation_attempts")),
        sa.UniqueConstraint("key", name=op.f("uq_remediation_attempts_key")),
    )
    op.create_table(
        "remediation_decisions",
        sa.Column("remediation", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("time", UtcDateTime(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("gates", Json(), nullable=False),
        sa.PrimaryKeyConstraint("remediation", "number", name=op.f("pk_remediation_decisions")),
    )
    op.create_table(
        "circuits",
        sa.Column("target", sa.Text(), nullable=False, comment="canonical name, or the incident where there is none"),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("starts", Json(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=True),
        sa.Column(
            "half_open_at",
            UtcDateTime(),
            nullable=True,
            comment="when it allows a trial, by the rules it was judged by last",
        ),
        sa.Column("cool_down_seconds", sa.Float(), nullable=True),
        sa.Column("trial_at", UtcDateTime(), nullable=True),
        sa.Column("counted_from", UtcDateTime(), nullable=True),
        sa.Column("bad_at", UtcDateTime(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("target", "action", name=op.f("pk_circuits")),
    )
    op.create_table(
        "healing_fleets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("refused_at", UtcDateTime(), nullable=True, comment="when its gate was closed last by its health"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_healing_fleets")),
    )
    op.create_table(
        "healer",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("is_paused", sa.Boolean(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_healer")),
    )
    op.execute("INSERT INTO healer (id, is_paused, reason, author) VALUES (1, false, '', '')")
