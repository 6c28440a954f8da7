from datetime import timedelta

from opsuite_scaler.domain.policy import MetricKind, MetricSpec, ScalingPolicy, TargetKind, TargetRef, TargetType
from opsuite_scaler.domain.simulation.backtest import Track, backtest
from opsuite_scaler.domain.simulation.baselines import KnativeScaler, ThresholdScaler
from opsuite_scaler.domain.simulation.plant import Site
from opsuite_scaler.domain.simulation.traces import Mark, Trace

LOAD = MetricSpec("load", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 70)
POLICY = ScalingPolicy(TargetRef(TargetKind.WORKLOAD, "web"), (LOAD,), max_replicas=40)
SECOND = timedelta(seconds=1)


def _knative(*loads: tuple[int, float], marks: bytes = b"") -> Track:
    values = tuple(load for ticks, load in loads for _ in range(ticks))
    return backtest(KnativeScaler(POLICY), Trace("t", 2 * SECOND, values, marks), Site(startup=10 * SECOND))


def test_knative_panics_on_the_double_load_and_shrinks_only_after_a_stable_window_without() -> None:
    track = _knative((60, 700.0), (6, 2100.0), (60, 700.0))

    panic = next(change for change in track.changes if change.reason == "Panic")
    first_down = next(change for change in track.changes if change.after < change.before)
    assert panic.after > 20
    assert first_down.tick - panic.tick >= 30


def test_knative_halves_at_most() -> None:
    track = _knative((60, 700.0), (60, 0.0))

    assert all(change.after >= change.before // 2 for change in track.changes)
    assert track.size[-1] == 1


def test_knative_does_nothing_without_data() -> None:
    track = _knative((30, 700.0), (60, 0.0), marks=bytes(30) + bytes([Mark.ERROR]) * 60)

    assert track.size[-1] == 10


def test_a_threshold_rests_after_each_step() -> None:
    trace = Trace("t", 60 * SECOND, (700.0,) * 3 + (2000.0,) * 30)
    track = backtest(ThresholdScaler(POLICY), trace, Site())

    assert [(change.tick, change.before, change.after) for change in track.changes[:3]] == [
        (3, 10, 12),
        (8, 12, 14),
        (13, 14, 16),
    ]
