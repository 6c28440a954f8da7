"""Twelve kinds of load that ask different things of an autoscaler. Seeded: the same seed gives the same bytes.

They mimic what published traces show (days and weeks, flash crowds, sparse functions) and what breaks autoscalers
(resonance with the loop, faulty metrics, rollouts, noise at the edge of the tolerance). Loads are for a site whose
replicas serve 100 each: 700 keeps ten of them at 70 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Final

from opsuite_scaler.domain.simulation.traces import Mark, Trace

BASE: Final = 700.0
HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Shape:
    """How long a generated trace is, and how long its season."""

    duration: timedelta = timedelta(hours=6)
    step: timedelta = timedelta(seconds=15)
    season: timedelta = timedelta(days=1)
    """Of the kinds that have one: a day, unless a shorter one is asked for to save time."""
    scale: float = 1.0
    """Multiplies the load."""

    @property
    def steps(self) -> int:
        """Number of values."""
        return self.duration // self.step


def generate(kind: str, seed: int, shape: Shape | None = None) -> Trace:
    """A trace of one of `KINDS`. Raises: KeyError (no such kind)."""
    shape = shape or Shape()
    values, marks = KINDS[kind](Random(f"{kind}/{seed}"), shape)  # noqa: S311  # chance that can be had again
    scaled = tuple(round(max(0.0, value * shape.scale), 3) for value in values)
    return Trace(f"{kind}-{seed}", shape.step, scaled, marks)


Made = tuple[Iterable[float], bytes]


def _seconds(shape: Shape) -> list[float]:
    step = shape.step.total_seconds()
    return [index * step for index in range(shape.steps)]


def _season(at: float, shape: Shape) -> float:
    """A working day between 0 (night) and 1 (noon), flat at both ends, as people's days are."""
    phase = 2 * math.pi * at / shape.season.total_seconds()
    return 1 / (1 + math.exp(4 * math.cos(phase)))


def _noise(random: Random, spread: float) -> float:
    return random.lognormvariate(0.0, spread)


def daily_weekly(random: Random, shape: Shape) -> Made:
    """Days and weeks, with log-normal noise: the sixth and seventh season are quiet."""
    season = shape.season.total_seconds()
    return [
        BASE * (0.3 + 1.7 * _season(at, shape)) * (0.6 if at // season % 7 >= 5 else 1.0) * _noise(random, 0.03)
        for at in _seconds(shape)
    ], b""


def step(random: Random, shape: Shape) -> Made:
    """Up to the fourfold at a third of the time, back at two thirds."""
    third = shape.steps / 3
    return [BASE * (4 if third <= index < 2 * third else 1) * _noise(random, 0.02) for index in range(shape.steps)], b""


def ramp(random: Random, shape: Shape) -> Made:
    """Evenly up to the fivefold, and down again."""
    half = shape.steps / 2
    return [BASE * (5 - 4 * abs(1 - index / half)) * _noise(random, 0.02) for index in range(shape.steps)], b""


def flash_crowd(random: Random, shape: Shape) -> Made:
    """Ten times as much within a minute, then a slow decay; every two hours."""
    return [BASE / 2 * (1 + 9 * _flash(at % 7200 - 1800)) * _noise(random, 0.03) for at in _seconds(shape)], b""


def _flash(at: float) -> float:
    if at < 0:
        return 0.0
    return at / 60 if at < 60 else math.exp(-(at - 60) / 900)


def on_off(random: Random, shape: Shape) -> Made:
    """Work that is there for a fifth of each season and not at all between."""
    season = shape.season.total_seconds()
    return [
        BASE * (3.0 if 0.4 <= at % season / season < 0.6 else 0.15) * _noise(random, 0.03) for at in _seconds(shape)
    ], b""


def bursty(random: Random, shape: Shape) -> Made:
    """Arrivals of a Poisson process that switches between a calm and a busy rate (MMPP)."""
    busy, values = False, []
    seconds = shape.step.total_seconds()
    for _ in range(shape.steps):
        stay = 300.0 if busy else 900.0
        busy = busy ^ (random.random() < 1 - math.exp(-seconds / stay))
        rate = BASE * (3.0 if busy else 0.7)
        values.append(random.normalvariate(rate, math.sqrt(rate / seconds) * 4))
    return values, b""


def sparse(random: Random, shape: Shape) -> Made:
    """Calls of a function: nothing for many minutes, then sometimes very many (Pareto)."""
    values: list[float] = []
    while len(values) < shape.steps:
        idle = int(random.expovariate(1 / 40)) + 1
        call = min(BASE * 4, BASE / 10 * random.paretovariate(1.1))
        values += [0.0] * idle + [call] * random.randint(2, 12)
    return values[: shape.steps], b""


def sawtooth(random: Random, shape: Shape) -> Made:
    """Between the half and the one-and-a-half every minute: what resonates with the loop makes it flap."""
    return [BASE * (0.5 + at % 60 / 60 * 1.33) * _noise(random, 0.01) for at in _seconds(shape)], b""


def trend_shift(random: Random, shape: Shape) -> Made:
    """Days on a rising trend, and in the middle of it all a jump that stays."""
    length = shape.duration.total_seconds()
    return [
        BASE
        * (0.4 + 1.1 * _season(at, shape) + 0.5 * at / length + (0.6 if at > length * 0.7 else 0))
        * _noise(random, 0.03)
        for at in _seconds(shape)
    ], b""


def faults(random: Random, shape: Shape) -> Made:
    """A wave, and a source that fails in every way there is."""
    values = [BASE * (1.5 + math.sin(2 * math.pi * at / 7200)) * _noise(random, 0.03) for at in _seconds(shape)]
    marks = bytearray(shape.steps)
    index = 60
    while index < shape.steps:
        kind = random.choice([Mark.GAP, Mark.ERROR, Mark.STALE, Mark.FALSE_ZERO])
        length = 1 if kind is Mark.FALSE_ZERO else random.randint(2, 40)
        for at in range(index, min(index + length, shape.steps)):
            marks[at] = kind
        index += length + random.randint(30, 120)
    return values, bytes(marks)


def rollout(random: Random, shape: Shape) -> Made:
    """Even load, and a rollout of five minutes every hour."""
    values = [BASE * 1.2 * _noise(random, 0.02) for _ in range(shape.steps)]
    hour, length = HOUR // shape.step, timedelta(minutes=5) // shape.step
    marks = bytes(Mark.ROLLOUT if index % hour >= hour - length else Mark.NONE for index in range(shape.steps))
    return values, marks


def tolerance_edge(random: Random, shape: Shape) -> Made:
    """Noise around just as much above the target as is let pass: what has no memory turns round and round."""
    return [BASE * 1.1 * (1 + random.uniform(-0.02, 0.02)) for _ in range(shape.steps)], b""


KINDS: Final[Mapping[str, Callable[[Random, Shape], Made]]] = {
    "daily_weekly": daily_weekly,
    "step": step,
    "ramp": ramp,
    "flash_crowd": flash_crowd,
    "on_off": on_off,
    "bursty": bursty,
    "sparse": sparse,
    "sawtooth": sawtooth,
    "trend_shift": trend_shift,
    "faults": faults,
    "rollout": rollout,
    "tolerance_edge": tolerance_edge,
}
SEASONAL: Final = frozenset({"daily_weekly", "on_off", "trend_shift"})
