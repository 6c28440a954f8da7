"""Escalation policies as JSON values. Reading gives back what was written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from opsuite_healer.domain.incidents.escalation import Level, Policy, Strategy
from opsuite_healer.domain.trouble import Severity

Json = dict[str, Any]


def policy_to_json(policy: Policy) -> Json:
    """A policy, for a JSON column; durations in seconds."""
    return {
        "id": policy.id,
        "levels": [
            {
                "receivers": list(level.receivers),
                "wait": level.wait.total_seconds(),
                "strategy": level.strategy.value,
            }
            for level in policy.levels
        ],
        "num_loops": policy.num_loops,
        "begin_after": policy.begin_after.total_seconds(),
        "ack_timeout": _seconds(policy.ack_timeout),
        "resolve_timeout": _seconds(policy.resolve_timeout),
        "match": [[name, value] for name, value in policy.match.items()],
        "min_severity": policy.min_severity.value,
        "priority": policy.priority,
    }


def policy_from_json(value: Mapping[str, Any]) -> Policy:
    """The policy that was written."""
    return Policy(
        id=value["id"],
        levels=tuple(
            Level(tuple(level["receivers"]), timedelta(seconds=level["wait"]), Strategy(level["strategy"]))
            for level in value["levels"]
        ),
        num_loops=value["num_loops"],
        begin_after=timedelta(seconds=value["begin_after"]),
        ack_timeout=_duration(value["ack_timeout"]),
        resolve_timeout=_duration(value["resolve_timeout"]),
        match=dict(value["match"]),
        min_severity=Severity(value["min_severity"]),
        priority=value["priority"],
    )


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def _duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
