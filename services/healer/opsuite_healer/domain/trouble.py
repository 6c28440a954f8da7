"""What was found to be wrong, in the words that every part of the healer shares."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Final

from opsuite_healer.domain.targets import TargetRef

TARGET_LABELS: Final = ("platform", "namespace", "workload", "replica")
"""Labels that name a target."""


class Severity(IntEnum):
    """How bad it is; a greater one is worse."""

    INFO = 1
    WARNING = 2
    ERROR = 3
    CRITICAL = 4


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something is wrong with something, as of now."""

    issue: str
    """Type of the issue, which policies are chosen by: "UNHEALTHY", "CRASHED", "FLAPPING", or an alert's name."""
    target: TargetRef | None
    """None: nobody can tell what it is about, so that nothing but telling people can be done."""
    severity: Severity
    summary: str
    """One line, for people."""
    source: str
    """Resource that found it: "healthChecks/home-page", "alerts/4f1c…"."""
    at: datetime
    """When it was found."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What grouping, silences and policies can be about; `issue`, `severity` and the target's labels among them."""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    """For people; never part of what it is."""
    key: str = ""
    """Equal for all tellings of the same trouble, at most 255 characters; see `dedup_key`."""
    traceparent: str = ""
    """W3C trace context of whoever found it; what follows links to it. Empty: none."""


def dedup_key(issue: str, target: TargetRef | None, check: str) -> str:
    """The key of a trouble that brings none: SHA-256 over what it is, in hexadecimal."""
    parts = (issue, target.canonical if target else "", check)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def target_labels(target: TargetRef | None) -> dict[str, str]:
    """A target as labels; those that would be empty are left out."""
    if target is None:
        return {}
    values = (target.platform, target.namespace, target.workload, target.replica)
    return {name: value for name, value in zip(TARGET_LABELS, values, strict=True) if value}


def target_of(labels: Mapping[str, str]) -> TargetRef | None:
    """The target that labels name; None where they name no workload."""
    workload = labels.get("workload", "")
    if not workload:
        return None
    return TargetRef(labels.get("platform", ""), workload, labels.get("replica", ""), labels.get("namespace", ""))
