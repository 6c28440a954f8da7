"""What holds of every decision, over policies with everything that HPA has and lacks, and whole runs of ticks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

from fakes.clock import NOON
from fakes.scaling import (
    FAILED,
    HOUR,
    MINUTE,
    SECOND,
    a_policy,
    cpu,
    formula,
    latency,
    level,
    of_members,
    one,
    per_member,
    percent,
    pods,
    queue,
    rules,
    some,
)
from hypothesis import given, note
from hypothesis import strategies as st

from opsuite_scaler.domain.bounds import bounds_of
from opsuite_scaler.domain.decide import acted, decide
from opsuite_scaler.domain.decision import Outcome, State, Verdict
from opsuite_scaler.domain.policy import (
    Behavior,
    Cooldown,
    CostBound,
    Fallback,
    FlapGuard,
    ForecastMode,
    ForecastSettings,
    MetricSpec,
    Mode,
    ModeSetting,
    Overlay,
    Quality,
    ScalingPolicy,
    Select,
)
from opsuite_scaler.domain.snapshot import Foreseen, PoolGrant, Reading, Snapshot
from opsuite_scaler.domain.state_codec import decoded, encoded

METRICS = [cpu(60), cpu(300, name="cores"), per_member(10), queue(10), level(10), latency(0.2), formula("sum")]
WINDOWS = st.sampled_from([0, 30, 300])
RATES = st.lists(st.sampled_from([pods(1), pods(5, 60), percent(50, 30), percent(100, 300)]), min_size=1, max_size=2)
RULES = st.builds(
    lambda rates, window, select, tolerance: rules(*rates, window=window, select=select, tolerance=tolerance),
    RATES,
    WINDOWS,
    st.sampled_from(Select),
    st.sampled_from([0.0, 0.1, 0.3]),
)
DURATIONS = st.sampled_from([0 * SECOND, 30 * SECOND, 5 * MINUTE])
OVERLAYS = st.sampled_from(
    [
        Overlay("noon", "0 12 * * *", 2 * MINUTE, min_replicas=6),
        Overlay("soon", "3 12 * * *", HOUR, max_replicas=7, min_replicas=0),
        Overlay("odd", "1-59/2 * * * *", MINUTE, min_replicas=4, max_replicas=9),
    ]
)
WISHES = {"metric_proposal", "metric_failure", "metric_skipped", "failure_blocks_down"}
WISHES |= {"no_metrics", "activation", "forecast_floor"}
MODES = st.builds(
    ModeSetting, st.sampled_from(Mode), st.none() | st.integers(0, 600).map(lambda seconds: NOON + seconds * SECOND)
)


def total(_: str, values: Mapping[str, float | None]) -> float:
    """Fits `Evaluate`: the sum of everything that has a value."""
    return sum(value for value in values.values() if value is not None)


@st.composite
def policies(draw: st.DrawFn) -> ScalingPolicy:
    specs = [draw(tuned(spec)) for spec in draw(st.lists(st.sampled_from(METRICS), max_size=3, unique_by=id))]
    low = draw(st.integers(0, 4))
    return a_policy(
        *specs,
        min_replicas=low,
        max_replicas=low + draw(st.integers(1, 16)),
        behavior=draw(st.none() | st.builds(Behavior, RULES, RULES)),
        cooldown=draw(st.builds(Cooldown, DURATIONS, DURATIONS, DURATIONS)),
        flaps=draw(st.builds(FlapGuard, st.sampled_from([None, 0, 2]), st.booleans())),
        overlays=tuple(draw(st.lists(OVERLAYS, max_size=2, unique_by=id))),
        cost=draw(st.sampled_from([None, None, CostBound(1, max_per_hour=7), CostBound(1, budget=10)])),
        mode=draw(st.sampled_from([ModeSetting()] * 3) | MODES),
        hold_during_rollout=draw(st.booleans()),
        forecast=ForecastSettings(draw(st.sampled_from(ForecastMode))),
    )


@st.composite
def tuned(draw: st.DrawFn, spec: MetricSpec) -> MetricSpec:
    fallback = Fallback(draw(st.sampled_from(Quality)), draw(st.sampled_from([0, 2])), draw(st.integers(0, 9)), MINUTE)
    return replace(spec, fallback=draw(st.sampled_from([Fallback(), fallback])), confirm_drop=draw(st.booleans()))


@st.composite
def readings(draw: st.DrawFn, spec: MetricSpec, size: int, seconds: int) -> Reading:
    if not draw(st.integers(0, 6)):
        return FAILED
    at = NOON + (seconds - draw(st.sampled_from([0, 5, 500]))) * SECOND
    if spec.kind.value in ("resource", "pods"):
        samples = [draw(st.sampled_from([None, 0, 5, 10, 200, 600, 900])) for _ in range(size)]
        return of_members(*samples, at=at)
    return one(draw(st.sampled_from([0, 0.1, 0.3, 4, 9, 10, 30, 65, 200, 1e9])), at=at)


@st.composite
def snapshots(draw: st.DrawFn, policy: ScalingPolicy, size: int, seconds: int) -> Snapshot:
    now = NOON + seconds * SECOND
    return Snapshot(
        now,
        size,
        size,
        some(size),
        {spec.name: draw(readings(spec, size, seconds)) for spec in policy.metrics},
        rollout_under_way=not draw(st.integers(0, 9)),
        pool=draw(st.sampled_from([None, None, PoolGrant("p", 5), PoolGrant("p", 0)])),
        spent=draw(st.sampled_from([0, 4, 12])),
        forecast=draw(st.sampled_from([None, Foreseen(7, now + MINUTE, True), Foreseen(7, now, False)])),
        manual_until=draw(st.sampled_from([None, None, None, now + MINUTE])),
    )


Tick = tuple[ScalingPolicy, Snapshot, State, Outcome]


def run(data: st.DataObject, policy: ScalingPolicy, most: int = 6) -> Iterator[Tick]:
    """A target that is looked at again and again, mostly does what it is told, and is changed by others at times."""
    state, size, seconds = State(), data.draw(st.integers(0, 20)), 0
    for _ in range(data.draw(st.integers(1, most))):
        snapshot = data.draw(snapshots(policy, size, seconds))
        outcome = decide(policy, snapshot, state, total)
        note(str(outcome))
        yield policy, snapshot, state, outcome
        state = outcome.state
        if outcome.decision.is_to_be_done and data.draw(st.integers(0, 4)):
            state, size = acted(policy, state, outcome.decision, snapshot.now), outcome.decision.desired
        elif not data.draw(st.integers(0, 9)):
            size = data.draw(st.integers(0, 20))
        seconds += data.draw(st.sampled_from([1, 15, 30, 60, 290]))


def within_the_bounds_unless_on_the_way_back_to_them(
    policy: ScalingPolicy, snapshot: Snapshot, outcome: Outcome
) -> None:
    bounds, asked, size = bounds_of(policy, snapshot), outcome.decision, snapshot.spec_replicas
    if asked.verdict is Verdict.SCALE:
        assert bounds.low <= asked.desired <= bounds.high
    if not bounds.low <= size <= bounds.high and asked.is_to_be_done:
        assert asked.desired == (bounds.high if size > bounds.high else bounds.low)


def never_against_what_is_wanted(policy: ScalingPolicy, snapshot: Snapshot, outcome: Outcome) -> None:
    """What is wanted is what the metrics, activation and the forecast say together."""
    wishes = [step for step in outcome.steps if step.rule in WISHES]
    if not wishes or policy.behavior is None:  # HPA without behavior takes the most of a window as it is
        return
    size, wanted, asked = snapshot.spec_replicas, wishes[-1].after, outcome.decision
    after = asked.desired if asked.verdict is Verdict.SCALE else size
    assert min(size, wanted) <= after <= max(size, wanted)


def nothing_shrinks_while_a_metric_fails(policy: ScalingPolicy, snapshot: Snapshot, outcome: Outcome) -> None:
    is_corrected = snapshot.spec_replicas > bounds_of(policy, snapshot).high
    if any(step.rule == "metric_failure" for step in outcome.steps) and not is_corrected:
        assert outcome.decision.desired >= snapshot.spec_replicas


def steps_are_a_chain_from_the_size_to_the_decision(_: ScalingPolicy, snapshot: Snapshot, outcome: Outcome) -> None:
    steps, found = outcome.steps, outcome.decision
    assert steps
    assert steps[0].before == found.current == snapshot.spec_replicas
    assert all(earlier.after == later.before for earlier, later in pairwise(steps))
    assert steps[-1].after == (found.desired if found.verdict is Verdict.SCALE else found.current)
    assert found.reason in {step.reason for step in steps}
    assert all(step.message for step in steps)


def the_verdict_says_what_the_sizes_say(_: ScalingPolicy, __: Snapshot, outcome: Outcome) -> None:
    found = outcome.decision
    assert (found.desired != found.current) is (found.verdict is not Verdict.NO_CHANGE)
    assert found.remaining >= 0 * SECOND
    assert found.remaining == 0 * SECOND or found.verdict is Verdict.WAIT
    assert found.verdict is not Verdict.WAIT or found.withheld == found.desired


def inputs_can_be_stored_as_json(_: ScalingPolicy, __: Snapshot, outcome: Outcome) -> None:
    for step in outcome.steps:
        assert json.loads(json.dumps(dict(step.inputs), allow_nan=False)) == step.inputs


PROMISES = (
    within_the_bounds_unless_on_the_way_back_to_them,
    never_against_what_is_wanted,
    nothing_shrinks_while_a_metric_fails,
    steps_are_a_chain_from_the_size_to_the_decision,
    the_verdict_says_what_the_sizes_say,
    inputs_can_be_stored_as_json,
)


@given(st.data())
def test_every_decision_of_a_run_keeps_its_promises_and_is_the_same_after_a_restart(data: st.DataObject) -> None:
    for policy, snapshot, state, outcome in run(data, data.draw(policies())):
        for promise in PROMISES:
            promise(policy, snapshot, outcome)
        restored = decoded(json.loads(json.dumps(encoded(state))))
        assert decide(policy, snapshot, restored, total) == outcome


@given(st.data())
def test_more_load_never_asks_for_fewer_replicas(data: st.DataObject) -> None:
    """With every member ready and seen: where fewer are ready than asked for, HPA itself may count down."""
    policy = data.draw(policies())
    spec = data.draw(st.sampled_from([cpu(60), per_member(10), queue(10), level(10)]))
    policy = replace(policy, metrics=(spec,))
    size = data.draw(st.integers(1, 12))
    state = State()
    for _, _, _, outcome in run(data, policy, most=3):
        state = outcome.state
    less = data.draw(st.floats(0, 3))
    more = data.draw(st.floats(less, 4))

    def asked(load: float) -> int:
        share = load * {"cpu": 600, "requests": 10, "queue": 10 * size, "level": 10}[spec.name]
        reading = of_members(*[share] * size) if spec.kind.value in ("resource", "pods") else one(share)
        snapshot = Snapshot(NOON + HOUR, size, size, some(size), {spec.name: replace(reading, at=NOON + HOUR)})
        found = decide(policy, snapshot, state).decision
        return found.desired if found.verdict is Verdict.SCALE else size

    assert asked(less) <= asked(more)
