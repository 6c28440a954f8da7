"""A trace: what load there was, step after step, and what else happened then. Read from and written to CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final

from opsuite_kernel.errors import InvalidInput, Violation

MONDAY: Final = datetime(2026, 1, 5, tzinfo=UTC)
"""Where a trace without a date of its own begins: a Monday, so that weeks and schedules are whole."""
MAX_STEPS: Final = 5_000_000
HEADER: Final = ("offset_seconds", "value", "mark")


class Mark(IntEnum):
    """What was the matter at a step; one byte in `Trace.marks`."""

    NONE = 0
    GAP = 1
    """The source answered and had no sample."""
    ERROR = 2
    """The source did not answer."""
    STALE = 3
    """The source kept giving the sample from before."""
    FALSE_ZERO = 4
    """The source said 0, and it was not so."""
    ROLLOUT = 5
    """A new version was being rolled out: surge replicas, and CPU for their start."""


METRIC_FAULTS: Final = frozenset({Mark.GAP, Mark.ERROR, Mark.STALE, Mark.FALSE_ZERO})


@dataclass(frozen=True, slots=True)
class Trace:
    """Load over time, in whatever unit `Site.capacity` has; a value holds for the whole of its step."""

    name: str
    step: timedelta
    values: tuple[float, ...]
    """Finite, at least 0."""
    marks: bytes = b""
    """One `Mark` for each step; empty when nothing was the matter."""
    start: datetime = MONDAY

    @property
    def duration(self) -> timedelta:
        """From the beginning of the first step to the end of the last."""
        return self.step * len(self.values)

    def mark(self, index: int) -> int:
        """What was the matter at a step."""
        return self.marks[index] if self.marks else 0

    def written(self) -> str:
        """It as CSV, with LF at the end of each line; `read` gives the very same trace."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HEADER if self.marks else HEADER[:2])
        step = self.step.total_seconds()
        for index, value in enumerate(self.values):
            row = [_number(index * step), _number(value)]
            writer.writerow([*row, Mark(self.marks[index]).name.lower()] if self.marks else row)
        return text.getvalue()


def read(name: str, text: str, start: datetime = MONDAY) -> Trace:
    """A trace of CSV: on each line seconds or a time in ISO 8601, a value, and perhaps a mark.

    A first line of names is optional; times must be evenly spaced. Raises: InvalidInput with the line of every mistake,
    of the first twenty only.
    """
    found: list[Violation] = []
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    if rows and _is_header(rows[0]):
        rows = rows[1:]
    times: list[float] = []
    values: list[float] = []
    marks = bytearray()
    for number, row in enumerate(rows, 1):
        try:
            at, value, mark = _row(row)
        except ValueError as error:
            found.append(Violation(f"csv[{number}]", str(error)))
            continue
        times.append(at)
        values.append(value)
        marks.append(mark)
    if len(values) < 2:
        found.append(Violation("csv", "must have at least two lines of values"))
    if len(values) > MAX_STEPS:
        found.append(Violation("csv", f"must not have more than {MAX_STEPS} lines"))
    if found:
        raise InvalidInput(found[:20], reason="TRACE_INVALID")
    step = times[1] - times[0]
    refuse_uneven(times, step)
    begin = datetime.fromtimestamp(times[0], UTC) if times[0] > 1e8 else start
    return Trace(name, timedelta(seconds=step), tuple(values), bytes(marks) if any(marks) else b"", begin)


def refuse_uneven(times: Sequence[float], step: float) -> None:
    """Raises: InvalidInput when times do not follow one another in equal steps."""
    if step <= 0:
        raise InvalidInput([Violation("csv[2]", "must be later than the line before")], reason="TRACE_INVALID")
    for index, at in enumerate(times):
        if abs(at - times[0] - index * step) > step / 100:
            problem = f"must be {step:g} s after the line before, as the first two lines are"
            raise InvalidInput([Violation(f"csv[{index + 1}]", problem)], reason="TRACE_INVALID")


def resampled(trace: Trace, tick: timedelta) -> tuple[list[float], bytes]:
    """Mean load and the worst mark of each tick, for as many whole ticks as there are."""
    step = trace.step
    if step == tick:
        return list(trace.values), trace.marks
    ticks = trace.duration // tick
    if tick < step and step % tick == timedelta(0):  # the common case, and exact
        times = step // tick
        values = [value for value in trace.values for _ in range(times)]
        return values, bytes(mark for mark in trace.marks for _ in range(times))
    pairs = [_over(trace, index * tick, (index + 1) * tick) for index in range(ticks)]
    return [value for value, _ in pairs], bytes(mark for _, mark in pairs) if trace.marks else b""


def _over(trace: Trace, begin: timedelta, end: timedelta) -> tuple[float, int]:
    """Mean load between two moments, and the worst mark."""
    total, mark = 0.0, 0
    for index in _touched(trace, begin, end):
        part = min(end, (index + 1) * trace.step) - max(begin, index * trace.step)
        total += trace.values[index] * (part / (end - begin))
        mark = max(mark, trace.mark(index))
    return total, mark


def _touched(trace: Trace, begin: timedelta, end: timedelta) -> Iterator[int]:
    return iter(range(begin // trace.step, min(-(-end // trace.step), len(trace.values))))


def _is_header(row: Sequence[str]) -> bool:
    try:
        _row(row)
    except ValueError:
        return not any(character.isdigit() for character in "".join(row[:2]))
    return False


def _row(row: Sequence[str]) -> tuple[float, float, int]:
    if len(row) not in (2, 3):
        raise ValueError("must have a time, a value and perhaps a mark")
    value = float(row[1])
    if not math.isfinite(value) or value < 0:
        raise ValueError("must have a value that is finite and not below 0")
    return _seconds(row[0]), value, _mark(row[2]) if len(row) == 3 and row[2] else 0


def _seconds(text: str) -> float:
    try:
        at = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(at):
        raise ValueError("must have a time that is finite")
    return at


def _mark(text: str) -> int:
    try:
        return Mark[text.strip().upper()]
    except KeyError:
        known = ", ".join(mark.name.lower() for mark in Mark)
        raise ValueError(f"has the mark {text!r}, which is none of {known}") from None


def _number(value: float) -> str:
    """The shortest text that reads as the same number."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
