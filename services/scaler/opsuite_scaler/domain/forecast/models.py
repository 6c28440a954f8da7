"""Models of a load with a season. Values arrive one by one; each model says what it expects some steps ahead.

Holt-Winters is the additive one with a damped trend (Hyndman and Athanasopoulos, "Forecasting: Principles and
Practice", 3rd ed., 8.3 and 8.4). Fitting its parameters is left to a library behind `Fit`; following the load with
fitted parameters is the recursion below, which costs the same few operations at every step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Model(Protocol):
    """Something that follows a load and expects."""

    def follow(self, value: float | None) -> None:
        """Take the next value; None where none was seen: then it takes what it expected."""

    def ahead(self, steps: int) -> float:
        """What is expected so many steps (at least 1) after the last value; never below 0."""


class Persistence:
    """It stays as it is: what scaling without a forecast amounts to."""

    def __init__(self) -> None:
        self._last = 0.0

    def follow(self, value: float | None) -> None:
        """Remember it."""
        self._last = self._last if value is None else value

    def ahead(self, steps: int) -> float:
        """The last value."""
        return self._last


class SeasonalNaive:
    """It will be as it was a season ago."""

    def __init__(self, season: int) -> None:
        self._past: deque[float] = deque(maxlen=season)

    def follow(self, value: float | None) -> None:
        """Remember it for a season."""
        self._past.append(self.ahead(1) if value is None else value)

    def ahead(self, steps: int) -> float:
        """The value a season before; before the first season is over the last one."""
        season = self._past.maxlen
        if len(self._past) == season:
            return self._past[(steps - 1) % season]
        return self._past[-1] if self._past else 0.0


@dataclass(frozen=True, slots=True)
class HoltWintersParameters:
    """What a fit gives: how fast each part follows, and where it all began before the first value."""

    alpha: float
    """Of the level, 0 to 1."""
    beta: float
    """Of the trend."""
    gamma: float
    """Of the season."""
    phi: float
    """How much of the trend is left after a step, 0 to 1."""
    level: float
    trend: float
    seasonal: tuple[float, ...]
    """One entry for each step of a season, that of the first value first."""


class Fit(Protocol):
    """What finds parameters."""

    def __call__(self, values: Sequence[float], season: int) -> HoltWintersParameters:
        """Parameters for at least two seasons of values. Takes a while, and waits for nothing.

        Raises: Unavailable (no parameters could be found, or the library is not installed).
        """


class HoltWinters:
    """Level, damped trend and season, each followed at its own speed."""

    def __init__(self, parameters: HoltWintersParameters) -> None:
        self._parameters = parameters
        self._level, self._trend = parameters.level, parameters.trend
        self._seasonal = deque(parameters.seasonal, maxlen=len(parameters.seasonal))

    def follow(self, value: float | None) -> None:
        """Move every part towards the value."""
        fit, season = self._parameters, self._seasonal[0]
        expected = self._level + fit.phi * self._trend
        if value is None:
            value = expected + season
        level = fit.alpha * (value - season) + (1 - fit.alpha) * expected
        self._trend = fit.beta * (level - self._level) + (1 - fit.beta) * fit.phi * self._trend
        self._seasonal.append(fit.gamma * (value - expected) + (1 - fit.gamma) * season)
        self._level = level

    def ahead(self, steps: int) -> float:
        """Level, what is left of the trend by then, and the season."""
        damped, power = 0.0, 1.0
        for _ in range(steps):
            power *= self._parameters.phi
            damped += power
        season = self._seasonal[(steps - 1) % len(self._seasonal)]
        return max(0.0, self._level + damped * self._trend + season)
