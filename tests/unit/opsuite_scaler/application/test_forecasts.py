"""Forecasts of policies: what decisions are told, and what people are shown."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from fakes.clock import FakeClock

from opsuite_kernel.errors import Conflict, NotFound, Unavailable
from opsuite_scaler.application.forecasts import UNMEASURED_STARTUP, Forecasts, measured_startup
from opsuite_scaler.domain.forecast.models import HoltWintersParameters
from opsuite_scaler.domain.policy import (
    ForecastMode,
    ForecastSettings,
    MetricKind,
    MetricSpec,
    ScalingPolicy,
    TargetKind,
    TargetRef,
    TargetType,
)
from opsuite_scaler.domain.snapshot import Foreseen, Member

STEP = timedelta(minutes=5)
SEASON = 24
LOAD = MetricSpec("load", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 50)
SETTINGS = ForecastSettings(ForecastMode.RAISE_FLOOR, "seasonal_naive", SEASON * STEP, STEP)
POLICY = ScalingPolicy(TargetRef(TargetKind.WORKLOAD, "web"), (LOAD,), max_replicas=40, forecast=SETTINGS)


def day(index: int) -> float:
    return 50 * (10 + 8 * math.sin(2 * math.pi * index / SEASON))


class Histories:
    """Remembers loads, and how often it was asked."""

    def __init__(self, clock: FakeClock, steps: int) -> None:
        first = clock.now() - steps * STEP
        self.points = [(first + index * STEP, day(index)) for index in range(steps + 1)]
        self.asked: list[datetime | None] = []
        self.is_down = False

    async def loads(self, policy: str, metric: str, since: datetime | None) -> Sequence[tuple[datetime, float]]:
        self.asked.append(since)
        if self.is_down:
            raise Unavailable("the database does not answer")
        return [one for one in self.points if since is None or one[0] >= since]


def no_fit(values: Sequence[float], season: int) -> HoltWintersParameters:
    raise AssertionError


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def a_world(clock: FakeClock, steps: int = 3 * SEASON) -> tuple[Forecasts, Histories]:
    histories = Histories(clock, steps)
    return Forecasts(histories=histories, fit=no_fit, clock=clock), histories


async def settled(forecasts: Forecasts) -> None:
    """Let what runs behind the backs of decisions end."""
    while running := [task for task in asyncio.all_tasks() if task.get_name().startswith("forecast ")]:
        await asyncio.gather(*running)


async def foreseen(forecasts: Forecasts, clock: FakeClock, policy: ScalingPolicy = POLICY) -> Foreseen | None:
    return await forecasts.foresee("web", policy, (), clock.now())


async def test_a_decision_is_never_kept_waiting_and_is_told_at_the_next_look(clock: FakeClock) -> None:
    forecasts, _ = a_world(clock)

    assert await foreseen(forecasts, clock) is None
    await settled(forecasts)
    found = await foreseen(forecasts, clock)

    assert found is not None
    assert (found.usable, found.replicas) == (True, math.ceil(day(0) / 50))
    assert found.at == clock.now() + UNMEASURED_STARTUP + SETTINGS.margin


async def test_history_is_looked_up_once_a_step_and_only_what_is_new(clock: FakeClock) -> None:
    forecasts, histories = a_world(clock)
    for _ in range(3):
        await foreseen(forecasts, clock)
        await settled(forecasts)
    assert len(histories.asked) == 1

    clock.advance(STEP)
    histories.points.append((clock.now(), day(1)))
    await foreseen(forecasts, clock)
    await settled(forecasts)

    assert histories.asked[1:] == [clock.now() - STEP]


async def test_a_database_that_is_away_leaves_what_was_known(clock: FakeClock) -> None:
    forecasts, histories = a_world(clock)
    await foreseen(forecasts, clock)
    await settled(forecasts)
    histories.is_down = True
    clock.advance(STEP)

    await foreseen(forecasts, clock)
    await settled(forecasts)

    assert await foreseen(forecasts, clock) is not None


async def test_other_settings_begin_anew(clock: FakeClock) -> None:
    forecasts, _ = a_world(clock)
    await foreseen(forecasts, clock)
    await settled(forecasts)

    changed = replace(POLICY, metrics=(replace(LOAD, target=25),))
    assert await foreseen(forecasts, clock, changed) is None
    await settled(forecasts)
    found = await foreseen(forecasts, clock, changed)

    assert found is not None
    assert found.replicas == math.ceil(day(0) / 25)


@pytest.mark.parametrize(
    "policy",
    [
        replace(POLICY, forecast=ForecastSettings()),
        replace(POLICY, metrics=()),
        replace(POLICY, metrics=(replace(LOAD, kind=MetricKind.RESPONSE_TIME),)),
        replace(POLICY, forecast=replace(SETTINGS, metric="stranger")),
    ],
)
async def test_what_cannot_be_foreseen_is_not(policy: ScalingPolicy, clock: FakeClock) -> None:
    forecasts, histories = a_world(clock)

    assert await foreseen(forecasts, clock, policy) is None
    assert histories.asked == []
    with pytest.raises(NotFound) as off:
        await forecasts.show("web", policy)
    assert off.value.reason == "NO_FORECAST"


async def test_what_is_shown_is_a_season_ahead_with_its_errors(clock: FakeClock) -> None:
    forecasts, _ = a_world(clock)

    shown = await forecasts.show("web", POLICY)

    assert [point.needed for point in shown.points] == pytest.approx([day(index) / 50 for index in range(SEASON)])
    assert shown.errors.mean_absolute["seasonal_naive"] == pytest.approx(0, abs=1e-9)
    assert not shown.is_off


async def test_little_history_is_refused_with_how_much_there_is(clock: FakeClock) -> None:
    forecasts, _ = a_world(clock, steps=0)

    with pytest.raises(Conflict) as refused:
        await forecasts.show("web", POLICY)
    with pytest.raises(Conflict):
        await forecasts.judge("web", POLICY, None)

    assert (refused.value.reason, refused.value.metadata["needed"]) == ("TOO_LITTLE_HISTORY", "48")


async def test_a_forecast_is_judged_by_going_through_the_history(clock: FakeClock) -> None:
    forecasts, _ = a_world(clock, steps=4 * SEASON)

    judged = await forecasts.judge("web", replace(POLICY, forecast=ForecastSettings()), SETTINGS)

    assert not judged.is_off
    assert [point.at for point in judged.actual] == [clock.now() - (SEASON - index) * STEP for index in range(SEASON)]
    by_time = {point.at: point.needed for point in judged.foreseen}
    assert all(by_time[point.at] == pytest.approx(point.needed) for point in judged.actual)


def test_the_start_up_time_is_the_median_of_those_that_tell_it(clock: FakeClock) -> None:
    now = clock.now()
    members = [
        Member(str(seconds), started_at=now, ready_changed_at=now + timedelta(seconds=seconds))
        for seconds in (5, 10, 90)
    ]
    starting = Member("s", ready=False, started_at=now, ready_changed_at=now + timedelta(hours=1))

    assert measured_startup([*members, starting, Member("silent")]) == timedelta(seconds=10)
    assert measured_startup([starting, Member("silent")]) is None
