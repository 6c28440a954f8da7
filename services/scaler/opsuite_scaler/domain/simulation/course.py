"""The standard course: twelve loads, four ways to scale, and the optimum. Every figure follows from the seed alone.

Loads without a season last six hours. Those with one have a season of two hours, five times over, so that a forecast
has two to learn from and three to show what it knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from opsuite_scaler.domain.policy import (
    FlapGuard,
    ForecastMode,
    ForecastSettings,
    MetricKind,
    MetricSpec,
    Resource,
    ScalingPolicy,
    TargetKind,
    TargetRef,
    TargetType,
)
from opsuite_scaler.domain.simulation.contenders import Baseline, Contender, Tools, play
from opsuite_scaler.domain.simulation.generators import KINDS, SEASONAL, Shape, generate
from opsuite_scaler.domain.simulation.plant import Site
from opsuite_scaler.domain.simulation.report import Measures, measured

SEASON: Final = timedelta(hours=2)
SITE: Final = Site(tolerated_percent=90.0, startup=timedelta(seconds=180))
CPU: Final = MetricSpec("cpu", MetricKind.RESOURCE, TargetType.UTILIZATION, 70, Resource.CPU, confirm_drop=True)
OURS: Final = ScalingPolicy(
    TargetRef(TargetKind.WORKLOAD, "web"), (CPU,), max_replicas=60, flaps=FlapGuard(adaptive_dead_band=True)
)
FORECAST: Final = ForecastSettings(ForecastMode.RAISE_FLOOR, season=SEASON, step=timedelta(minutes=2))
CONTENDERS: Final = (
    Contender("ours", OURS),
    Contender("hpa", OURS, Baseline.HPA),
    Contender("kpa", OURS, Baseline.KPA),
    Contender("threshold", OURS, Baseline.THRESHOLD),
    Contender("optimum", OURS, Baseline.OPTIMUM),
)
FORESEEING: Final = Contender("ours + forecast", replace(OURS, forecast=FORECAST))


@dataclass(frozen=True, slots=True)
class Run:
    """One contender on one load."""

    kind: str
    contender: str
    measures: Measures


def run_course(seed: int, tools: Tools, kinds: tuple[str, ...] = tuple(KINDS)) -> Iterator[Run]:
    """Every contender on every load, as they finish; on those with a season also ours with a forecast."""
    for kind in kinds:
        is_seasonal = kind in SEASONAL
        shape = Shape(5 * SEASON, season=SEASON) if is_seasonal else Shape()
        trace = generate(kind, seed, shape)
        for contender in [*CONTENDERS, FORESEEING] if is_seasonal else CONTENDERS:
            yield Run(kind, contender.name, measured(play(contender, trace, SITE, tools)))
