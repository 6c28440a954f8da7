"""Which policy covers an incident."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opsuite_healer.domain.remediation.policy import HealingPolicy, Match
from opsuite_healer.domain.trouble import Severity


def covers(match: Match, issue: str, severity: Severity, labels: Mapping[str, str]) -> bool:
    """Whether all that a match asks for holds."""
    return (
        (not match.issues or issue in match.issues)
        and severity >= match.min_severity
        and all(labels.get(name, "") == value for name, value in match.labels.items())
    )


def choose(
    policies: Iterable[HealingPolicy], issue: str, severity: Severity, labels: Mapping[str, str]
) -> HealingPolicy | None:
    """The policy of the greatest priority among those that cover an incident, the first by name; None: none does."""
    found = [policy for policy in policies if covers(policy.match, issue, severity, labels)]
    return min(found, key=lambda policy: (-policy.priority, policy.id), default=None)
