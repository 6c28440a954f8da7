import math
from random import Random
from typing import Any

import pytest

from opsuite_scaler.adapters.forecasting import fit_holt_winters
from opsuite_scaler.domain.forecast.models import HoltWinters, HoltWintersParameters, Model, Persistence, SeasonalNaive

SEASON = 12
FLAT = HoltWintersParameters(0.5, 0.1, 0.1, 0.9, 5.0, 0.0, (0.0,) * SEASON)


def a_season(length: int, seed: int = 1) -> list[float]:
    random = Random(seed)
    return [10 + 5 * math.sin(2 * math.pi * i / SEASON) + 0.02 * i + random.gauss(0, 0.3) for i in range(length)]


def following(model: Model, values: list[float | None]) -> Model:
    for value in values:
        model.follow(value)
    return model


def test_a_seasonal_naive_forecast_is_the_value_of_a_season_ago() -> None:
    model = following(SeasonalNaive(3), [1.0, 2.0, 3.0, 4.0])

    assert [model.ahead(steps) for steps in range(1, 8)] == [2, 3, 4, 2, 3, 4, 2]


def test_before_the_first_season_is_over_it_is_the_last_value() -> None:
    assert SeasonalNaive(3).ahead(1) == 0
    assert following(SeasonalNaive(3), [1.0, 2.0]).ahead(2) == 2


def test_a_hole_is_filled_with_what_was_expected() -> None:
    assert following(SeasonalNaive(2), [1.0, 2.0, None]).ahead(2) == 1
    assert following(Persistence(), [1.0, None]).ahead(5) == 1
    assert following(HoltWinters(FLAT), [5.0, None]).ahead(1) == 5


def test_the_recursion_forecasts_what_the_library_forecasts() -> None:
    from statsmodels.tsa import holtwinters

    smoothing: Any = holtwinters.ExponentialSmoothing

    values = a_season(5 * SEASON)
    parameters = fit_holt_winters(values, SEASON)
    fitted = smoothing(
        values,
        trend="add",
        damped_trend=True,
        seasonal="add",
        seasonal_periods=SEASON,
        initialization_method="heuristic",
    ).fit()

    model = following(HoltWinters(parameters), [*values])

    assert [model.ahead(steps) for steps in range(1, 30)] == pytest.approx(list(fitted.forecast(29)), rel=1e-9)


def test_it_follows_a_season_it_was_fitted_to() -> None:
    values = a_season(6 * SEASON)
    model = following(HoltWinters(fit_holt_winters(values[: 5 * SEASON], SEASON)), [*values[: 5 * SEASON]])

    misses = []
    for value in values[5 * SEASON :]:
        misses.append(abs(model.ahead(1) - value))
        model.follow(value)

    assert sum(misses) / len(misses) < 0.5


def test_a_forecast_is_never_below_zero() -> None:
    assert HoltWinters(HoltWintersParameters(0.5, 0.1, 0.1, 0.9, 1.0, -5.0, (0.0,) * 4)).ahead(3) == 0


def test_a_load_that_never_changes_can_be_fitted_too() -> None:
    model = following(HoltWinters(fit_holt_winters([7.0] * 24, 12)), [7.0] * 24)

    assert model.ahead(5) == 7


def test_fits_of_equal_values_are_equal() -> None:
    assert fit_holt_winters(a_season(48), SEASON) == fit_holt_winters(a_season(48), SEASON)
