"""HPA's conditions with HPA's reasons."""

from __future__ import annotations

import pytest
from fakes.scaling import FAILED, HOUR, a_policy, ago, level, one, pods, queue, rules, seen

from opsuite_scaler.domain.conditions import conditions
from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import Recommendation, State
from opsuite_scaler.domain.policy import Behavior, Cooldown, ScalingPolicy
from opsuite_scaler.domain.snapshot import Reading

HELD = Behavior(rules(pods(2), window=0), rules(pods(2), window=300))
POLICY = a_policy(queue(10), level(10), min_replicas=2, max_replicas=9, behavior=HELD)


def told(
    size: int,
    queue_says: Reading,
    level_says: Reading = FAILED,
    policy: ScalingPolicy = POLICY,
    state: State | None = None,
) -> dict[str, tuple[bool, str]]:
    given = state or State(recommendations=(Recommendation(ago(400), 5),))
    outcome = decide(policy, seen(size, queue=queue_says, level=level_says), given)
    return {one.type: (one.status, one.reason) for one in conditions(outcome)}


@pytest.mark.parametrize(
    ("size", "length", "able", "limited"),
    [
        (5, 50, (True, "ReadyForNewScale"), (False, "DesiredWithinRange")),
        (5, 60, (True, "ReadyForNewScale"), (False, "DesiredWithinRange")),
        (5, 90, (True, "ReadyForNewScale"), (True, "ScaleUpLimit")),
        (8, 99, (True, "ReadyForNewScale"), (True, "TooManyReplicas")),
        (5, 10, (True, "ReadyForNewScale"), (True, "ScaleDownLimit")),
        (3, 10, (True, "ReadyForNewScale"), (True, "TooFewReplicas")),
        (12, 50, (True, "ReadyForNewScale"), (True, "TooManyReplicas")),
    ],
)
def test_what_limits_is_told(size: int, length: float, able: tuple[bool, str], limited: tuple[bool, str]) -> None:
    found = told(size, one(length), one(1))

    assert (found["AbleToScale"], found["ScalingLimited"]) == (able, limited)


def test_what_stabilises_is_told() -> None:
    recent = State(recommendations=(Recommendation(ago(100), 5),))
    slow = a_policy(queue(10), behavior=Behavior(rules(window=300), rules()))

    assert told(5, one(30), one(1), state=recent)["AbleToScale"] == (True, "ScaleDownStabilized")
    assert told(5, one(90), one(1), slow, recent)["AbleToScale"] == (True, "ScaleUpStabilized")


def test_what_has_to_wait_is_not_able_to_scale() -> None:
    resting = a_policy(queue(10), cooldown=Cooldown(HOUR))

    assert told(5, one(90), one(1), resting, State(last_up=ago(1)))["AbleToScale"] == (False, "CoolingDown")


@pytest.mark.parametrize(
    ("queue_says", "level_says", "expected"),
    [
        (one(50), one(9), (True, "ValidMetricFound")),
        (one(90), FAILED, (True, "ValidMetricFound")),
        (one(50), FAILED, (True, "ValidMetricFound")),
        (one(20), FAILED, (False, "FailedGetObjectMetric")),
        (FAILED, one(1), (False, "FailedGetExternalMetric")),
        (FAILED, FAILED, (False, "FailedGetExternalMetric")),
    ],
)
def test_whether_metrics_are_good_for_a_decision_is_told(
    queue_says: Reading, level_says: Reading, expected: tuple[bool, str]
) -> None:
    assert told(5, queue_says, level_says)["ScalingActive"] == expected


def test_a_target_that_is_switched_off_is_not_active() -> None:
    assert told(0, one(50))["ScalingActive"] == (False, "ScalingDisabled")


def test_a_correction_and_a_policy_without_metrics_say_nothing_of_metrics() -> None:
    assert "ScalingActive" not in told(12, one(50))
    assert "ScalingActive" not in told(5, FAILED, policy=a_policy())


def test_a_zero_of_the_policy_is_told() -> None:
    to_zero = a_policy(queue(10), min_replicas=0)

    assert told(0, one(0), policy=to_zero, state=State(scaled_to_zero=True))["ScaledToZero"] == (True, "ScaledToZero")
    assert told(0, one(0), policy=to_zero)["ScaledToZero"] == (False, "NotScaledToZero")
