"""Stands in for services that this healer is not set up for."""

from __future__ import annotations

from opsuite_healer.application.recent_rollouts import RecentRollout
from opsuite_healer.domain.targets import TargetRef


class NobodyRollsOut:
    """Fits `application.recent_rollouts.RecentRollouts` where there is no deployer: nothing was rolled out."""

    async def last(self, target: TargetRef) -> RecentRollout | None:
        """Nothing."""
        return None
