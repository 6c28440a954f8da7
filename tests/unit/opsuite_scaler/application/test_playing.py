from __future__ import annotations

from array import array
from datetime import UTC, datetime, timedelta

import pytest

from opsuite_kernel.errors import Conflict, InvalidInput
from opsuite_scaler.adapters.plots import plot, unit_of
from opsuite_scaler.application.playing import played, reasons_of, series_of
from opsuite_scaler.application.rehearsal import Job
from opsuite_scaler.application.trace_sources import evenly
from opsuite_scaler.domain.policy import MetricKind, MetricSpec, ScalingPolicy, TargetKind, TargetRef, TargetType
from opsuite_scaler.domain.simulation.backtest import Track
from opsuite_scaler.domain.simulation.contenders import Baseline, Contender, Tools
from opsuite_scaler.domain.simulation.generators import Shape, generate
from opsuite_scaler.domain.simulation.plant import Site
from opsuite_scaler.domain.simulation.traces import MONDAY, Mark

LOAD = MetricSpec("load", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 70)
POLICY = ScalingPolicy(TargetRef(TargetKind.WORKLOAD, "web"), (LOAD,), max_replicas=40)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def a_job(*baselines: Baseline | None, keep_series: bool = True) -> Job:
    contenders = tuple(Contender(one.value if one else "ours", POLICY, one) for one in baselines)
    return Job(generate("step", 1, Shape(timedelta(hours=1))), contenders, Site(), keep_series)


def a_track() -> Track:
    return Track(
        "ours",
        "t",
        MINUTE,
        Site(),
        MONDAY,
        array("d", [1, 3, 5, 7, 9]),
        array("l", [1, 2, 3, 4, 5]),
        array("l", [5, 4, 5, 2, 1]),
        array("d", [0] * 5),
        [],
        ["", "Up", "Down"],
        array("H", [0, 1, 1, 2, 2]),
    )


def test_a_series_is_thinned_out_without_hiding_a_shortage() -> None:
    series = series_of(a_track(), most=3)

    assert series.step == 2 * MINUTE
    assert list(series.load) == [2, 6, 9]
    assert list(series.serving) == [4, 2, 1]
    assert list(series.desired) == [2, 4, 5]
    assert list(series.reason) == ["Up", "Down", "Down"]


def test_reasons_are_counted_from_the_first_decision_on() -> None:
    assert reasons_of(a_track()) == {"Up": 2, "Down": 2}


def test_progress_runs_from_nothing_to_all_over_all_contenders() -> None:
    shares: list[float] = []

    outcome = played(a_job(None, Baseline.THRESHOLD), Tools(), shares.append)

    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert outcome.ticks == 480
    assert outcome.partings == ()


def test_equal_jobs_are_drawn_with_equal_bytes() -> None:
    svgs, pngs = (
        [plot("a step", played(a_job(None, Baseline.OPTIMUM), Tools(), lambda _: None).played, kind) for _ in range(2)]
        for kind in ("svg", "png")
    )

    assert svgs[0] == svgs[1]
    assert pngs[0] == pngs[1]
    assert svgs[0].startswith(b"<?xml")
    assert pngs[0].startswith(b"\x89PNG")
    assert b"dc:date" not in svgs[0]


@pytest.mark.parametrize(
    ("length", "unit"), [(MINUTE, "seconds"), (4 * MINUTE, "minutes"), (300 * MINUTE, "hours"), (9000 * MINUTE, "days")]
)
def test_time_is_told_in_a_unit_that_fits(length: timedelta, unit: str) -> None:
    assert unit_of(length) == unit


def test_a_backtest_without_series_cannot_be_drawn() -> None:
    with pytest.raises(Conflict) as refused:
        plot("a step", played(a_job(None, keep_series=False), Tools(), lambda _: None).played, "png")

    assert refused.value.reason == "NO_SERIES"


def test_points_become_even_steps_with_gaps_where_nothing_was_seen() -> None:
    points = [(NOON, 1.0), (NOON + MINUTE, 3.0), (NOON + 1.5 * MINUTE, 5.0), (NOON + 4 * MINUTE, 8.0)]

    trace = evenly("seen", points, "recorded", MINUTE)

    assert trace.values == (1, 4, 4, 4, 8)
    assert trace.marks == bytes([0, 0, Mark.GAP, Mark.GAP, 0])
    assert trace.start == NOON


def test_the_step_is_the_shortest_time_between_points() -> None:
    points = [(NOON, 1.0), (NOON + 5 * MINUTE, 2.0), (NOON + 7 * MINUTE, 3.0)]

    assert evenly("seen", points, "recorded").step == 2 * MINUTE


@pytest.mark.parametrize("points", [[], [(NOON, 1.0)]])
def test_too_few_points_are_no_trace(points: list[tuple[datetime, float]]) -> None:
    with pytest.raises(InvalidInput) as refused:
        evenly("seen", points, "recorded")

    assert refused.value.violations[0].field == "trace.recorded"
