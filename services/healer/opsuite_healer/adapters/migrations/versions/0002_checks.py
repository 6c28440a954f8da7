"""The tables of checks and what they have found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from opsuite_storage.columns import Json, UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "checks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("whole", sa.Text(), nullable=False, comment="canonical text of the workload, without a replica"),
        sa.Column("replica", sa.Text(), nullable=False, comment="the one that is meant; empty for the workload"),
        sa.Column("group", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False, comment="message of the contract, as it was given"),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="changes with every change; the etag"),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="number of its last event"),
        sa.Column(
            "changed",
            sa.BigInteger(),
            nullable=False,
            comment="grows when others change what its attendant counts",
        ),
        sa.Column("grace_until", UtcDateTime(), nullable=True, comment="bad answers before do not count"),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("lease_expires_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checks")),
    )
    op.create_index("ix_checks_whole", "checks", ["whole"], unique=False)
    op.create_index("ix_checks_group", "checks", ["group"], unique=False)
    op.create_table(
        "check_subjects",
        sa.Column("check_id", sa.Text(), nullable=False),
        sa.Column("replica", sa.Text(), nullable=False, comment="empty for the target itself"),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=True),
        sa.Column("is_flapping", sa.Boolean(), nullable=False),
        sa.Column("owes_answer", sa.Boolean(), nullable=False, comment="it had a verdict before somebody acted"),
        sa.Column("state", Json(), nullable=False, comment="what the next answer is judged by"),
        sa.Column("said", sa.Text(), nullable=False, comment="outcome of the last answer"),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("issue", sa.Text(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("asked_at", UtcDateTime(), nullable=True),
        sa.Column("latency_seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("check_id", "replica", name=op.f("pk_check_subjects")),
    )
