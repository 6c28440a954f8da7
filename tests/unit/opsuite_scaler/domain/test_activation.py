"""Zero replicas and back."""

from __future__ import annotations

import pytest
from fakes.clock import NOON
from fakes.scaling import (
    FAILED,
    MINUTE,
    SECOND,
    a_member,
    a_policy,
    ago,
    cpu,
    decision,
    desired,
    level,
    of_members,
    one,
    pods,
    queue,
    rules,
    seen,
    step,
)

from opsuite_scaler.domain.decide import acted, decide
from opsuite_scaler.domain.decision import MetricMemory, State, Verdict
from opsuite_scaler.domain.policy import Behavior, Cooldown, Fallback, MetricSpec, Quality, ScalingPolicy

IDLE = State(last_active=ago(3600))
"""Nothing has been active for an hour."""


def to_zero(*metrics: MetricSpec, **fields: object) -> ScalingPolicy:
    return a_policy(*metrics, **{"min_replicas": 0} | fields)


@pytest.mark.parametrize(
    ("activation", "total", "expected"),
    [(0, 0, 0), (0, 0.001, 1), (5, 5, 0), (5, 5.001, 1), (5, 95, 10), (50, 40, 0)],
    ids=[
        "nothing",
        "a bit",
        "exactly the activation",
        "above",
        "far above",
        "priority over the target",
    ],
)
def test_zero_is_left_only_above_the_activation(activation: float, total: float, expected: int) -> None:
    assert desired(to_zero(queue(10, activation=activation)), seen(0, queue=one(total))) == expected


def test_one_active_metric_is_enough_and_then_all_count() -> None:
    policy = to_zero(queue(10, activation=50), level(10, activation=2))

    assert desired(policy, seen(0, queue=one(40), level=one(3))) == 4
    assert desired(policy, seen(0, queue=one(40), level=one(2))) == 0


@pytest.mark.parametrize("size", [1, 5])
def test_while_something_is_active_one_replica_stays(size: int) -> None:
    # 1.2 times those that serve, which are none: HPA's own arithmetic would say 0
    unready = seen(size, tuple(a_member(number, ready=False) for number in range(size)), level=one(12))

    outcome = decide(to_zero(level(10)), unready, IDLE)

    assert outcome.decision.desired == 1
    assert size == 1 or step(outcome, "activation").reason == "Active"


def test_when_nothing_is_active_the_target_goes_to_zero() -> None:
    outcome = decide(to_zero(queue(10, activation=5)), seen(3, queue=one(4)), IDLE)

    assert outcome.decision.desired == 0
    assert outcome.decision.reason == "NotActive"


def test_members_that_are_busy_hold_their_size_though_the_queue_is_empty() -> None:
    policy = to_zero(queue(10), cpu(50))

    assert desired(policy, seen(4, queue=one(0), cpu=of_members(250, 250, 250, 250)), IDLE) == 2
    assert desired(policy, seen(4, queue=one(0), cpu=of_members(0, 0, 0, 0)), IDLE) == 0


@pytest.mark.parametrize("failing", ["queue", "level", "cpu"])
def test_nothing_goes_to_zero_while_anything_fails(failing: str) -> None:
    readings = {"queue": one(0), "level": one(0), "cpu": of_members(0, 0)} | {failing: FAILED}

    assert desired(to_zero(queue(), level(), cpu()), seen(2, **readings), IDLE) == 2


def test_a_failure_of_another_metric_keeps_what_is_not_active_from_shrinking_below_the_size() -> None:
    # the queue's 50 is below its activation, so its proposal of 5 is void; CPU fails, so the size stays
    policy = to_zero(queue(10, activation=100), cpu())

    assert desired(policy, seen(2, queue=one(50), cpu=FAILED), IDLE) == 2


def test_while_it_is_not_known_whether_all_are_idle_what_is_wanted_stays() -> None:
    policy = to_zero(queue(10, activation=100), level(10))

    assert desired(policy, seen(2, queue=one(50), level=FAILED), IDLE) == 5


def test_a_source_that_fails_at_zero_starts_nothing_unless_a_fallback_says_so() -> None:
    state = State(metrics={"queue": MetricMemory(failures=9)})

    assert desired(to_zero(queue()), seen(0, queue=FAILED), state) == 0
    assert desired(to_zero(queue(fallback=Fallback(Quality.STATIC, replicas=3))), seen(0, queue=FAILED), state) == 3


def test_a_fallback_of_no_replicas_lets_the_target_go_to_zero() -> None:
    state = State(metrics={"queue": MetricMemory(failures=9)}, last_active=ago(3600))

    assert desired(to_zero(queue(fallback=Fallback(Quality.STATIC, replicas=0))), seen(2, queue=FAILED), state) == 0


def test_the_last_replica_stays_until_nothing_was_active_for_long_enough() -> None:
    policy = to_zero(queue(), cooldown=Cooldown(to_zero=5 * MINUTE))
    snapshot = seen(1, queue=one(0))

    found = decision(policy, snapshot, State(last_active=ago(299)))

    assert (found.verdict, found.reason) == (Verdict.WAIT, "CoolingDownToZero")
    assert (found.desired, found.remaining) == (0, 1 * SECOND)
    assert desired(policy, snapshot, State(last_active=ago(300))) == 0
    assert decision(policy, snapshot, State(last_active=ago(300))).verdict is Verdict.SCALE


def test_until_then_it_goes_down_to_one() -> None:
    outcome = decide(to_zero(queue()), seen(7, queue=one(0)), State(last_active=ago(10)))

    assert (outcome.decision.verdict, outcome.decision.desired) == (Verdict.SCALE, 1)
    assert step(outcome, "cooldown_to_zero").inputs["remaining_seconds"] == 290


def test_activity_starts_the_rest_anew_and_so_does_a_first_look() -> None:
    policy = to_zero(queue())

    assert decide(policy, seen(1, queue=one(7)), IDLE).state.last_active == NOON
    assert decide(policy, seen(1, queue=one(0)), IDLE).state.last_active == IDLE.last_active
    assert decide(policy, seen(1, queue=one(0)), State()).state.last_active == NOON
    assert decision(policy, seen(1, queue=one(0))).verdict is Verdict.WAIT


def test_going_to_zero_honours_the_rates() -> None:
    policy = to_zero(queue(), behavior=Behavior(rules(), rules(pods(2, 60))))

    assert desired(policy, seen(7, queue=one(0)), IDLE) == 5


def test_zero_by_the_policy_is_remembered_through_the_way_down_and_up() -> None:
    policy = to_zero(queue())
    down = decide(policy, seen(1, queue=one(0)), IDLE)
    at_zero = acted(policy, down.state, down.decision, NOON)
    up = decide(policy, seen(0, queue=one(5)), at_zero)

    assert at_zero.scaled_to_zero
    assert up.decision.desired == 1
    assert not acted(policy, up.state, up.decision, NOON).scaled_to_zero


def test_a_policy_that_does_not_go_to_zero_has_no_activity() -> None:
    assert decide(a_policy(queue(10, activation=50)), seen(3, queue=one(40)), State()).state.last_active is None
    assert desired(a_policy(queue(10, activation=50)), seen(3, queue=one(40))) == 4


def test_an_input_of_formulas_activates_nothing() -> None:
    policy = to_zero(queue(10), level(10, is_input=True))

    assert desired(policy, seen(0, queue=one(0), level=one(99))) == 0
