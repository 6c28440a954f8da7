"""The life of an alert: it begins, is told again, and ends, by itself or because its finder says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from opsuite_healer.domain.alerts.labels import fingerprint, issue_of, severity_of, target_in, without_empty
from opsuite_healer.domain.targets import TargetRef
from opsuite_healer.domain.trouble import Severity, Trouble, dedup_key, target_labels
from opsuite_kernel.errors import Violation

RESOLVE_TIMEOUT: Final = timedelta(minutes=5)
SUMMARY_LIMIT: Final = 500
_SUMMARIES: Final = ("summary", "title", "message", "description")


@dataclass(frozen=True, slots=True)
class Pushed:
    """An alert as somebody tells it."""

    labels: Mapping[str, str] = field(hash=False)
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    starts_at: datetime | None = None
    """None: now."""
    ends_at: datetime | None = None
    """None: it goes on until it has not been told again for the resolve timeout."""
    generator_url: str = ""

    def problems(self) -> list[Violation]:
        """What is wrong with it beyond its shape."""
        found = []
        if not without_empty(self.labels):
            found.append(Violation("labels", "all values are empty, so that nothing is said", "REQUIRED"))
        if self.starts_at and self.ends_at and self.ends_at < self.starts_at:
            found.append(Violation("end_time", "is before its start", "RANGE"))
        return found


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it is known."""

    fingerprint: str
    """Of its labels."""
    key: str
    """Dedup key of its trouble: the same for alert, incident and remediation."""
    labels: Mapping[str, str] = field(hash=False)
    annotations: Mapping[str, str] = field(hash=False)
    starts_at: datetime
    ends_at: datetime | None
    """When it ends unless it is told again, or has ended; None: when its finder says so."""
    is_timeout: bool
    """Whether the end is a guess: that nobody will tell of it again."""
    updated_at: datetime
    source: str
    """Resource that found it; itself where it was pushed."""
    generator_url: str = ""
    traceparent: str = ""

    @property
    def name(self) -> str:
        """The resource name."""
        return f"alerts/{self.fingerprint}"

    @property
    def target(self) -> TargetRef | None:
        """What it is about."""
        return target_in(self.labels)

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return severity_of(self.labels)

    def is_over(self, now: datetime) -> bool:
        """Whether it has ended."""
        return self.ends_at is not None and self.ends_at <= now


def pushed(told: Pushed, now: datetime, resolve_timeout: timedelta, traceparent: str = "") -> Alert:
    """What somebody tells, with all that it leaves open."""
    labels = without_empty(told.labels)
    found = fingerprint(labels)
    return Alert(
        fingerprint=found,
        key=found,
        labels=labels,
        annotations=without_empty(told.annotations),
        starts_at=told.starts_at or (min(told.ends_at, now) if told.ends_at else now),
        ends_at=told.ends_at or now + resolve_timeout,
        is_timeout=told.ends_at is None,
        updated_at=now,
        source=f"alerts/{found}",
        generator_url=told.generator_url,
        traceparent=traceparent,
    )


def of_trouble(trouble: Trouble, now: datetime) -> Alert:
    """The alert of a trouble that a part of the healer has found; it goes on until that part says that it is over."""
    labels = {
        "alertname": trouble.issue,
        "source": trouble.source,
        **trouble.labels,
        "issue": trouble.issue,
        "severity": trouble.severity.name.lower(),
        **target_labels(trouble.target),
    }
    labels = without_empty(labels)
    return Alert(
        fingerprint=fingerprint(labels),
        key=trouble.key or dedup_key(trouble.issue, trouble.target, trouble.source),
        labels=labels,
        annotations=without_empty({"summary": trouble.summary, **trouble.annotations}),
        starts_at=trouble.at,
        ends_at=None,
        is_timeout=False,
        updated_at=now,
        source=trouble.source,
        traceparent=trouble.traceparent,
    )


def trouble_of(alert: Alert) -> Trouble:
    """What is told to whoever opens incidents."""
    return Trouble(
        issue=issue_of(alert.labels),
        target=alert.target,
        severity=alert.severity,
        summary=summary_of(alert),
        source=alert.source,
        at=alert.starts_at,
        labels=alert.labels,
        annotations=alert.annotations,
        key=alert.key,
        traceparent=alert.traceparent,
    )


def summary_of(alert: Alert) -> str:
    """One line for people."""
    texts = (alert.annotations.get(name, "") for name in _SUMMARIES)
    target = alert.target
    found = next((text for text in texts if text), "") or issue_of(alert.labels) + (
        f" at {target.canonical}" if target else ""
    )
    return " ".join(found.split())[:SUMMARY_LIMIT]


def merged(known: Alert, told: Alert) -> Alert:
    """What is known after an alert was told again, as Alertmanager merges them.

    Tellings whose times overlap are one: it began when the first of them did, an end that somebody said beats one that
    was guessed, and of two ends that somebody said the later one counts. Those that do not overlap are two lives of the
    same alert, and the last one counts.
    """
    if not _overlap(known, told):
        return told
    ends_at, is_timeout = told.ends_at, told.is_timeout
    if told.is_over(told.updated_at):
        if known.is_over(told.updated_at) and _later(known.ends_at, ends_at):
            ends_at = known.ends_at
    elif not known.is_timeout and _later(known.ends_at, ends_at):
        ends_at, is_timeout = known.ends_at, False
    return replace(
        told,
        starts_at=min(known.starts_at, told.starts_at),
        ends_at=ends_at,
        is_timeout=is_timeout,
        traceparent=known.traceparent or told.traceparent,
    )


def _overlap(known: Alert, told: Alert) -> bool:
    return _within(told.ends_at, known) or _within(told.starts_at, known)


def _within(moment: datetime | None, alert: Alert) -> bool:
    """Whether a moment lies in the life of an alert; one without an end goes on for ever."""
    is_after_start = moment is None or moment >= alert.starts_at
    is_before_end = alert.ends_at is None or (moment is not None and moment <= alert.ends_at)
    return is_after_start and is_before_end


def _later(one: datetime | None, other: datetime | None) -> bool:
    return other is not None and (one is None or one > other)
