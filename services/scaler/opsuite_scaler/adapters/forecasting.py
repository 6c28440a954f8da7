"""Parameters of Holt-Winters, found by statsmodels. It is imported at the first fit, since that takes a second."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, cast

from opsuite_kernel.errors import Unavailable
from opsuite_scaler.domain.forecast.models import HoltWintersParameters


def fit_holt_winters(values: Sequence[float], season: int) -> HoltWintersParameters:
    """Parameters with the least squared error one step ahead; see `opsuite_scaler.domain.forecast.models.Fit`.

    Where the season begins is taken from the first two seasons rather than fitted: a day of five minutes has 288 steps,
    and as many free parameters would take minutes and find noise.
    """
    try:
        from statsmodels.tools.sm_exceptions import ConvergenceWarning
        from statsmodels.tsa.holtwinters import ExponentialSmoothing
    except ImportError as error:
        raise Unavailable("statsmodels is not installed: install the extra opsuite[scaler]") from error
    if max(values) == min(values):  # nothing to fit, and nothing to scale its values by
        return HoltWintersParameters(0.5, 0.0, 0.0, 0.9, float(values[0]), 0.0, (0.0,) * season)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the best that was found is good enough, and is judged
            model: Any = cast("Any", ExponentialSmoothing)(
                values,
                trend="add",
                damped_trend=True,
                seasonal="add",
                seasonal_periods=season,
                initialization_method="heuristic",
            )
            found = model.fit().params
    except (ValueError, ArithmeticError) as error:
        raise Unavailable(f"no parameters could be found: {error}") from error
    return HoltWintersParameters(
        alpha=float(found["smoothing_level"]),
        beta=float(found["smoothing_trend"]),
        gamma=float(found["smoothing_seasonal"]),
        phi=float(found["damping_trend"]),
        level=float(found["initial_level"]),
        trend=float(found["initial_trend"]),
        seasonal=tuple(float(one) for one in found["initial_seasons"]),
    )
