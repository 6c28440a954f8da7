"""What backtests are made of, and what they need from the world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

from opsuite_runs.port import Call
from opsuite_scaler.domain.simulation.contenders import Contender
from opsuite_scaler.domain.simulation.plant import Site
from opsuite_scaler.domain.simulation.report import Best, Measures, Parting
from opsuite_scaler.domain.simulation.traces import Trace


class BacktestState(Enum):
    """Where a backtest stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Series:
    """What happened, thinned out to what a plot can show; every entry stands for `stride` steps of time."""

    start: datetime
    step: timedelta
    """Time between two entries."""
    load: Sequence[float]
    """Mean over the steps of an entry."""
    serving: Sequence[int]
    """Fewest that served."""
    desired: Sequence[int]
    """At the end of them."""
    reason: Sequence[str]
    """Of the last decision before."""


@dataclass(frozen=True, slots=True)
class Played:
    """How one contender did."""

    contender: str
    measures: Measures
    best: Best
    reasons: Mapping[str, int]
    """Steps of time during which each reason was the last."""
    series: Series | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be played."""

    trace: Trace
    contenders: tuple[Contender, ...]
    site: Site
    keep_series: bool = False
    compares: bool = False
    """Tell where the first two part ways."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was played."""

    played: tuple[Played, ...]
    partings: tuple[Parting, ...] = ()
    ticks: int = 0


@dataclass(frozen=True, slots=True)
class BacktestRecord:
    """A backtest as it is kept."""

    id: str
    display_name: str
    state: BacktestState
    progress: float
    created_at: datetime
    created_by: str
    beat_at: datetime
    """When its server last said that it goes on."""
    error: str = ""
    ended_at: datetime | None = None
    ticks: int = 0
    played: tuple[Played, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptTrace:
    """A trace under a name."""

    name: str
    metric: str
    trace: Trace


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the backtests, the newest first."""

    records: Sequence[BacktestRecord]
    next_before: str
    """Id before which the next page begins; empty after the last."""


class Simulator(Protocol):
    """Plays jobs without holding up whoever asks."""

    async def play(self, job: Job, progress: Callable[[float], None]) -> Outcome:
        """What becomes of a job; a caller that is cancelled ends it. `progress` is told the share that is done.

        Raises: InvalidInput (what a policy asks for cannot be played), Unavailable (the helper died).
        """


class Backtests(Protocol):
    """Keeps backtests and traces."""

    async def add(self, record: BacktestRecord, call: Call) -> str:
        """Keep a new one; returns its id, or that of the first answer to the same call."""

    async def beat(self, backtest: str, progress: float) -> bool:
        """Say that it goes on; False when somebody has ended it."""

    async def end(self, record: BacktestRecord) -> None:
        """Keep how it ended, unless somebody else has ended it."""

    async def get(self, backtest: str) -> BacktestRecord | None:
        """One with its series."""

    async def page(self, size: int, before: str) -> Page:
        """Those older than an id (all for ""), without series."""

    async def keep_trace(self, kept: KeptTrace, call: Call, *, replace: bool) -> bool:
        """Keep a trace; False when the name is taken and `replace` is not asked for."""

    async def trace(self, name: str) -> KeptTrace | None:
        """A kept trace."""


class Ranges(Protocol):
    """Tells what a metric source measured over time."""

    async def range(self, source: str, query: str, span: Span) -> Sequence[tuple[datetime, float]]:
        """Values in the order of time. Raises: NotFound (source), InvalidInput (query), Unavailable."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time and how finely it is looked at."""

    start: datetime
    end: datetime
    step: timedelta


class Histories(Protocol):
    """Tells what was observed of policies."""

    async def loads(self, policy: str, metric: str, since: datetime | None) -> Sequence[tuple[datetime, float]]:
        """Load of a metric (see `domain.demand`) in the order of time, from `since` on."""
