"""The tables of checks and of what they have found."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from opsuite_healer.adapters.tables import metadata
from opsuite_storage.columns import Json, UtcDateTime

checks: Final = sa.Table(
    "checks",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("platform", sa.Text, nullable=False),
    sa.Column("workload", sa.Text, nullable=False),
    sa.Column("whole", sa.Text, nullable=False, comment="canonical text of the workload, without a replica"),
    sa.Column("replica", sa.Text, nullable=False, comment="the one that is meant; empty for the workload"),
    sa.Column("group", sa.Text, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False, comment="message of the contract, as it was given"),
    sa.Column("number", sa.BigInteger, nullable=False, comment="changes with every change; the etag"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False, comment="number of its last event"),
    sa.Column("changed", sa.BigInteger, nullable=False, comment="grows when others change what its attendant counts"),
    sa.Column("grace_until", UtcDateTime, comment="bad answers before do not count"),
    sa.Column("owner", sa.Text),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("lease_expires_at", UtcDateTime),
)

sa.Index("ix_checks_whole", checks.c.whole)
sa.Index("ix_checks_group", checks.c.group)

subjects: Final = sa.Table(
    "check_subjects",
    metadata,
    sa.Column("check_id", sa.Text, primary_key=True),
    sa.Column("replica", sa.Text, primary_key=True, comment="empty for the target itself"),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("since", UtcDateTime),
    sa.Column("is_flapping", sa.Boolean, nullable=False),
    sa.Column("owes_answer", sa.Boolean, nullable=False, comment="it had a verdict before somebody acted"),
    sa.Column("state", Json, nullable=False, comment="what the next answer is judged by"),
    sa.Column("said", sa.Text, nullable=False, comment="outcome of the last answer"),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("issue", sa.Text, nullable=False),
    sa.Column("value", sa.Float),
    sa.Column("asked_at", UtcDateTime),
    sa.Column("latency_seconds", sa.Float, nullable=False),
)
