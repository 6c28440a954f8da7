"""A trace is driven through a scaler, tick by tick, and everything that happened is kept in plain columns.

`PolicyScaler` asks the very functions of the live loop, `decide` and `acted`; other scalers (see `baselines`) fit the
same protocol. Nothing here knows the time of day or chance, so equal input gives equal output.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from opsuite_scaler.domain.policy import MetricSpec
from opsuite_scaler.domain.simulation.plant import Plant, Site
from opsuite_scaler.domain.simulation.traces import METRIC_FAULTS, Trace, resampled
from opsuite_scaler.domain.snapshot import Foreseen, Snapshot

PROGRESS_EVERY: Final = 4096

Progress = Callable[[int, int], None]
"""Told of ticks done and ticks in all, now and then; what it raises ends the backtest: so one is cancelled."""


class Scaler(Protocol):
    """Something that wants a size, for a simulation."""

    name: str
    tick: timedelta
    specs: tuple[MetricSpec, ...]
    """What it reads."""

    def foreseen(self, now: datetime) -> Foreseen | None:
        """What it expects, for the snapshot it is about to see."""

    def wants(self, snapshot: Snapshot) -> tuple[int, str]:
        """The size to ask for now, with the reason in one word."""

    def changed(self, now: datetime) -> None:
        """The size it asked for last was accepted."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of size."""

    tick: int
    before: int
    after: int
    reason: str
    blind: bool
    """A metric was faulty at that moment."""


@dataclass(slots=True)
class Track:
    """What happened, one entry for each step of time."""

    name: str
    trace: str
    tick: timedelta
    site: Site
    start: datetime
    load: array[float] = field(default_factory=lambda: array("d"))
    size: array[int] = field(default_factory=lambda: array("l"))
    """Replicas asked for, after the decision of the step if there was one."""
    serving: array[int] = field(default_factory=lambda: array("l"))
    """Replicas that served, before it."""
    queue: array[float] = field(default_factory=lambda: array("d"))
    changes: list[Change] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """Reasons that were given, in the order of their first time."""
    reason: array[int] = field(default_factory=lambda: array("H"))
    """That of the decision in force at each step, as a place in `reasons`."""


def backtest(scaler: Scaler, trace: Trace, site: Site, progress: Progress | None = None) -> Track:
    """Drive a trace through a scaler, which is asked at each of its ticks; time passes in the steps of `pace_of`."""
    tick = pace_of(scaler.tick, trace.step)
    every = scaler.tick // tick
    loads, marks = resampled(trace, tick)
    plant = Plant(site, scaler.specs, tick, trace.start)
    track = Track(scaler.name, trace.name, tick, site, trace.start)
    now, total = trace.start, len(loads)
    places, place = {"": 0}, 0
    for index, load in enumerate(loads):
        now += tick
        plant.advance(now, load, marks[index] if marks else 0)
        track.load.append(load)
        track.serving.append(plant.serving)
        track.queue.append(plant.queue)
        if not index % every:
            wanted, reason = scaler.wants(plant.observe(scaler.foreseen(now)))
            place = places.setdefault(reason, len(places))
            if wanted != plant.size:
                _change(track, plant, index, wanted, reason)
                scaler.changed(now)
        track.size.append(plant.size)
        track.reason.append(place)
        if progress is not None and not index % PROGRESS_EVERY:
            progress(index, total)
    if progress is not None:
        progress(total, total)
    track.reasons = list(places)
    return track


def pace_of(tick: timedelta, step: timedelta) -> timedelta:
    """The steps of time for a scaler's tick and a trace's step: the shorter of them if it divides the other."""
    return step if step < tick and not tick % step else tick


def _change(track: Track, plant: Plant, tick: int, wanted: int, reason: str) -> None:
    track.changes.append(Change(tick, plant.size, wanted, reason, plant.mark in METRIC_FAULTS))
    plant.resize(wanted)
