"""Who takes part in a backtest: policies as they would decide, what other systems do, and the optimum."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from enum import Enum

from opsuite_kernel.errors import Unavailable
from opsuite_scaler.domain.expressions import Evaluate
from opsuite_scaler.domain.forecast.models import Fit, HoltWintersParameters
from opsuite_scaler.domain.policy import ScalingPolicy
from opsuite_scaler.domain.simulation.backtest import Change, Progress, Scaler, Track, backtest, pace_of
from opsuite_scaler.domain.simulation.baselines import (
    KnativeScaler,
    KnativeSettings,
    ThresholdScaler,
    ThresholdSettings,
    hpa_default,
)
from opsuite_scaler.domain.simulation.optimum import Bounds, optimum, served
from opsuite_scaler.domain.simulation.plant import Site
from opsuite_scaler.domain.simulation.policy_scaler import PolicyScaler, with_forecast
from opsuite_scaler.domain.simulation.report import bounds_of, need_of
from opsuite_scaler.domain.simulation.traces import Trace, resampled


class Baseline(Enum):
    """What a policy is compared with."""

    HPA = "hpa"
    """HPA with its default behaviour."""
    KPA = "kpa"
    """Knative's pod autoscaler."""
    THRESHOLD = "threshold"
    """A threshold, a step and a cooldown."""
    OPTIMUM = "optimum"
    """One who knew what was to come."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One who takes part."""

    name: str
    policy: ScalingPolicy
    """Its own; for a baseline the one whose metrics and bounds it takes over."""
    baseline: Baseline | None = None


def _no_fit(values: object, season: int) -> HoltWintersParameters:
    raise Unavailable(f"nothing here can fit a season of {season} steps")


@dataclass(frozen=True, slots=True)
class Tools:
    """What a policy may need beside plain numbers."""

    fit: Fit = _no_fit
    formulas: Evaluate | None = None


def play(
    contender: Contender, trace: Trace, site: Site, tools: Tools | None = None, progress: Progress | None = None
) -> Track:
    """What one contender makes of a trace."""
    if contender.baseline is Baseline.OPTIMUM:
        return best_track(contender.name, contender.policy, trace, site)
    scaler = _scaler(contender, site, tools or Tools())
    scaler.name = contender.name
    return backtest(scaler, trace, site, progress)


def ticks_of(contender: Contender, trace: Trace) -> int:
    """How many ticks it will take."""
    tick = contender.policy.timing.tick
    if contender.baseline is Baseline.KPA:
        tick = KnativeSettings().tick
    if contender.baseline is Baseline.THRESHOLD:
        tick = ThresholdSettings().tick
    return trace.duration // pace_of(tick, trace.step)


def best_track(name: str, policy: ScalingPolicy, trace: Trace, site: Site) -> Track:
    """The optimum as a track, at the ticks of a policy."""
    tick = pace_of(policy.timing.tick, trace.step)
    loads, _ = resampled(trace, tick)
    track = Track(name, trace.name, tick, site, trace.start, array("d", loads))
    bounds = bounds_of(track, policy.min_replicas, policy.max_replicas)
    track.size = optimum(need_of(track), bounds)
    track.serving = served(track.size, bounds)
    track.queue = array("d", [0.0]) * len(loads)
    _tell_changes(track, bounds)
    return track


def _tell_changes(track: Track, bounds: Bounds) -> None:
    before = bounds.initial_replicas
    track.reasons, track.reason = ["Foreknown"], array("H", [0]) * len(track.size)
    for tick, after in enumerate(track.size):
        if after != before:
            track.changes.append(Change(tick, before, after, "Foreknown", blind=False))
        before = after


def _scaler(contender: Contender, site: Site, tools: Tools) -> Scaler:
    policy = contender.policy
    if contender.baseline is Baseline.KPA:
        return KnativeScaler(policy)
    if contender.baseline is Baseline.THRESHOLD:
        return ThresholdScaler(policy)
    if contender.baseline is Baseline.HPA:
        policy = hpa_default(policy)
    return PolicyScaler(contender.name, policy, with_forecast(policy, site, tools.fit), tools.formulas)


def initial_replicas(policy: ScalingPolicy, trace: Trace, site: Site) -> int:
    """A size to begin with that suits the first load, so that a backtest does not begin with a shortage."""
    first = math.ceil(trace.values[0] / site.capacity / 0.7)
    return min(max(first, policy.min_replicas, 1), policy.max_replicas)
