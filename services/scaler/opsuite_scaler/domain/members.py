"""Which members of a target count for a metric, by HPA's classes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from opsuite_scaler.domain.policy import Timing
from opsuite_scaler.domain.snapshot import Member, MemberPhase, Reading


@dataclass(slots=True)
class Classes:
    """Members by what their sample is worth. Those that are going away, or failed, are in none of them."""

    ready: list[Member] = field(default_factory=list)
    unready: list[Member] = field(default_factory=list)
    """Have a sample that says nothing about the load, or none because they have not begun."""
    missing: list[Member] = field(default_factory=list)
    """Should have a sample and have none."""


def classify(members: Sequence[Member], reading: Reading, timing: Timing, now: datetime, *, is_cpu: bool) -> Classes:
    """The classes of all members. Only for CPU does readiness matter: starting costs CPU that is not load."""
    classes = Classes()
    for member in members:
        if member.phase is MemberPhase.DELETING or member.phase is MemberPhase.FAILED:
            continue
        if member.phase is MemberPhase.PENDING:
            classes.unready.append(member)
        elif member.name not in reading.by_member:
            classes.missing.append(member)
        elif is_cpu and _is_starting(member, reading, timing, now):
            classes.unready.append(member)
        else:
            classes.ready.append(member)
    return classes


def _is_starting(member: Member, reading: Reading, timing: Timing, now: datetime) -> bool:
    """Whether its CPU sample is of the time before it served."""
    if member.ready is None or member.started_at is None:
        return True
    changed = member.ready_changed_at
    if member.started_at + timing.cpu_initialization > now:
        sampled = reading.at or now
        return not member.ready or (changed is not None and sampled < changed + reading.window)
    if member.ready:
        return False
    return changed is None or member.started_at + timing.initial_readiness_delay > changed


def serving(members: Collection[Member]) -> int:
    """How many run and say that they are ready."""
    return sum(member.phase is MemberPhase.RUNNING and member.ready is True for member in members)
