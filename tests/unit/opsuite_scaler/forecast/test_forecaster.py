import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from opsuite_scaler.adapters.forecasting import fit_holt_winters
from opsuite_scaler.domain.forecast.forecaster import Forecaster
from opsuite_scaler.domain.forecast.models import HoltWintersParameters
from opsuite_scaler.domain.policy import ForecastMode, ForecastSettings
from opsuite_scaler.domain.snapshot import Foreseen

STEP = timedelta(minutes=5)
SEASON = 24
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
START_UP = timedelta(minutes=2)
FITTED = HoltWintersParameters(0.1, 0.0, 0.1, 0.9, 0.0, 0.0, (0.0,) * SEASON)


def a_forecaster(model: str = "seasonal_naive", quantile: float | None = None) -> Forecaster:
    settings = ForecastSettings(ForecastMode.RAISE_FLOOR, model, SEASON * STEP, STEP, quantile, timedelta(minutes=1))
    return Forecaster(settings, START_UP + settings.margin)


def day(index: int) -> float:
    """Rises for half a season and falls for the other."""
    return 10 + 8 * math.sin(2 * math.pi * index / SEASON)


def told(forecaster: Forecaster, load: Callable[[int], float | None], steps: int, first: int = 0) -> datetime:
    """Tell it what is needed at the beginning of each step, up to that of `first + steps`, which it returns."""
    for index in range(first, first + steps + 1):
        forecaster.observe(NOON + index * STEP, load(index))
        if forecaster.fit_due:
            forecaster.adopt(FITTED)
    return NOON + (first + steps) * STEP


def asked(forecaster: Forecaster, now: datetime) -> Foreseen:
    found = forecaster.foreseen(now, START_UP)
    assert found is not None
    return found


def test_nothing_is_foreseen_before_anything_was_seen() -> None:
    assert a_forecaster().foreseen(NOON, START_UP) is None


def test_under_two_seasons_it_refuses_and_says_how_much_it_has() -> None:
    forecaster = a_forecaster()
    almost = asked(forecaster, told(forecaster, day, 2 * SEASON - 1))
    enough = asked(forecaster, told(forecaster, day, 1, first=2 * SEASON - 1))

    assert (almost.usable, almost.note) == (False, "has seen 47 of the 48 steps of two seasons")
    assert enough.usable


def test_it_foresees_the_most_that_is_needed_until_a_replica_would_serve() -> None:
    forecaster = a_forecaster()
    now = told(forecaster, day, 2 * SEASON + 2)

    soon = asked(forecaster, now)
    later = forecaster.foreseen(now, timedelta(minutes=14))

    assert (soon.replicas, soon.at) == (math.ceil(day(2)), now + timedelta(minutes=3))
    assert later is not None
    assert later.replicas == math.ceil(day(5))


def test_where_the_load_falls_it_keeps_what_is_needed_now() -> None:
    forecaster = a_forecaster()
    now = told(forecaster, day, 2 * SEASON + 10)

    later = forecaster.foreseen(now, timedelta(minutes=14))

    assert asked(forecaster, now).replicas == math.ceil(day(10))
    assert later is not None
    assert later.replicas == math.ceil(day(10))


def test_a_load_without_a_season_switches_it_off_and_a_season_on_again() -> None:
    random = Random(3)
    walk = [50.0]
    for _ in range(8 * SEASON):
        walk.append(max(1.0, walk[-1] + random.gauss(0, 2)))
    forecaster = a_forecaster()
    off = asked(forecaster, told(forecaster, lambda index: walk[index], 4 * SEASON))
    on = asked(forecaster, told(forecaster, day, 3 * SEASON, first=4 * SEASON))

    assert not off.usable
    assert "a naive forecast" in off.note
    assert on.usable


def test_it_has_to_beat_both_naive_forecasts() -> None:
    forecaster = a_forecaster("holt_winters")
    now = told(forecaster, day, 3 * SEASON)
    errors = forecaster.errors()

    assert set(errors.mean_absolute) == {"holt_winters", "seasonal_naive", "persistence"}
    assert errors.mean_absolute["seasonal_naive"] == pytest.approx(0, abs=1e-9)
    assert errors.mean_absolute["holt_winters"] > 0.1, "parameters that were not fitted are off"
    assert not asked(forecaster, now).usable


