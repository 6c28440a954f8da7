"""Health as the checks see it, for those who act on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from opsuite_healer.domain.targets import TargetRef
from opsuite_probes.port import Outcome


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """What is known of one target: the worst of its checks."""

    target: TargetRef
    outcome: Outcome
    """HEALTHY, UNHEALTHY, or UNKNOWN while no check of it has come to a verdict.

    Also UNKNOWN after something was done to it, until each check that had a verdict before has one again.
    """
    since: datetime | None
    """Since when `outcome` has stood; None for UNKNOWN."""
    is_flapping: bool = False
    checks: Mapping[str, Outcome] = field(default_factory=dict, hash=False)
    """Verdict of each check, by its resource name."""
    message: str = ""
    """What the worst check said last."""


@dataclass(frozen=True, slots=True)
class FleetHealth:
    """Health of a group of targets."""

    healthy: int
    unhealthy: int
    unknown: int

    @property
    def total(self) -> int:
        """How many there are."""
        return self.healthy + self.unhealthy + self.unknown


class HealthView(Protocol):
    """Answers from what checks have found; asks nobody. Raises Unavailable."""

    async def of(self, target: TargetRef) -> TargetHealth:
        """Health of a target; of a workload as a whole, that of its replicas too. UNKNOWN where nothing checks it."""

    async def of_group(self, group: str) -> FleetHealth:
        """Health of the targets of a group, one each, however many checks they have."""

    async def of_replicas(self, workload: TargetRef) -> FleetHealth:
        """Health of the replicas of a workload, as checks or its platform tell it."""

    async def look_now(self, target: TargetRef) -> None:
        """Ask the checks of a target as soon as possible, without waiting for their next turn. Returns at once."""

    async def acted_on(self, target: TargetRef, *, grace: timedelta) -> None:
        """Something was done to the target: its checks count from nothing, and failures within `grace` do not count.

        A failure count that outlives a restart kills the slow starter a second time.
        """
