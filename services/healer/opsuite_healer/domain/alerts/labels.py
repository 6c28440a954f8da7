"""What an alert is: its labels, in a fingerprint that Alertmanager would give them too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from opsuite_healer.domain.targets import PLATFORMS, TargetRef
from opsuite_healer.domain.trouble import Severity, target_of

ALERT_NAME: Final = "alertname"
ISSUE: Final = "issue"
SEVERITY: Final = "severity"
NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
UNNAMED: Final = "ALERT"
"""Issue of an alert that has no name."""

_OFFSET: Final = 14695981039346656037
_PRIME: Final = 1099511628211
_MASK: Final = (1 << 64) - 1
_SEPARATOR: Final = b"\xff"

_SEVERITIES: Final[Mapping[str, Severity]] = {
    "none": Severity.INFO,
    "info": Severity.INFO,
    "low": Severity.INFO,
    "warning": Severity.WARNING,
    "warn": Severity.WARNING,
    "medium": Severity.WARNING,
    "error": Severity.ERROR,
    "high": Severity.ERROR,
    "critical": Severity.CRITICAL,
    "page": Severity.CRITICAL,
}


def fingerprint(labels: Mapping[str, str]) -> str:
    """Sixteen hexadecimal digits: FNV-1a of 64 bits over names and values in order, a byte 0xff after each.

    This is what Alertmanager shows as the fingerprint of these labels.
    """
    text = b"".join(name.encode() + _SEPARATOR + value.encode() + _SEPARATOR for name, value in sorted(labels.items()))
    found = _OFFSET
    for byte in text:
        found = ((found ^ byte) * _PRIME) & _MASK
    return f"{found:016x}"


def without_empty(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that say something: an empty value is no label."""
    return {name: value for name, value in labels.items() if value}


def asked_of(labels: Mapping[str, str]) -> Mapping[str, str]:
    """The labels that matchers see: who pushes says `alertname`, the healer says `issue`, and both mean the same."""
    name, issue = labels.get(ALERT_NAME), labels.get(ISSUE)
    if name and issue:
        return labels
    if not name and not issue:
        return labels
    return {**labels, ALERT_NAME: name or issue or "", ISSUE: issue or name or ""}


def issue_of(labels: Mapping[str, str]) -> str:
    """What is wrong."""
    return labels.get(ISSUE) or labels.get(ALERT_NAME) or UNNAMED


def severity_of(labels: Mapping[str, str]) -> Severity:
    """How bad it is; an error where the label is absent or unknown."""
    return _SEVERITIES.get(labels.get(SEVERITY, "").lower(), Severity.ERROR)


def target_in(labels: Mapping[str, str]) -> TargetRef | None:
    """What it is about; None where that cannot be told: no workload is named, or a platform that is none of ours."""
    if labels.get("platform", "") not in {"", *PLATFORMS}:
        return None
    return target_of(labels)
