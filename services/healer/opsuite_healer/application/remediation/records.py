"""What is kept of policies, and names that the part is known by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from opsuite_healer.application.names import HEALING_POLICIES
from opsuite_healer.domain.remediation.policy import HealingPolicy

PART: Final = "remediation"
"""What is nudged: with the id of a remediation, or with nothing when incidents want to be looked at."""


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """A policy as it is kept."""

    id: str
    policy: HealingPolicy
    document: bytes
    """As it was given, in the form of the contract."""
    number: int
    """Grows with every change."""
    created_at: datetime
    updated_at: datetime
    created_by: str

    @property
    def name(self) -> str:
        """The resource name."""
        return HEALING_POLICIES + self.id

    @property
    def etag(self) -> str:
        """Changes with every change."""
        return str(self.number)
