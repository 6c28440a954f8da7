"""How long incidents take: MTTA, from opening to the first acknowledgement, and MTTR, from opening to resolution."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from opsuite_healer.domain.incidents.incident import Resolver
from opsuite_healer.domain.trouble import Severity


@dataclass(frozen=True, slots=True)
class Sample:
    """An incident, as far as it is counted."""

    issue: str
    severity: Severity
    opened_at: datetime
    acknowledged_at: datetime | None = None
    """For the first time."""
    resolved_at: datetime | None = None
    resolved_by: Resolver | None = None
    is_escalated: bool = False


@dataclass(frozen=True, slots=True)
class Statistics:
    """What incidents have in common. Durations are None where there is nothing to measure."""

    opened: int
    open: int
    acknowledged: int
    resolved: int
    resolved_by_action: int
    resolved_by_itself: int
    escalated: int
    mtta: timedelta | None
    mttr: timedelta | None
    median_resolve: timedelta | None
    p90_resolve: timedelta | None


def statistics(samples: Iterable[Sample]) -> Statistics:
    """Of all of them; merged ones, which go on elsewhere, are not counted."""
    counted = [one for one in samples if one.resolved_by is not Resolver.MERGE]
    acknowledged = [one.acknowledged_at - one.opened_at for one in counted if one.acknowledged_at]
    resolved = sorted(one.resolved_at - one.opened_at for one in counted if one.resolved_at)
    return Statistics(
        opened=len(counted),
        open=len(counted) - len(resolved),
        acknowledged=len(acknowledged),
        resolved=len(resolved),
        resolved_by_action=sum(one.resolved_by is Resolver.ACTION for one in counted),
        resolved_by_itself=sum(one.resolved_by is Resolver.AUTO for one in counted),
        escalated=sum(one.is_escalated for one in counted),
        mtta=_mean(acknowledged),
        mttr=_mean(resolved),
        median_resolve=_rank(resolved, 0.5),
        p90_resolve=_rank(resolved, 0.9),
    )


def by_group(samples: Iterable[Sample], group: Callable[[Sample], str]) -> Mapping[str, Statistics]:
    """The same for each group."""
    groups: defaultdict[str, list[Sample]] = defaultdict(list)
    for one in samples:
        groups[group(one)].append(one)
    return {name: statistics(members) for name, members in groups.items()}


def _mean(durations: Sequence[timedelta]) -> timedelta | None:
    return sum(durations, timedelta()) / len(durations) if durations else None


def _rank(durations: Sequence[timedelta], share: float) -> timedelta | None:
    """The shortest of the sorted durations within which that share lies (nearest rank)."""
    return durations[ceil(share * len(durations)) - 1] if durations else None
