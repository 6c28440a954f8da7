"""Which readings are believed, and what stands in for the others."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.clock import NOON
from fakes.scaling import (
    FAILED,
    MINUTE,
    SECOND,
    a_policy,
    ago,
    cpu,
    decision,
    desired,
    level,
    of_members,
    one,
    per_member,
    queue,
    seen,
    step,
)

from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import MetricMemory, State
from opsuite_scaler.domain.policy import Fallback, MetricSpec, Quality
from opsuite_scaler.domain.snapshot import Reading

SIZE = 4


def after_failures(count: int, **memory: object) -> State:
    return State(metrics={"queue": replace(MetricMemory(count), **memory)})  # type: ignore[arg-type]  # any field


def guarded(behavior: Quality, **fields: object) -> MetricSpec:
    return queue(10, fallback=replace(Fallback(behavior), **fields))  # type: ignore[arg-type]  # any field


@pytest.mark.parametrize(
    ("age", "allowed", "expected"),
    [(120, 120, 2), (120.001, 120, SIZE), (0, 120, 2), (31, 30, SIZE), (-5, 30, 2)],
    ids=["exactly as old as allowed", "older", "fresh", "older than a shorter limit", "of a clock that is ahead"],
)
def test_a_sample_that_is_too_old_is_none(age: float, allowed: float, expected: int) -> None:
    policy = a_policy(queue(10, stale_after=allowed * SECOND))

    found = decision(policy, seen(SIZE, queue=one(20, at=ago(age))))

    assert found.desired == expected
    assert ("stale" in found.message) is (expected == SIZE)


def test_a_sample_without_a_time_is_fresh() -> None:
    assert desired(a_policy(queue(10)), seen(SIZE, queue=one(20, at=None))) == 2


@pytest.mark.parametrize(
    ("failures", "expected"), [(2, SIZE), (3, 9)], ids=["the third in a row", "the fourth, which is more than 3"]
)
def test_a_fallback_stands_in_after_more_failures_in_a_row_than_the_threshold(failures: int, expected: int) -> None:
    policy = a_policy(guarded(Quality.STATIC, replicas=9))

    assert desired(policy, seen(SIZE, queue=FAILED), after_failures(failures)) == expected


@pytest.mark.parametrize(
    ("behavior", "replicas", "expected"),
    [
        (Quality.HOLD, 9, SIZE),
        (Quality.STATIC, 9, 9),
        (Quality.STATIC, 2, 2),
        (Quality.CURRENT, 9, SIZE),
        (Quality.CURRENT_IF_HIGHER, 2, SIZE),
        (Quality.CURRENT_IF_HIGHER, 9, 9),
        (Quality.CURRENT_IF_LOWER, 2, 2),
        (Quality.CURRENT_IF_LOWER, 9, SIZE),
    ],
)
def test_each_fallback_names_its_size(behavior: Quality, replicas: int, expected: int) -> None:
    policy = a_policy(guarded(behavior, replicas=replicas))

    assert desired(policy, seen(SIZE, queue=FAILED), after_failures(10)) == expected


def test_a_metric_with_a_fallback_no_longer_blocks_the_others() -> None:
    policy = a_policy(guarded(Quality.STATIC, replicas=2), cpu(50))
    snapshot = seen(SIZE, queue=FAILED, cpu=of_members(*[250] * SIZE))

    assert desired(policy, snapshot, after_failures(0)) == SIZE
    assert desired(policy, snapshot, after_failures(3)) == 2


def test_a_fallback_is_told() -> None:
    policy = a_policy(guarded(Quality.STATIC, replicas=9))

    told = step(decide(policy, seen(SIZE, queue=FAILED), after_failures(5)), "metric_proposal")

    assert (told.reason, told.inputs["failures"], told.after) == ("Fallback", 6, 9)
    assert "connection refused" in told.message


@pytest.mark.parametrize(("age", "expected"), [(300, 2), (300.1, SIZE)], ids=["exactly max_age", "older"])
def test_a_last_value_stands_in_for_its_time(age: float, expected: int) -> None:
    policy = a_policy(guarded(Quality.LAST_VALUE, max_age=5 * MINUTE))
    state = after_failures(3, last_value=20.0, last_at=ago(age))

    assert desired(policy, seen(SIZE, queue=FAILED), state) == expected


def test_a_last_value_waits_for_the_threshold_and_needs_to_exist() -> None:
    policy = a_policy(guarded(Quality.LAST_VALUE))

    assert desired(policy, seen(SIZE, queue=FAILED), after_failures(2, last_value=20.0, last_at=NOON)) == SIZE
    assert desired(policy, seen(SIZE, queue=FAILED), after_failures(9)) == SIZE


def test_a_last_value_does_not_make_itself_younger() -> None:
    policy = a_policy(guarded(Quality.LAST_VALUE, failure_threshold=0))
    state = after_failures(0, last_value=20.0, last_at=ago(60))

    after = decide(policy, seen(SIZE, queue=FAILED), state).state.metrics["queue"]

    assert (after.last_at, after.last_value, after.failures) == (ago(60), 20.0, 1)


def test_a_last_value_that_needs_members_fails_without_them() -> None:
    policy = a_policy(level(10, fallback=Fallback(Quality.LAST_VALUE, 0)))
    state = State(metrics={"level": MetricMemory(5, 30.0, NOON)})

    assert desired(policy, seen(SIZE, (), level=FAILED), state) == SIZE
    assert desired(policy, seen(SIZE, level=FAILED), state) == 3 * SIZE


def test_a_value_ends_the_failures_and_is_remembered_with_its_time() -> None:
    state = decide(a_policy(queue(10)), seen(SIZE, queue=one(40, at=ago(7))), after_failures(9)).state

    assert state.metrics["queue"] == MetricMemory(0, 40, ago(7))


@pytest.mark.parametrize("reading", [one(0), one(0.0)])
def test_a_fall_to_zero_counts_when_the_next_measurement_sees_it_too(reading: Reading) -> None:
    policy = a_policy(queue(10, confirm_drop=True), max_replicas=50)
    before = after_failures(0, last_value=40.0, last_at=ago(15))

    first = decide(policy, seen(SIZE, queue=reading), before)
    same = decide(policy, seen(SIZE, queue=reading), first.state)
    second = decide(policy, seen(SIZE, queue=replace(reading, at=NOON + SECOND)), same.state)

    assert (first.decision.desired, first.state.metrics["queue"].drop_seen) == (SIZE, True)
    assert first.state.metrics["queue"].failures == 0, "the source has not failed"
    assert same.decision.desired == SIZE, "the same measurement again confirms nothing"
    assert (second.decision.desired, second.state.metrics["queue"].drop_seen) == (1, False)


def test_without_times_the_next_look_confirms_a_fall() -> None:
    policy = a_policy(queue(10, confirm_drop=True))
    before = after_failures(0, last_value=40.0, last_at=ago(15))

    first = decide(policy, seen(SIZE, queue=one(0, at=None)), before)

    assert first.decision.desired == SIZE
    assert desired(policy, seen(SIZE, queue=one(0, at=None)), first.state) == 1


def test_a_fall_that_was_none_and_one_that_was_interrupted_have_to_be_confirmed_anew() -> None:
    policy = a_policy(queue(10, confirm_drop=True))
    seen_once = after_failures(0, last_value=40.0, last_at=ago(15), drop_seen=True)

    back = decide(policy, seen(SIZE, queue=one(40)), seen_once).state
    interrupted = decide(policy, seen(SIZE, queue=FAILED), seen_once).state

    assert desired(policy, seen(SIZE, queue=one(0)), back) == SIZE
    assert desired(policy, seen(SIZE, queue=one(0)), interrupted) == SIZE


@pytest.mark.parametrize(
    ("guard", "last", "total", "expected"),
    [(False, 40.0, 0, 1), (True, None, 0, 1), (True, 0.0, 0, 1), (True, 40.0, 1, 1)],
    ids=["no guard", "nothing known before", "it was 0 before", "not to 0"],
)
def test_nothing_else_has_to_be_confirmed(guard: bool, last: float | None, total: float, expected: int) -> None:
    policy = a_policy(queue(10, confirm_drop=guard))
    state = after_failures(0, last_value=last, last_at=ago(15))

    assert desired(policy, seen(SIZE, queue=one(total)), state) == expected


def test_a_fall_of_every_member_to_zero_has_to_be_confirmed_and_one_of_some_has_not() -> None:
    policy = a_policy(per_member(10, confirm_drop=True))
    state = State(metrics={"requests": MetricMemory(0, 10.0, ago(15))})

    assert desired(policy, seen(2, requests=of_members(0, 0)), state) == 2
    assert desired(policy, seen(2, requests=of_members(0, 4)), state) == 1


def test_an_unconfirmed_fall_does_not_call_a_fallback() -> None:
    policy = a_policy(queue(10, confirm_drop=True, fallback=Fallback(Quality.STATIC, 0, 9)))
    state = after_failures(0, last_value=40.0, last_at=ago(15))

    assert desired(policy, seen(SIZE, queue=one(0)), state) == SIZE


def test_failures_of_any_length_leave_the_size_where_it_is_by_default() -> None:
    policy, state = a_policy(queue(10)), State()
    for tick in range(50):
        outcome = decide(policy, seen(SIZE, about={"now": NOON + timedelta(minutes=tick)}, queue=FAILED), state)
        state = outcome.state
        assert outcome.decision.desired == SIZE

    assert state.metrics["queue"].failures == 50
