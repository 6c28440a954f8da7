"""Forecasts of policies: followed in memory, made of what was observed, and told to whoever decides.

Every replica of the scaler follows for itself what it is asked about: history is in the database, so nothing is lost
with a process, and two replicas foresee the same. A decision never waits: it is told what is known, and what is older
than a step is looked up behind its back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median
from typing import Final

import structlog

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Conflict, NotFound, OpsuiteError
from opsuite_scaler.application.rehearsal import Histories
from opsuite_scaler.domain.demand import can_be_foreseen, per_replica
from opsuite_scaler.domain.forecast.errors import Errors
from opsuite_scaler.domain.forecast.forecaster import (
    RIVALS,
    SEASONS_KEPT,
    SEASONS_NEEDED,
    Forecaster,
    Point,
)
from opsuite_scaler.domain.forecast.models import Fit
from opsuite_scaler.domain.policy import ForecastMode, ForecastSettings, MetricSpec, ScalingPolicy
from opsuite_scaler.domain.snapshot import Foreseen, Member

log: Final = structlog.get_logger(__name__)
UNMEASURED_STARTUP: Final = timedelta(seconds=60)
"""Until a start has been seen."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A forecast as it is shown. Values are loads in the metric's own unit, see `domain.demand`."""

    metric: MetricSpec
    model: str
    made_at: datetime
    points: Sequence[Point]
    """Replicas needed at each step to come, for a season."""
    foreseen: Foreseen
    horizon: timedelta
    errors: Errors
    is_off: bool
    """It is no better than a naive one, so it is not used."""


@dataclass(frozen=True, slots=True)
class Judged:
    """How a forecast would have done during the last season."""

    metric: MetricSpec
    errors: Errors
    model: str
    is_off: bool
    foreseen: Sequence[Point]
    actual: Sequence[Point]


@dataclass(slots=True)
class _Followed:
    """What is known of one policy."""

    policy: ScalingPolicy
    spec: MetricSpec
    forecaster: Forecaster
    seen_until: datetime | None = None
    asked_at: datetime | None = None
    """When history was looked up last."""
    startup: timedelta = UNMEASURED_STARTUP
    refreshing: asyncio.Task[None] | None = None


