"""A forecast may only raise what is wanted; going down stays with what is measured."""

from __future__ import annotations

from opsuite_scaler.domain.decision import Inputs
from opsuite_scaler.domain.draft import Draft
from opsuite_scaler.domain.policy import ForecastMode


def raise_floor(draft: Draft) -> None:
    """Want at least what is foreseen, within the bounds and the rates like anything else."""
    foreseen = draft.snapshot.forecast
    if foreseen is None or not foreseen.usable or draft.policy.forecast.mode is not ForecastMode.RAISE_FLOOR:
        return
    if foreseen.replicas > draft.wanted:
        message = f"{foreseen.replicas} replicas are foreseen to be needed at {foreseen.at.isoformat()}"
        inputs: Inputs = {"foreseen": foreseen.replicas, "at": foreseen.at.isoformat()}
        draft.apply("forecast_floor", foreseen.replicas, "Foreseen", message, inputs)
