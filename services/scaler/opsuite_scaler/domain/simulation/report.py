"""What a simulation came to, in numbers that can be compared, and where two scalers parted ways."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from opsuite_scaler.domain.simulation.backtest import Change, Track
from opsuite_scaler.domain.simulation.optimum import Bounds, optimum, served

FLAP_WINDOW: Final = timedelta(minutes=10)
"""A change against the one before counts as a reversal when it follows within this time."""
DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Measures:
    """One scaler on one trace. Areas are replica-hours."""

    ticks: int
    hours: float
    replica_hours: float
    cost: float
    violation_minutes: float
    under_provision: float
    """Replica-hours that were missing."""
    over_provision: float
    """Replica-hours that served and were not needed."""
    scale_ups: int
    scale_downs: int
    reversals: int
    reversals_per_day: float
    blind_scale_downs: int
    """Made while a metric was faulty."""
    time_to_capacity_p50_seconds: float
    """From the first tick with too few replicas until there are enough; of all such episodes."""
    time_to_capacity_p95_seconds: float
    time_to_capacity_mean_seconds: float
    utilization_p50_percent: float
    utilization_p95_percent: float
    utilization_p99_percent: float
    longest_queue: float
    peak_replicas: int
    final_replicas: int
    capacity_per_replica: float
    """Load that one replica was taken to serve without a violation."""


@dataclass(frozen=True, slots=True)
class Best:
    """What a clairvoyant would have paid for, and what not even they could have served."""

    replica_hours: float
    violation_minutes: float


@dataclass(frozen=True, slots=True)
class Parting:
    """A time during which two scalers had different sizes."""

    from_seconds: float
    until_seconds: float
    first: int
    """Size of the first at the beginning of it."""
    second: int
    first_reason: str
    """Reason of the last change before or at the beginning; empty if there was none."""
    second_reason: str


def need_of(track: Track) -> list[int]:
    """Fewest replicas that keep each tick within what the site tolerates."""
    per_replica = _tolerated(track)
    return [math.ceil(load / per_replica - 1e-9) for load in track.load]


def _tolerated(track: Track) -> float:
    return track.site.capacity * track.site.tolerated_percent / 100


def measured(track: Track) -> Measures:
    """What a track came to."""
    need, tick_hours = need_of(track), track.tick / timedelta(hours=1)
    missing = [max(0, least - there) for least, there in zip(need, track.serving, strict=True)]
    spare = [max(0, there - least) for least, there in zip(need, track.serving, strict=True)]
    hours = len(track.load) * tick_hours
    replica_hours = sum(track.size) * tick_hours
    turns = reversals(track)
    waits = sorted(length * track.tick.total_seconds() for length in _episodes(missing))
    busy = sorted(_utilization(track))
    return Measures(
        ticks=len(track.load),
        hours=_rounded(hours),
        replica_hours=_rounded(replica_hours),
        cost=_rounded(replica_hours * track.site.price_per_replica_hour),
        violation_minutes=_rounded(sum(1 for one in missing if one) * tick_hours * 60),
        under_provision=_rounded(sum(missing) * tick_hours),
        over_provision=_rounded(sum(spare) * tick_hours),
        scale_ups=sum(1 for change in track.changes if change.after > change.before),
        scale_downs=sum(1 for change in track.changes if change.after < change.before),
        reversals=turns,
        reversals_per_day=_rounded(turns / hours * 24 if hours else 0.0),
        blind_scale_downs=sum(1 for change in track.changes if change.blind and change.after < change.before),
        time_to_capacity_p50_seconds=percentile(waits, 50),
        time_to_capacity_p95_seconds=percentile(waits, 95),
        time_to_capacity_mean_seconds=_rounded(sum(waits) / len(waits) if waits else 0.0),
        utilization_p50_percent=percentile(busy, 50),
        utilization_p95_percent=percentile(busy, 95),
        utilization_p99_percent=percentile(busy, 99),
        peak_replicas=max(track.size, default=track.site.initial_replicas),
        longest_queue=_rounded(max(track.queue, default=0.0)),
        final_replicas=track.size[-1] if track.size else track.site.initial_replicas,
        capacity_per_replica=_tolerated(track),
    )


def best_of(track: Track, min_replicas: int, max_replicas: int) -> Best:
    """The optimum for the same trace, site and ticks."""
    need, tick_hours = need_of(track), track.tick / timedelta(hours=1)
    bounds = bounds_of(track, min_replicas, max_replicas)
    sizes = optimum(need, bounds)
    short = sum(1 for least, there in zip(need, served(sizes, bounds), strict=True) if there < least)
    return Best(_rounded(sum(sizes) * tick_hours), _rounded(short * tick_hours * 60))


def bounds_of(track: Track, min_replicas: int, max_replicas: int) -> Bounds:
    """What the optimum for a track is held to."""
    startup = max(1, -(-track.site.startup // track.tick))
    return Bounds(min_replicas, max_replicas, track.site.initial_replicas, startup)


def reversals(track: Track, window: timedelta = FLAP_WINDOW) -> int:
    """How often a change undid the direction of the one before within the window: the flap score."""
    most = window // track.tick
    return sum(
        1
        for before, after in zip(track.changes, track.changes[1:], strict=False)
        if after.tick - before.tick <= most and _rises(before) != _rises(after)
    )


def partings(first: Track, second: Track, most: int = 100) -> list[Parting]:
    """Where the sizes of two scalers on one trace differed, the earliest first, `most` at most. Ticks may differ."""
    found: list[Parting] = []
    moments = sorted({*_moments(first), *_moments(second)})
    if not moments:
        return []
    end = min(len(one.size) * one.tick.total_seconds() for one in (first, second))
    for at, until in zip(moments, [*moments[1:], end], strict=True):
        ours, theirs = _at(first, at), _at(second, at)
        if ours[0] == theirs[0] or at >= end:
            continue
        if found and found[-1].until_seconds == at:
            found[-1] = replace(found[-1], until_seconds=until)
        elif len(found) < most:
            found.append(Parting(at, until, ours[0], theirs[0], ours[1], theirs[1]))
        else:
            break
    return found


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The nearest rank of values in order; 0 of nothing."""
    if not ordered:
        return 0.0
    rank = math.ceil(len(ordered) * percent / 100)
    return _rounded(ordered[max(0, rank - 1)])


def _episodes(missing: Sequence[int]) -> list[int]:
    """Lengths of the runs with too few replicas."""
    lengths, run = [], 0
    for one in missing:
        if one:
            run += 1
        elif run:
            lengths.append(run)
            run = 0
    return [*lengths, run] if run else lengths


def _utilization(track: Track) -> list[float]:
    """Percent of the capacity that served; without a replica 0 for no load and 1000 for any."""
    capacity = track.site.capacity
    return [
        100 * load / (there * capacity) if there else (1000.0 if load else 0.0)
        for load, there in zip(track.load, track.serving, strict=True)
    ]


def _moments(track: Track) -> list[float]:
    return [change.tick * track.tick.total_seconds() for change in track.changes]


def _at(track: Track, seconds: float) -> tuple[int, str]:
    """Size and reason of the last change at a moment."""
    tick = int(seconds // track.tick.total_seconds())
    last = None
    for change in track.changes:
        if change.tick > tick:
            break
        last = change
    return (last.after, last.reason) if last else (track.site.initial_replicas, "")


def _rises(change: Change) -> bool:
    return change.after > change.before


def _rounded(number: float) -> float:
    return round(number, DIGITS)
