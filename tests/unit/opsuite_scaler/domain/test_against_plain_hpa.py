"""`decide` beside a second, plain reading of HPA's algorithm: whole runs of ticks, size for size."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from fakes.clock import NOON
from fakes.plain_hpa import PlainHpa
from fakes.scaling import FAILED, SECOND, a_member, a_policy, cpu, level, memory, one, per_member, queue
from hypothesis import given, note, settings
from hypothesis import strategies as st

from opsuite_scaler.domain.decide import acted, decide
from opsuite_scaler.domain.decision import State, Verdict
from opsuite_scaler.domain.policy import (
    Behavior,
    MetricKind,
    MetricSpec,
    RateKind,
    RatePolicy,
    Resource,
    ScalingPolicy,
    ScalingRules,
    Select,
    TargetType,
    Timing,
)
from opsuite_scaler.domain.snapshot import Member, MemberPhase, Reading, SampleKind, Snapshot

SECONDS = st.sampled_from([0, 1, 15, 30, 60, 300])
METRICS = [
    cpu(60),
    cpu(120),
    cpu(400, target_type=TargetType.AVERAGE_VALUE),
    memory(80),
    per_member(10),
    per_member(0.3),
    level(10),
    level(0.7, kind=MetricKind.EXTERNAL),
    queue(10),
    queue(0.3),
]


@st.composite
def direction(draw: st.DrawFn) -> ScalingRules:
    rate = st.builds(
        RatePolicy,
        st.sampled_from(RateKind),
        st.sampled_from([1, 4, 10, 33, 100]),
        st.sampled_from([1, 15, 45, 300]).map(lambda seconds: seconds * SECOND),
    )
    return ScalingRules(
        draw(SECONDS) * SECOND,
        draw(st.sampled_from(Select)),
        tuple(draw(st.lists(rate, min_size=1, max_size=3))),
        draw(st.sampled_from([0.0, 0.05, 0.1, 0.5])),
    )


@st.composite
def policies(draw: st.DrawFn) -> ScalingPolicy:
    specs = draw(st.lists(st.sampled_from(METRICS), min_size=1, max_size=3))
    named = [replace(spec, name=f"{spec.name}{index}") for index, spec in enumerate(specs)]
    low = draw(st.integers(1, 4))
    return a_policy(
        *named,
        min_replicas=low,
        max_replicas=low + draw(st.integers(0, 20)),
        behavior=draw(st.none() | st.builds(Behavior, direction(), direction())),
        timing=Timing(cpu_initialization=60 * SECOND, initial_readiness_delay=10 * SECOND),
    )


@st.composite
def members(draw: st.DrawFn, now_seconds: int) -> tuple[Member, ...]:
    now = NOON + now_seconds * SECOND
    found = []
    for number in range(draw(st.integers(0, 5))):
        started = now - draw(st.sampled_from([5, 20, 59, 60, 61, 500])) * SECOND
        requests = draw(st.sampled_from([{"cpu": 500, "memory": 700}] * 7 + [{"cpu": 250, "memory": 90}] * 2 + [{}]))
        found.append(
            a_member(
                number,
                phase=draw(st.sampled_from([MemberPhase.RUNNING] * 6 + list(MemberPhase))),
                ready=draw(st.sampled_from([True, True, True, False, None])),
                started_at=draw(st.sampled_from([started] * 9 + [None])),
                ready_changed_at=started + draw(st.sampled_from([0, 5, 10, 11, 30])) * SECOND,
                requests=requests,
            )
        )
    return tuple(found)


@st.composite
def reading(draw: st.DrawFn, spec: MetricSpec, among: tuple[Member, ...], now_seconds: int) -> Reading:
    if draw(st.integers(0, 9)) == 0:
        return FAILED
    at = NOON + (now_seconds - draw(st.sampled_from([0, 10, 30]))) * SECOND
    if spec.kind in (MetricKind.OBJECT, MetricKind.EXTERNAL):
        total = draw(st.sampled_from([0, 0.3, 1, 7, 9.9, 10, 11, 11.1, 20, 35, 90, 1000, 1e30]) | st.floats(-5, 100))
        return one(total, at=at)
    near = {Resource.CPU: 300.0, Resource.MEMORY: 500.0}.get(spec.resource, 10.0) if spec.resource else spec.target
    sampled = {
        member.name: near * draw(st.sampled_from([0, 0.2, 0.9, 1, 1.1, 1.2, 3]) | st.floats(0, 3))
        for member in among
        if draw(st.integers(0, 6))
    }
    return Reading(SampleKind.VALUE, by_member=sampled, at=at, window=draw(st.sampled_from([0, 15, 30])) * SECOND)


@settings(max_examples=100)
@given(st.data())
def test_every_size_of_a_run_is_that_of_the_plain_reading(data: st.DataObject) -> None:
    policy = data.draw(policies())
    plain, state = PlainHpa(policy), State()
    size = data.draw(st.integers(0, 25))
    seconds = 0
    for _ in range(data.draw(st.integers(1, 8))):
        now = NOON + seconds * SECOND
        there = data.draw(members(seconds))
        snapshot = Snapshot(
            now,
            size,
            data.draw(st.sampled_from([size, len(there)])),
            there,
            {spec.name: data.draw(reading(spec, there, seconds)) for spec in policy.metrics},
        )
        outcome, expected = decide(policy, snapshot, state), plain.tick(snapshot)

        note(f"{seconds} s: {outcome.steps}")
        assert outcome.decision.desired == expected
        assert outcome.decision.verdict is (Verdict.NO_CHANGE if expected == size else Verdict.SCALE)
        state = outcome.state
        if expected != size and data.draw(st.integers(0, 4)):  # now and then the target refuses
            state = acted(policy, state, outcome.decision, now)
            plain.scaled(size, expected, now)
            size = expected
        if data.draw(st.integers(0, 9)) == 0:  # and somebody else changes it
            size = data.draw(st.integers(0, 25))
        seconds += data.draw(st.sampled_from([1, 15, 15, 30, 45, 60, 240, 300]))


def test_the_plain_reading_has_an_opinion_of_its_own() -> None:
    plain = PlainHpa(a_policy(queue(10), behavior=None))
    snapshot = Snapshot(NOON, 2, 2, (), {"queue": one(30)})

    assert plain.tick(snapshot) == 3
    assert plain.tick(Snapshot(NOON + timedelta(seconds=15), 3, 3, (), {"queue": one(10)})) == 3
