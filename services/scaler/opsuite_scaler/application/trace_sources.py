"""Where traces come from: given as they are, kept, made up, recorded of a policy, or asked of Prometheus."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import fmean
from typing import Final

from opsuite_kernel.errors import InvalidInput, NotFound, Violation
from opsuite_scaler.application.errors import PolicyNotFound
from opsuite_scaler.application.looking import load
from opsuite_scaler.application.rehearsal import Backtests, Histories, KeptTrace, Ranges, Span
from opsuite_scaler.application.store import Store
from opsuite_scaler.domain.policy import ScalingPolicy
from opsuite_scaler.domain.simulation.generators import KINDS, Shape, generate
from opsuite_scaler.domain.simulation.traces import MAX_STEPS, Mark, Trace

DEFAULT_STEP: Final = timedelta(seconds=15)
SHORTEST_STEP, LONGEST_STEP = timedelta(milliseconds=100), timedelta(days=1)
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Of a trace: policies look back and ahead of it, and no calendar goes on for ever."""


@dataclass(frozen=True, slots=True)
class Made:
    """A made-up trace."""

    kind: str
    seed: int
    shape: Shape


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was seen of a policy."""

    policy: str
    metric: str
    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A range of a source."""

    source: str
    query: str
    span: Span


Wanted = KeptTrace | str | Made | Recorded | Asked
"""A trace as it is, the name of a kept one, or what to make one of."""


class TraceSources:
    """Gets traces, wherever they are from."""

    def __init__(self, *, backtests: Backtests, store: Store, histories: Histories, ranges: Ranges | None) -> None:
        self._backtests = backtests
        self._store = store
        self._histories = histories
        self._ranges = ranges

    async def trace(self, wanted: Wanted) -> KeptTrace:
        """The trace. Raises: NotFound, InvalidInput (no such generator; too long or too short), Unavailable."""
        match wanted:
            case KeptTrace():
                return wanted
            case str():
                return await self._kept(wanted)
            case Made():
                return KeptTrace("", "load", await asyncio.to_thread(_made, wanted))
            case Recorded():
                return await self._recorded(wanted)
            case Asked():
                return await self._asked(wanted)

    async def policy(self, name: str) -> ScalingPolicy:
        """A recorded policy. Raises: PolicyNotFound."""
        loaded = await self._store.read(lambda tx: load(tx, name))
        if loaded is None:
            raise PolicyNotFound(name)
        return loaded.record.policy

    async def _kept(self, name: str) -> KeptTrace:
        found = await self._backtests.trace(name)
        if found is None:
            raise NotFound("trace", f"traces/{name}")
        return found

    async def _recorded(self, wanted: Recorded) -> KeptTrace:
        policy = await self.policy(wanted.policy)
        names = [spec.name for spec in policy.metrics]
        metric = wanted.metric or next(iter(names), "")
        if metric not in names:
            raise _invalid("recorded.metric", f"is none of {', '.join(names) or 'no metrics'}")
        if wanted.start is not None and wanted.end is not None and wanted.end <= wanted.start:
            raise _invalid("recorded.end_time", "must be after start_time")
        points = await self._histories.loads(wanted.policy, metric, wanted.start)
        until = [one for one in points if wanted.end is None or one[0] <= wanted.end]
        return KeptTrace("", metric, evenly(wanted.policy, until, "recorded"))

    async def _asked(self, wanted: Asked) -> KeptTrace:
        if wanted.span.end <= wanted.span.start:
            raise _invalid("prometheus.end_time", "must be after start_time")
        if wanted.span.step > wanted.span.end - wanted.span.start:
            raise _invalid("prometheus.step", "must not be longer than the range")
        if self._ranges is None:
            raise NotFound("metric source", wanted.source)
        points = await self._ranges.range(wanted.source, wanted.query, wanted.span)
        return KeptTrace("", "load", evenly(wanted.source, points, "prometheus", wanted.span.step))


def _made(wanted: Made) -> Trace:
    if wanted.kind not in KINDS:
        raise _invalid("generator.name", f"is none of {', '.join(KINDS)}")
    if not 2 <= wanted.shape.steps <= MAX_STEPS:
        raise _invalid("generator.duration", f"must be from 2 to {MAX_STEPS} steps")
    try:
        trace = generate(wanted.kind, wanted.seed, wanted.shape)
    except ArithmeticError as error:  # one that does something each hour has steps of an hour at most
        raise _invalid("generator.step", f"is too long for {wanted.kind}") from error
    if not math.isfinite(max(trace.values)):
        raise _invalid("generator.scale", "must leave the load finite")
    return trace


def refuse_impossible(trace: Trace, path: str) -> None:
    """Raises: InvalidInput (steps or times that nothing can be played in)."""
    if not SHORTEST_STEP <= trace.step <= LONGEST_STEP:
        problem = f"must have steps of {SHORTEST_STEP.total_seconds():g} s to {LONGEST_STEP.total_seconds():g} s"
    elif trace.start < EARLIEST or trace.start > LATEST or trace.duration > LATEST - trace.start:
        problem = f"must lie between the years {EARLIEST.year} and {LATEST.year}"
    else:
        return
    raise InvalidInput([Violation(path, problem, "RANGE")], reason="TRACE_INVALID")


def evenly(name: str, points: Sequence[tuple[datetime, float]], path: str, step: timedelta | None = None) -> Trace:
    """A trace with even steps: means where there are several values, gaps where there is none."""
    if len(points) < 2:
        raise _invalid(path, "has fewer than two values")
    step = step or max(DEFAULT_STEP, min(later - earlier for (earlier, _), (later, _) in pairwise(points)))
    start = points[0][0]
    found: dict[int, list[float]] = {}
    for at, value in points:
        found.setdefault((at - start) // step, []).append(max(0.0, value))
    count = max(found) + 1
    if count > MAX_STEPS:
        raise _invalid(path, f"has more than {MAX_STEPS} steps")
    values: list[float] = []
    marks = bytearray(count)
    for index in range(count):
        there = found.get(index)
        values.append(fmean(there) if there else values[-1])
        marks[index] = Mark.NONE if there else Mark.GAP
    return Trace(name, step, tuple(values), bytes(marks) if any(marks) else b"", start)


def _invalid(path: str, problem: str) -> InvalidInput:
    return InvalidInput([Violation(f"trace.{path}", problem)], reason="TRACE_INVALID")
