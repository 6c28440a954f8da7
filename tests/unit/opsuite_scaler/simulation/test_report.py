from array import array
from datetime import timedelta

import pytest
from fakes.reports import as_bytes

from opsuite_scaler.domain.simulation.backtest import Change, Track
from opsuite_scaler.domain.simulation.plant import Site
from opsuite_scaler.domain.simulation.report import best_of, measured, partings, percentile, reversals
from opsuite_scaler.domain.simulation.traces import MONDAY

MINUTE = timedelta(minutes=1)


def a_track(
    load: list[float], size: list[int], serving: list[int] | None = None, changes: list[Change] | None = None
) -> Track:
    return Track(
        "ours",
        "t",
        MINUTE,
        Site(initial_replicas=2, price_per_replica_hour=3.0),
        MONDAY,
        array("d", load),
        array("l", size),
        array("l", serving or size),
        array("d", [0.0] * len(load)),
        changes or [],
    )


def a_change(tick: int, before: int, after: int, *, blind: bool = False) -> Change:
    return Change(tick, before, after, "Because", blind)


def test_minutes_with_too_few_replicas_are_violations_and_what_was_missing_is_the_area() -> None:
    found = measured(a_track([100, 250, 301, 300], size=[2, 3, 3, 3], serving=[2, 2, 2, 3]))

    assert found.violation_minutes == 2
    assert found.under_provision == pytest.approx((1 + 2) / 60, abs=1e-6)
    assert found.over_provision == pytest.approx(1 / 60, abs=1e-6)


def test_what_is_asked_for_is_paid_for() -> None:
    found = measured(a_track([0] * 60, size=[2] * 30 + [4] * 30))

    assert (found.replica_hours, found.cost, found.hours) == (3.0, 9.0, 1.0)


def test_time_to_capacity_is_the_length_of_each_shortage() -> None:
    found = measured(a_track([300, 300, 100, 300, 100], size=[2] * 5))

    assert (found.time_to_capacity_p50_seconds, found.time_to_capacity_p95_seconds) == (60, 120)


def test_a_reversal_undoes_the_direction_within_ten_minutes() -> None:
    changes = [a_change(0, 2, 3), a_change(5, 3, 2), a_change(16, 2, 3), a_change(20, 3, 4), a_change(30, 4, 3)]

    assert reversals(a_track([0] * 40, [2] * 40, changes=changes)) == 2


def test_a_scale_down_while_a_metric_was_faulty_is_blind() -> None:
    changes = [a_change(0, 2, 3, blind=True), a_change(5, 3, 2, blind=True), a_change(9, 2, 1)]

    found = measured(a_track([0] * 10, [2] * 10, changes=changes))

    assert (found.blind_scale_downs, found.scale_ups, found.scale_downs) == (1, 1, 2)


def test_utilisation_without_a_replica_is_not_a_division_by_zero() -> None:
    found = measured(a_track([0, 100], size=[0, 0]))

    assert found.utilization_p99_percent == 1000
    assert found.violation_minutes == 1


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 2), (51, 3), (95, 4), (100, 4)])
def test_percentiles_are_nearest_ranks(percent: int, expected: float) -> None:
    assert percentile([1, 2, 3, 4], percent) == expected


def test_the_optimum_has_no_more_than_what_serves_the_load() -> None:
    track = a_track([100, 100, 300, 300, 100, 100], [3] * 6)

    best = best_of(track, 1, 10)

    assert best.replica_hours == pytest.approx((1 + 3 + 3 + 1 + 1 + 1) / 60, abs=1e-6)
    assert best.violation_minutes == 0


def test_scalers_that_never_move_never_part() -> None:
    still = a_track([100, 100], size=[2, 2])

    assert partings(still, still) == []


def test_partings_name_the_times_and_reasons() -> None:
    ours = a_track([0] * 10, [2] * 10, changes=[a_change(2, 2, 4), a_change(6, 4, 2)])
    theirs = a_track([0] * 10, [2] * 10, changes=[a_change(4, 2, 4), a_change(6, 4, 2)])

    found = partings(ours, theirs)

    assert [(one.from_seconds, one.until_seconds, one.first, one.second) for one in found] == [(120, 240, 4, 2)]
    assert (found[0].first_reason, found[0].second_reason) == ("Because", "")


def test_equal_reports_are_equal_bytes() -> None:
    track = a_track([100, 250, 301, 300], size=[2, 3, 3, 3])

    assert as_bytes(measured(track)) == as_bytes(measured(track))
    assert b'"violation_minutes":1.0' in as_bytes({"ours": measured(track)})
