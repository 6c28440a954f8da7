"""What replicas use of a machine. Imports only the standard library.

One sampler for each platform: `usage_process`, `usage_docker`, `usage_kubernetes`. Resources are called as Kubernetes
calls them: "cpu" in millicores, "memory" in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

CPU: Final = "cpu"
MEMORY: Final = "memory"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one replica uses."""

    at: datetime
    window: timedelta
    """How long a time the CPU is an average of, counted back from `at`."""
    parts: Mapping[str, Mapping[str, float]]
    """By container, then by resource; what is not one of several containers has one part without a name."""

    def of(self, resource: str, part: str = "") -> float | None:
        """Of one container, or of all; None when it is not known of each of them."""
        chosen = [self.parts.get(part, {})] if part else list(self.parts.values())
        known = [each[resource] for each in chosen if resource in each]
        return sum(known) if known and len(known) == len(chosen) else None


class UsageSampler(Protocol):
    """Measures the replicas of workloads."""

    async def usage(self, workload: str) -> Mapping[str, Usage]:
        """By name of the replica, as `Platform.observe` calls them; one that cannot be measured now is absent.

        Raises: Unavailable.
        """

    async def requests(self, workload: str) -> Mapping[str, float]:
        """What each replica was promised, by resource; one without a limit is absent. Raises: NotFound."""
