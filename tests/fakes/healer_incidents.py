"""Trouble, incidents and escalation policies, with everything that does not matter filled in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from fakes.clock import NOON

from opsuite_healer.domain.incidents import lifecycle
from opsuite_healer.domain.incidents.escalation import Level, Policy
from opsuite_healer.domain.incidents.incident import Incident
from opsuite_healer.domain.targets import TargetRef
from opsuite_healer.domain.trouble import Severity, Trouble, target_labels

CHECKOUT = TargetRef("process", "checkout")


def minutes(number: float) -> timedelta:
    """A duration."""
    return timedelta(minutes=number)


def after(number: float) -> datetime:
    """So many minutes after noon."""
    return NOON + minutes(number)


QUARTER: Final = minutes(15)


def trouble(key: str = "k1", *, at: datetime = NOON, severity: Severity = Severity.ERROR, **fields: Any) -> Trouble:
    """Trouble that a check found."""
    given: dict[str, Any] = {
        "issue": "UNHEALTHY",
        "target": CHECKOUT,
        "summary": "checkout does not answer",
        "source": "healthChecks/checkout",
        "labels": {"issue": "UNHEALTHY", "severity": severity.name} | target_labels(CHECKOUT),
    }
    return Trouble(key=key, at=at, severity=severity, **given | fields)


def levels(*receivers: Sequence[str] | str, wait: timedelta = QUARTER) -> tuple[Level, ...]:
    """Levels that wait for equally long."""
    return tuple(Level((each,) if isinstance(each, str) else tuple(each), wait) for each in receivers)


def a_policy(*receivers: Sequence[str] | str, wait: timedelta = QUARTER, **fields: Any) -> Policy:
    """A policy that tells these, level after level, from five minutes after the opening on."""
    given: dict[str, Any] = {"id": "default", "num_loops": 0, "begin_after": minutes(5)}
    return Policy(levels=levels(*receivers or ("chat", "phone"), wait=wait), **given | fields)


def an_incident(policy: Policy | None = None, **fields: Any) -> Incident:
    """One that was opened at noon."""
    return lifecycle.opened("01incident", trouble(**fields), policy or a_policy()).incident
