"""What was rolled out lately, as the deployer tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from opsuite_healer.domain.targets import TargetRef


@dataclass(frozen=True, slots=True)
class RecentRollout:
    """A deployment that changed a target."""

    deployment: str
    """Resource name: "pipelines/shop/environments/staging/deployments/01h…"."""
    version: str
    previous_version: str
    """What ran before; empty if nothing did."""
    started_at: datetime
    ended_at: datetime | None
    """None while it is under way; then the deployer itself decides what becomes of it."""
    is_healthy: bool
    """Whether it ended well, as far as the deployer could see."""
    is_rollback: bool = False
    """Whether it put an older version back: then going back once more is no help."""


class RecentRollouts(Protocol):
    """Asks the deployer."""

    async def last(self, target: TargetRef) -> RecentRollout | None:
        """The last deployment that changed a target; None if there was none, or nobody knows the target.

        Raises Unavailable: nobody can tell.
        """
