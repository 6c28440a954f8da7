"""Statistics as messages of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opsuite.healer.v1 import incident_service_pb2 as pb
from opsuite_healer.domain.incidents.statistics import Sample, Statistics, by_group, statistics
from opsuite_healer.domain.trouble import Severity
from opsuite_rpc.values import duration

MOST_ISSUES: Final = 100


def statistics_response(samples: Sequence[Sample], *, is_truncated: bool) -> pb.GetIncidentStatisticsResponse:
    """All of them, by issue and by severity."""
    issues = by_group(samples, lambda one: one.issue)
    severities = by_group(samples, lambda one: one.severity.name)
    return pb.GetIncidentStatisticsResponse(
        total=_message("", statistics(samples)),
        issues=[
            _message(name, found)
            for name, found in sorted(issues.items(), key=lambda pair: (-pair[1].opened, pair[0]))[:MOST_ISSUES]
        ],
        severities=[
            _message(one.name, severities[one.name]) for one in sorted(Severity, reverse=True) if one.name in severities
        ],
        truncated=is_truncated,
    )


def _message(group: str, found: Statistics) -> pb.IncidentStatistics:
    return pb.IncidentStatistics(
        group=group,
        opened=found.opened,
        open=found.open,
        acknowledged=found.acknowledged,
        resolved=found.resolved,
        resolved_by_action=found.resolved_by_action,
        resolved_by_itself=found.resolved_by_itself,
        escalated=found.escalated,
        mean_time_to_acknowledge=duration(found.mtta),
        mean_time_to_resolve=duration(found.mttr),
        median_time_to_resolve=duration(found.median_resolve),
        p90_time_to_resolve=duration(found.p90_resolve),
    )
