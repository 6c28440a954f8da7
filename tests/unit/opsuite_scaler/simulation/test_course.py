"""The table of the standard course: what is claimed of it, on fixed seeds."""

from collections.abc import Mapping

import pytest

from opsuite_scaler.adapters.forecasting import fit_holt_winters
from opsuite_scaler.domain.simulation.contenders import Tools
from opsuite_scaler.domain.simulation.course import FORESEEING, run_course
from opsuite_scaler.domain.simulation.generators import KINDS, SEASONAL
from opsuite_scaler.domain.simulation.report import Measures

SEED = 1


@pytest.fixture(scope="module")
def table() -> Mapping[tuple[str, str], Measures]:
    return {(run.kind, run.contender): run.measures for run in run_course(SEED, Tools(fit_holt_winters))}


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_does_better_than_the_optimum(kind: str, table: Mapping[tuple[str, str], Measures]) -> None:
    best = table[kind, "optimum"]
    for (other, contender), measures in table.items():
        if other == kind and measures.violation_minutes <= best.violation_minutes:
            assert measures.replica_hours >= best.replica_hours, contender
    assert (
        best.violation_minutes <= min(one.violation_minutes for (other, _), one in table.items() if other == kind) + 2
    )


@pytest.mark.parametrize("kind", KINDS)
def test_ours_is_no_worse_than_hpa_and_turns_round_no_more_often(
    kind: str, table: Mapping[tuple[str, str], Measures]
) -> None:
    ours, hpa = table[kind, "ours"], table[kind, "hpa"]

    assert ours.violation_minutes <= hpa.violation_minutes * 1.1
    assert ours.replica_hours <= hpa.replica_hours * 1.01
    assert ours.reversals <= hpa.reversals


@pytest.mark.parametrize("kind", KINDS)
def test_ours_never_scales_down_while_a_metric_fails(kind: str, table: Mapping[tuple[str, str], Measures]) -> None:
    assert table[kind, "ours"].blind_scale_downs == 0


@pytest.mark.parametrize("kind", sorted(SEASONAL))
def test_a_forecast_saves_violations_for_a_tenth_of_the_hours_at_most(
    kind: str, table: Mapping[tuple[str, str], Measures]
) -> None:
    without, foreseeing = table[kind, "ours"], table[kind, FORESEEING.name]

    assert foreseeing.violation_minutes < without.violation_minutes
    assert foreseeing.replica_hours <= without.replica_hours * 1.1
