from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.reports import as_bytes

from opsuite_scaler.adapters.forecasting import fit_holt_winters
from opsuite_scaler.domain.policy import (
    SCALE_UP_RULES,
    Behavior,
    ForecastMode,
    ForecastSettings,
    MetricKind,
    MetricSpec,
    Mode,
    ModeSetting,
    RateKind,
    RatePolicy,
    ScalingPolicy,
    TargetKind,
    TargetRef,
    TargetType,
    Timing,
)
from opsuite_scaler.domain.simulation.contenders import Baseline, Contender, Tools, play, ticks_of
from opsuite_scaler.domain.simulation.generators import Shape, generate
from opsuite_scaler.domain.simulation.plant import Site
from opsuite_scaler.domain.simulation.report import best_of, measured
from opsuite_scaler.domain.simulation.traces import Trace

LOAD = MetricSpec("load", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 70)
POLICY = ScalingPolicy(TargetRef(TargetKind.WORKLOAD, "web"), (LOAD,), max_replicas=40)
FORESEEING = replace(
    POLICY,
    forecast=ForecastSettings(ForecastMode.RAISE_FLOOR, season=timedelta(hours=1), step=timedelta(minutes=1)),
)
TICK = timedelta(seconds=15)
HOUR = Shape(timedelta(hours=1))


@pytest.mark.parametrize("baseline", [None, *Baseline])
def test_equal_input_gives_equal_bytes(baseline: Baseline | None) -> None:
    contender = Contender("one", FORESEEING, baseline)
    trace = generate("on_off", 4, Shape(timedelta(hours=3), season=timedelta(hours=1)))

    first, again = (play(contender, trace, Site(), Tools(fit_holt_winters)) for _ in range(2))

    assert as_bytes(measured(first)) == as_bytes(measured(again))
    assert (first.size, first.changes, first.reason) == (again.size, again.changes, again.reason)
    assert len(first.size) == ticks_of(contender, trace)


def test_a_policy_grows_at_once_and_shrinks_when_what_it_wanted_is_five_minutes_old() -> None:
    trace = Trace("t", TICK, (700.0,) * 4 + (1400.0,) * 4 + (700.0,) * 40)

    track = play(Contender("ours", POLICY), trace, Site())

    assert [(change.tick, change.before, change.after) for change in track.changes] == [(4, 10, 20), (28, 20, 10)]
    assert track.serving[7] == 10, "what was asked for at tick 4 starts for a minute"
    assert track.serving[8] == 20


def test_a_dry_run_is_played_in_earnest_and_a_pause_is_not() -> None:
    trace = Trace("t", TICK, (1400.0,) * 4)
    sizes = {
        mode: play(Contender("ours", replace(POLICY, mode=ModeSetting(mode))), trace, Site()).size[-1]
        for mode in (Mode.DRY_RUN, Mode.PAUSED)
    }

    assert sizes == {Mode.DRY_RUN: 20, Mode.PAUSED: 10}


def test_a_forecast_asks_before_the_load_is_there() -> None:
    trace = generate("on_off", 1, Shape(timedelta(hours=3), season=timedelta(hours=1)))
    rise = next(index for index, load in enumerate(trace.values) if index > 480 and load > 1000)

    track = play(Contender("ours", FORESEEING), trace, Site(), Tools(fit_holt_winters))

    assert track.size[rise - 1] > 20
    assert track.reasons[track.reason[rise - 1]] in ("Foreseen", "ScaleUpLimit")


def test_a_scaler_without_a_forecast_waits_for_the_load() -> None:
    trace = generate("on_off", 1, Shape(timedelta(hours=3), season=timedelta(hours=1)))
    rise = next(index for index, load in enumerate(trace.values) if index > 480 and load > 1000)

    track = play(Contender("ours", POLICY), trace, Site())

    assert track.size[rise - 1] < 10


def test_the_optimum_as_a_contender_is_the_optimum_of_the_report() -> None:
    trace = generate("step", 1, HOUR)
    track = play(Contender("best", POLICY, Baseline.OPTIMUM), trace, Site())

    assert measured(track).replica_hours == best_of(track, 1, 40).replica_hours
    assert measured(track).violation_minutes == 0


def test_progress_is_told_and_what_it_raises_ends_the_backtest() -> None:
    trace = Trace("t", TICK, (700.0,) * 10_000)
    told: list[tuple[int, int]] = []
    play(Contender("ours", POLICY), trace, Site(), progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 10_000), (4096, 10_000), (8192, 10_000), (10_000, 10_000)]

    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > 4000:
            raise Enough

    with pytest.raises(Enough):
        play(Contender("ours", POLICY), trace, Site(), progress=stop)


def test_a_scaler_with_a_long_tick_lives_through_the_short_steps_of_the_trace() -> None:
    trace = Trace("t", TICK, (0.0, 0.0, 0.0, 5000.0) * 10)

    track = play(Contender("slow", POLICY, Baseline.THRESHOLD), trace, Site())

    assert len(track.load) == 40
    assert measured(track).violation_minutes > 0
    assert {change.tick % 4 for change in track.changes} <= {0}


def test_a_policy_is_asked_at_its_own_ticks_only() -> None:
    slow = replace(POLICY, timing=Timing(tick=timedelta(seconds=60)))
    trace = Trace("t", TICK, (700.0,) * 5 + (1400.0,) * 11)

    track = play(Contender("slow", slow), trace, Site())

    assert [(change.tick, change.after) for change in track.changes] == [(8, 20)]


def test_what_was_done_counts_for_rates() -> None:
    four = (RatePolicy(RateKind.PODS, 4, timedelta(seconds=60)),)
    limited = replace(POLICY, behavior=Behavior(replace(SCALE_UP_RULES, policies=four)))
    trace = Trace("t", TICK, (2100.0,) * 10)

    track = play(Contender("ours", limited), trace, Site())

    assert [(change.tick, change.after) for change in track.changes] == [(0, 14), (4, 18), (8, 22)]


def test_a_rollout_holds_the_size_of_a_policy_that_asks_for_it() -> None:
    trace = Trace("t", TICK, (700.0,) * 4 + (1400.0,) * 8, bytes(4) + bytes([5]) * 6 + bytes(2))

    held = play(Contender("ours", POLICY), trace, Site())
    free = play(Contender("ours", replace(POLICY, hold_during_rollout=False)), trace, Site())

    assert held.changes[0].tick > free.changes[0].tick