def test_a_model_that_beats_standing_still_has_to_beat_the_season_before_too() -> None:
    follows_the_season = replace(FITTED, alpha=0.0, gamma=0.9, level=10.0)
    forecaster = a_forecaster("holt_winters")
    for index in range(4 * SEASON + 1):
        forecaster.observe(NOON + index * STEP, day(index))
        if forecaster.fit_due:
            forecaster.adopt(follows_the_season)
    errors = forecaster.errors().mean_absolute

    assert errors["seasonal_naive"] < errors["holt_winters"] < errors["persistence"]
    assert not asked(forecaster, NOON + 4 * SEASON * STEP).usable


def test_errors_are_measured_as_far_ahead_as_is_looked() -> None:
    settings = ForecastSettings(ForecastMode.RAISE_FLOOR, "seasonal_naive", SEASON * STEP, STEP)
    forecaster = Forecaster(settings, 3 * STEP)
    told(forecaster, lambda index: float(index), 2 * SEASON)

    assert forecaster.errors().mean_absolute["persistence"] == 3


def test_a_quantile_of_the_errors_is_added_on_top() -> None:
    random = Random(1)
    noisy = [day(index) + random.uniform(-2, 2) for index in range(4 * SEASON + 1)]
    plain, raised = a_forecaster(), a_forecaster(quantile=0.9)
    now = told(plain, lambda index: noisy[index], 4 * SEASON)
    told(raised, lambda index: noisy[index], 4 * SEASON)

    assert 1 <= asked(raised, now).replicas - asked(plain, now).replicas <= 4


def test_steps_in_which_nothing_was_seen_are_holes_and_not_zeros() -> None:
    forecaster = a_forecaster()
    told(forecaster, day, 2 * SEASON)
    forecaster.observe(NOON + (2 * SEASON + 6) * STEP, day(6))

    assert forecaster.values[-6:] == [pytest.approx(day(0)), None, None, None, None, None]
    assert forecaster.points(1)[0].at == NOON + (2 * SEASON + 6) * STEP
    assert forecaster.points(1)[0].needed == pytest.approx(day(6))


def test_values_within_a_step_are_averaged() -> None:
    forecaster = a_forecaster()
    assert not forecaster.observe(NOON, 4.0)
    assert not forecaster.observe(NOON + STEP / 2, 8.0)
    assert forecaster.observe(NOON + STEP, 1.0)

    assert forecaster.values == [6.0]


def test_what_is_remembered_is_as_good_as_what_was_seen() -> None:
    seen, remembered = a_forecaster(), a_forecaster()
    now = told(seen, day, 3 * SEASON)
    remembered.remember(NOON, [day(index) for index in range(3 * SEASON)])
    remembered.observe(now, day(3 * SEASON))

    assert asked(remembered, now) == asked(seen, now)
    assert remembered.points(SEASON) == seen.points(SEASON)


def test_a_fit_is_due_at_two_seasons_and_a_season_later() -> None:
    forecaster = a_forecaster("holt_winters")
    due = []
    for index in range(4 * SEASON + 1):
        forecaster.observe(NOON + index * STEP, day(index))
        if forecaster.fit_due:
            due.append(index)
            assert len(forecaster.fit_values()) % SEASON == 0
            forecaster.adopt(FITTED)

    assert due == [2 * SEASON, 3 * SEASON, 4 * SEASON]


def test_short_seasons_wait_until_there_is_enough_to_fit() -> None:
    settings = ForecastSettings(ForecastMode.RAISE_FLOOR, "holt_winters", 4 * STEP, STEP)
    forecaster = Forecaster(settings, STEP)
    due = []
    for index in range(20):
        forecaster.observe(NOON + index * STEP, 1.0 + index % 4)
        if forecaster.fit_due:
            due.append(index)
            forecaster.adopt(fit_holt_winters(forecaster.fit_values(), forecaster.season))

    assert due == [16]


def test_no_more_than_seven_seasons_are_kept() -> None:
    forecaster = a_forecaster()
    told(forecaster, day, 9 * SEASON)

    assert len(forecaster.values) == 7 * SEASON
    assert forecaster.points(1)[0].at == NOON + 9 * SEASON * STEP
