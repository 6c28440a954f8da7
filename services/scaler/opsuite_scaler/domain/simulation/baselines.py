"""Scalers to compare with: Knative's pod autoscaler, and a threshold with a cooldown. HPA is our core without extras.

Both go by the first metric of a policy, read as the number of replicas at which it would be at its target.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from opsuite_scaler.domain.demand import needed
from opsuite_scaler.domain.policy import (
    Cooldown,
    Fallback,
    FlapGuard,
    ForecastSettings,
    MetricSpec,
    ModeSetting,
    ScalingPolicy,
    Timing,
)
from opsuite_scaler.domain.snapshot import Foreseen, Snapshot


def hpa_default(policy: ScalingPolicy) -> ScalingPolicy:
    """The same metrics and bounds as HPA would take them: its default behaviour, and nothing that it does not have."""
    metrics = tuple(replace(one, fallback=Fallback(), confirm_drop=False) for one in policy.metrics)
    return replace(
        policy,
        metrics=metrics,
        behavior=None,
        cooldown=Cooldown(),
        timing=Timing(),
        flaps=FlapGuard(),
        overlays=(),
        cost=None,
        pool="",
        mode=ModeSetting(),
        hold_during_rollout=False,
        forecast=ForecastSettings(),
    )


@dataclass(frozen=True, slots=True)
class KnativeSettings:
    """Defaults of Knative Serving's KPA."""

    tick: timedelta = timedelta(seconds=2)
    stable_window: timedelta = timedelta(seconds=60)
    panic_window_percent: float = 10.0
    panic_threshold_percent: float = 200.0
    max_up_rate: float = 1000.0
    max_down_rate: float = 2.0


class KnativeScaler:
    """Two windows of demand: the long one sizes, the short one starts a panic in which nothing shrinks."""

    def __init__(self, policy: ScalingPolicy, settings: KnativeSettings | None = None) -> None:
        self.name = "knative"
        self._settings = settings = settings or KnativeSettings()
        self.tick = settings.tick
        self.specs: tuple[MetricSpec, ...] = policy.metrics[:1]
        self._bounds = (policy.min_replicas, policy.max_replicas)
        self._stable: deque[float] = deque(maxlen=settings.stable_window // self.tick)
        panic = max(1, round((settings.stable_window // self.tick) * settings.panic_window_percent / 100))
        self._panic: deque[float] = deque(maxlen=panic)
        self._panic_until: datetime | None = None
        self._high_water = 0

    def foreseen(self, now: datetime) -> Foreseen | None:
        """It expects nothing."""
        return None

    def wants(self, snapshot: Snapshot) -> tuple[int, str]:
        """The larger of both windows in a panic, else what the long one says; without data no change."""
        demand = needed(self.specs[0], snapshot)
        if demand is None:
            return snapshot.spec_replicas, "NoData"
        self._stable.append(demand)
        self._panic.append(demand)
        ready = max(1, sum(1 for member in snapshot.members if member.ready))
        stable = self._clamped(sum(self._stable) / len(self._stable), ready)
        panic = self._clamped(sum(self._panic) / len(self._panic), ready)
        if panic / ready >= self._settings.panic_threshold_percent / 100:
            self._panic_until = snapshot.now + self._settings.stable_window
        if self._panic_until is not None and snapshot.now < self._panic_until:
            self._high_water = max(self._high_water, panic, stable)
            return self._bounded(self._high_water), "Panic"
        self._panic_until, self._high_water = None, 0
        return self._bounded(stable), "Stable"

    def changed(self, now: datetime) -> None:
        """Its windows do not look at changes."""

    def _clamped(self, demand: float, ready: int) -> int:
        low = math.floor(ready / self._settings.max_down_rate)
        return min(max(math.ceil(demand - 1e-9), low), math.ceil(self._settings.max_up_rate * ready))

    def _bounded(self, replicas: int) -> int:
        return min(max(replicas, self._bounds[0]), self._bounds[1])


@dataclass(frozen=True, slots=True)
class ThresholdSettings:
    """An alarm above and one below, each with a step, and a rest after any change."""

    tick: timedelta = timedelta(seconds=60)
    above: float = 1.15
    """Of the target: 80 % where the target is 70 %."""
    below: float = 0.65
    step_percent: int = 20
    cooldown: timedelta = timedelta(seconds=300)


class ThresholdScaler:
    """What many people write first."""

    def __init__(self, policy: ScalingPolicy, settings: ThresholdSettings | None = None) -> None:
        self.name = "threshold"
        self._settings = settings = settings or ThresholdSettings()
        self.tick = settings.tick
        self.specs: tuple[MetricSpec, ...] = policy.metrics[:1]
        self._bounds = (policy.min_replicas, policy.max_replicas)
        self._rests_until: datetime | None = None

    def foreseen(self, now: datetime) -> Foreseen | None:
        """It expects nothing."""
        return None

    def wants(self, snapshot: Snapshot) -> tuple[int, str]:
        """A step up or down when an alarm is on and the rest is over."""
        size, demand = snapshot.spec_replicas, needed(self.specs[0], snapshot)
        if demand is None:
            return size, "NoData"
        if self._rests_until is not None and snapshot.now < self._rests_until:
            return size, "Cooldown"
        share = demand / max(size, 1)
        step = max(1, size * self._settings.step_percent // 100)
        if share > self._settings.above:
            return min(size + step, self._bounds[1]), "AboveThreshold"
        if share < self._settings.below:
            return max(size - step, self._bounds[0]), "BelowThreshold"
        return size, "WithinThresholds"

    def changed(self, now: datetime) -> None:
        """The rest begins."""
        self._rests_until = now + self._settings.cooldown
