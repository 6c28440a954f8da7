"""The tables of backtests and traces, beside those of `tables`."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from opsuite_scaler.adapters.tables import metadata
from opsuite_storage.columns import Json, UtcDateTime

backtests: Final = sa.Table(
    "backtests",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("progress", sa.Float, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("beat_at", UtcDateTime, nullable=False, comment="when its server last said that it goes on"),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("ticks", sa.BigInteger, nullable=False),
    sa.Column("played", Json, nullable=False, comment="one entry for each contender, without series"),
    sa.Column("series", Json, nullable=False, comment="thinned-out series, in the same order"),
)

traces: Final = sa.Table(
    "traces",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("metric", sa.Text, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("step_seconds", sa.Float, nullable=False),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False, comment="doubles and marks, deflated"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
)
