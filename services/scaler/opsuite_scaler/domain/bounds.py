"""Between which sizes a target may be now, and what says so.

The policy's own bounds first; then schedules: the highest floor wins, and the lowest ceiling that is not below it. What
money allows never goes below the floor. What a shared pool grants goes below it where it must: capacity that is not
there cannot be had.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from math import floor
from typing import Final

from opsuite_scaler.domain.policy import CostBound, Overlay, ScalingPolicy
from opsuite_scaler.domain.quantities import MOST_REPLICAS
from opsuite_scaler.domain.snapshot import Snapshot
from opsuite_schedules.cron import Cron

BUDGET_LASTS: Final = timedelta(hours=1)
"""What is left of a budget must do for so long: a size goes down bit by bit before the money is gone."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Least and most replicas, each with the name of what set it."""

    low: int
    high: int
    low_from: str = "policy"
    high_from: str = "policy"


def bounds_of(policy: ScalingPolicy, snapshot: Snapshot) -> Bounds:
    """The bounds that hold at the time of the snapshot."""
    bounds = Bounds(policy.min_replicas, policy.max_replicas)
    if policy.overlays:
        bounds = _scheduled(bounds, policy.overlays, snapshot.now)
    if policy.cost is not None:
        bounds = _affordable(bounds, policy.cost, snapshot.spent)
    if snapshot.pool is not None and snapshot.pool.max_replicas < bounds.high:
        granted, name = snapshot.pool.max_replicas, f"pool {snapshot.pool.pool}"
        low_from = name if granted < bounds.low else bounds.low_from
        bounds = Bounds(min(bounds.low, granted), granted, low_from, name)
    return bounds


def _scheduled(bounds: Bounds, overlays: tuple[Overlay, ...], now: datetime) -> Bounds:
    low, high, low_from, high_from = bounds.low, bounds.high, bounds.low_from, bounds.high_from
    open_now = [overlay for overlay in overlays if is_open(overlay, now)]
    for overlay in open_now:
        if overlay.min_replicas is not None and overlay.min_replicas > low:
            low, low_from = overlay.min_replicas, f"schedule {overlay.name}"
    for overlay in open_now:
        if overlay.max_replicas is not None and low <= overlay.max_replicas < high:
            high, high_from = overlay.max_replicas, f"schedule {overlay.name}"
    return Bounds(low, max(low, high), low_from, high_from)


def is_open(overlay: Overlay, now: datetime) -> bool:
    """Whether the bounds of an overlay hold at `now`."""
    opened = _last_opening(overlay.cron, overlay.zone, now.replace(second=0, microsecond=0))
    return now < opened + overlay.duration


@lru_cache(maxsize=4096)
def _last_opening(cron: str, zone: str, minute: datetime) -> datetime:
    """Kept because many decisions fall into one minute, and openings are at full minutes."""
    return _cron(cron, zone).last_until(minute)


@lru_cache(maxsize=1024)
def _cron(expression: str, zone: str) -> Cron:
    return Cron.parse(expression, zone)


def _affordable(bounds: Bounds, cost: CostBound, spent: float) -> Bounds:
    ceilings = []
    if cost.max_per_hour is not None:
        ceilings.append((cost.max_per_hour, "cost per hour"))
    if cost.budget is not None:
        left = max(0.0, cost.budget - spent)
        ceilings.append((left / (BUDGET_LASTS / timedelta(hours=1)), "budget"))
    for money_per_hour, name in ceilings:
        replicas = _count(money_per_hour, cost.price_per_replica_hour)
        if replicas < bounds.high:
            bounds = Bounds(bounds.low, max(bounds.low, replicas), bounds.low_from, name)
    return bounds


def _count(money: float, price: float) -> int:
    return floor(min(money / price + 1e-9, MOST_REPLICAS)) if price > 0 else MOST_REPLICAS
