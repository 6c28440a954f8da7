"""Trouble of a check in the words that every part shares."""

from __future__ import annotations

from datetime import datetime

from opsuite_healer.application.troubles import Troubles
from opsuite_healer.domain.checks.check import FLAPPING, CheckSpec
from opsuite_healer.domain.checks.subject import Subject
from opsuite_healer.domain.trouble import Trouble, dedup_key, target_labels


def trouble_of(spec: CheckSpec, subject: Subject, issue: str, now: datetime) -> Trouble:
    """What is told of a subject that is in trouble."""
    target = spec.subject(subject.replica)
    labels = {
        **spec.labels,
        **target_labels(target),
        "issue": issue,
        "severity": spec.severity.name.lower(),
        "check": spec.id,
        **({"group": spec.group} if spec.group else {}),
    }
    return Trouble(
        issue=issue,
        target=target,
        severity=spec.severity,
        summary=summary(spec, subject, issue),
        source=spec.name,
        at=now,
        labels=labels,
        annotations={"check": spec.name, "said": subject.last.message if subject.last else ""},
        key=key_of(spec, subject, issue),
        traceparent=subject.told.traceparent if subject.told else "",
    )


def key_of(spec: CheckSpec, subject: Subject, issue: str) -> str:
    """Equal for all tellings of the same trouble."""
    return dedup_key(issue, spec.subject(subject.replica), spec.name)


def over(troubles: Troubles, spec: CheckSpec, subject: Subject, now: datetime, reason: str) -> None:
    """Tell that what was told of a subject is over, if anything was."""
    if subject.told is not None:
        troubles.gone(key_of(spec, subject, subject.told.issue), now, reason)


def summary(spec: CheckSpec, subject: Subject, issue: str) -> str:
    """One line for people, at most 500 characters."""
    target = spec.subject(subject.replica).canonical
    if issue == FLAPPING:
        told = f"{subject.flap.percent:.0f} % of its last answers are changes"
    else:
        told = subject.last.message if subject.last else "it is not healthy"
    return f"{target} is {issue}: {told}"[:500]
