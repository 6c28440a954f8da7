"""Names of the resources of the healer, as they stand in the contract."""

from __future__ import annotations

from typing import Final

CHECKS: Final = "healthChecks/"
ALERTS: Final = "alerts/"
SILENCES: Final = "silences/"
INCIDENTS: Final = "incidents/"
ESCALATION_POLICIES: Final = "escalationPolicies/"
HEALING_POLICIES: Final = "healingPolicies/"
REMEDIATIONS: Final = "remediations/"
RUNBOOKS: Final = "runbooks/"
ANY: Final = "-"
"""Stands for every id, where a name may mean all."""


def id_of(name: str) -> str:
    """The id at the end of a resource name."""
    return name.rsplit("/", 1)[-1]
