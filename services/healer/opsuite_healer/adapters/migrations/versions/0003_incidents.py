"""The tables of incidents, escalation and messages that are to be sent."""

from __future__ import annotations

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables."""
