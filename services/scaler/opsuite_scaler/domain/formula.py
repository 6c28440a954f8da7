"""A metric that is computed from the others."""

from __future__ import annotations

from math import isfinite

from opsuite_scaler.domain.draft import Draft
from opsuite_scaler.domain.expressions import FormulaFailed
from opsuite_scaler.domain.policy import MetricSpec
from opsuite_scaler.domain.proposals import MetricFailed
from opsuite_scaler.domain.snapshot import Reading, SampleKind


def read(draft: Draft, spec: MetricSpec) -> Reading:
    """The value of a formula as a reading. Raises MetricFailed."""
    if draft.formulas is None:
        raise MetricFailed(f"{spec.name} is a formula, and nothing here evaluates formulas")
    try:
        value = draft.formulas(spec.query, draft.values)
    except FormulaFailed as error:
        raise MetricFailed(f"{spec.name} has no value: {error}") from error
    if not isfinite(value):
        raise MetricFailed(f"{spec.name} is not a finite number")
    return Reading(SampleKind.VALUE, total=value, at=draft.now)