class Forecasts:
    """Fits `application.ports.Foresight`, and holds the use cases of ForecastService."""

    def __init__(self, *, histories: Histories, fit: Fit, clock: Clock) -> None:
        self._histories = histories
        self._fit = fit
        self._clock = clock
        self._followed: dict[str, _Followed] = {}
        self._fitting = asyncio.Semaphore(1)

    async def foresee(
        self, name: str, policy: ScalingPolicy, members: Sequence[Member], now: datetime
    ) -> Foreseen | None:
        """What its size must be soon; None when it has no forecast. Never raises, and never waits for a new one."""
        followed = self._of(name, policy)
        if followed is None:
            return None
        followed.startup = measured_startup(members) or followed.startup
        step = policy.forecast.step
        due = followed.asked_at is None or now - followed.asked_at >= step
        if due and (followed.refreshing is None or followed.refreshing.done()):
            followed.asked_at = now
            followed.refreshing = asyncio.create_task(self._refresh_quietly(name, followed), name=f"forecast {name}")
        return followed.forecaster.foreseen(now, followed.startup)

    async def show(self, name: str, policy: ScalingPolicy, *, anew: bool = False) -> Shown:
        """The present forecast. Raises: NotFound (NO_FORECAST), Conflict (TOO_LITTLE_HISTORY), Unavailable."""
        if anew:
            self._followed.pop(name, None)
        followed = self._of(name, policy)
        if followed is None:
            raise NotFound("forecast", f"scalingPolicies/{name}/forecast", reason="NO_FORECAST")
        await self._refresh(name, followed)
        forecaster, now = followed.forecaster, self._clock.now()
        foreseen = forecaster.foreseen(now, followed.startup)
        points = forecaster.points(forecaster.season)
        if foreseen is None or not points:
            raise too_little(forecaster)
        return Shown(
            followed.spec,
            policy.forecast.model,
            now,
            points,
            foreseen,
            followed.startup + policy.forecast.margin,
            forecaster.errors(),
            is_off=not foreseen.usable,
        )

    async def judge(self, name: str, policy: ScalingPolicy, settings: ForecastSettings | None) -> Judged:
        """How it would have done. Raises: NotFound (NO_FORECAST), Conflict (TOO_LITTLE_HISTORY), Unavailable."""
        wanted = settings or policy.forecast
        asked = replace(policy, forecast=replace(wanted, mode=ForecastMode.FORECAST_ONLY))
        followed = _followed(asked) if settings or policy.forecast.mode is not ForecastMode.OFF else None
        if followed is None:
            raise NotFound("forecast", f"scalingPolicies/{name}/forecast", reason="NO_FORECAST")
        loads = await self._histories.loads(name, followed.spec.name, None)
        return await asyncio.to_thread(_judged, followed, loads, self._fit)

    async def close(self) -> None:
        """Look nothing up any more."""
        tasks = [one.refreshing for one in self._followed.values() if one.refreshing is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def forget(self, name: str) -> None:
        """A policy is gone."""
        self._followed.pop(name, None)

    # --- following ---------------------------------------------------------------------------------------------------

    def _of(self, name: str, policy: ScalingPolicy) -> _Followed | None:
        """What is known of a policy; anew when its forecast or metrics are other ones than before."""
        known = self._followed.get(name)
        if known is not None and (known.policy.forecast, known.policy.metrics) == (policy.forecast, policy.metrics):
            return known
        fresh = _followed(policy)
        if fresh is None:
            self._followed.pop(name, None)
        else:
            self._followed[name] = fresh
        return fresh

    async def _refresh_quietly(self, name: str, followed: _Followed) -> None:
        try:
            await self._refresh(name, followed)
        except OpsuiteError as error:
            log.warning("forecast_not_refreshed", policy=name, reason=error.reason, message=error.message)

    async def _refresh(self, name: str, followed: _Followed) -> None:
        """Follow what was observed since, and fit when that is due."""
        settings = followed.policy.forecast
        since = followed.seen_until or self._clock.now() - SEASONS_KEPT * settings.season
        for at, load in await self._histories.loads(name, followed.spec.name, since):
            if followed.seen_until is None or at > followed.seen_until:
                followed.forecaster.observe(at, load / per_replica(followed.spec))
                followed.seen_until = at
        async with self._fitting:  # one at a time: a fit keeps a core busy
            if followed.forecaster.fit_due:
                values = followed.forecaster.fit_values()
                found = await asyncio.to_thread(self._fit, values, followed.forecaster.season)
                followed.forecaster.adopt(found)


def _followed(policy: ScalingPolicy) -> _Followed | None:
    """Nothing known yet of a policy that wants a forecast; None for one that has none."""
    settings = policy.forecast
    named = [one for one in policy.metrics if one.name == settings.metric] if settings.metric else policy.metrics[:1]
    if settings.mode is ForecastMode.OFF or not named or not can_be_foreseen(named[0]):
        return None
    return _Followed(policy, named[0], Forecaster(settings, UNMEASURED_STARTUP + settings.margin))


def _judged(followed: _Followed, loads: Sequence[tuple[datetime, float]], fit: Fit) -> Judged:
    """Go through a history from its beginning, as if it happened now."""
    forecaster, settings = followed.forecaster, followed.policy.forecast
    foreseen: list[Point] = []
    actual: list[Point] = []
    for at, load in loads:
        ended = forecaster.observe(at, load / per_replica(followed.spec))
        if forecaster.fit_due:
            forecaster.adopt(fit(forecaster.fit_values(), forecaster.season))
        if ended and (value := forecaster.values[-1]) is not None:
            actual.append(Point(at - settings.step, value))
        if ended:
            foreseen += forecaster.points(1)
    if not foreseen or len(forecaster.values) < SEASONS_NEEDED * forecaster.season:
        raise too_little(forecaster)
    errors, model = forecaster.errors(), settings.model  # what was foreseen last is still to come
    is_off = not errors.mean_absolute[model] <= errors.best_of(RIVALS[model])
    return Judged(
        followed.spec, errors, model, is_off, foreseen[-forecaster.season - 1 : -1], actual[-forecaster.season :]
    )


def measured_startup(members: Sequence[Member]) -> timedelta | None:
    """Median time that members took from their start until they were ready; None when none tells it."""
    took = [
        (member.ready_changed_at - member.started_at).total_seconds()
        for member in members
        if member.ready and member.started_at is not None and member.ready_changed_at is not None
    ]
    return timedelta(seconds=max(0.0, median(took))) if took else None


def too_little(forecaster: Forecaster) -> Conflict:
    """There are not two seasons yet."""
    need = SEASONS_NEEDED * forecaster.season
    return Conflict(
        f"there are {len(forecaster.values)} steps of history, and two seasons are {need}",
        reason="TOO_LITTLE_HISTORY",
        metadata={"steps": str(len(forecaster.values)), "needed": str(need)},
    )
