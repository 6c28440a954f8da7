from __future__ import annotations

import pytest
from fakes.scaling import (
    FAILED,
    HOUR,
    a_policy,
    ago,
    cpu,
    desired,
    of_members,
    one,
    percent,
    pods,
    queue,
    rules,
    rules_of,
    seen,
)

from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import Recommendation, State, Verdict
from opsuite_scaler.domain.policy import Behavior, Cooldown, Overlay, Select

SLOW = Behavior(rules(pods(1), window=300), rules(select=Select.DISABLED, window=3600))


def test_a_target_that_a_person_took_to_zero_is_left_alone() -> None:
    outcome = decide(a_policy(queue()), seen(0, queue=one(500)), State())

    assert (outcome.decision.verdict, outcome.decision.reason) == (Verdict.NO_CHANGE, "ScalingDisabled")
    assert rules_of(outcome) == ["gate"]


def test_a_target_that_the_policy_took_to_zero_comes_back_when_zero_is_no_longer_allowed() -> None:
    outcome = decide(a_policy(queue(), min_replicas=2), seen(0, queue=one(0)), State(scaled_to_zero=True))

    assert (outcome.decision.desired, outcome.decision.reason) == (2, "TooFewReplicas")


def test_that_the_policy_took_it_to_zero_is_forgotten_once_it_is_not() -> None:
    assert not decide(a_policy(queue()), seen(1, queue=one(5)), State(scaled_to_zero=True)).state.scaled_to_zero
    assert decide(
        a_policy(queue(), min_replicas=0), seen(0, queue=one(0)), State(scaled_to_zero=True)
    ).state.scaled_to_zero


@pytest.mark.parametrize(("size", "expected", "reason"), [(9, 5, "TooManyReplicas"), (1, 2, "TooFewReplicas")])
@pytest.mark.parametrize("reading", [one(30), one(0), one(900), FAILED])
def test_a_size_outside_of_its_bounds_goes_back_whatever_the_rest_says(
    size: int, expected: int, reason: str, reading: object
) -> None:
    policy = a_policy(
        queue(), min_replicas=2, max_replicas=5, behavior=SLOW, cooldown=Cooldown(after_up=HOUR, after_down=HOUR)
    )
    state = State(recommendations=(Recommendation(ago(1), 9),), last_up=ago(1), last_down=ago(1))

    outcome = decide(policy, seen(size, queue=reading), state)  # type: ignore[arg-type]  # readings, by parametrize

    assert (outcome.decision.verdict, outcome.decision.desired) == (Verdict.SCALE, expected)
    assert outcome.decision.reason == reason
    assert outcome.state.recommendations == state.recommendations, "a correction is no recommendation"


@pytest.mark.parametrize("size", [2, 5])
def test_a_size_at_its_bound_is_inside(size: int) -> None:
    policy = a_policy(cpu(), min_replicas=2, max_replicas=5)

    assert "metric_proposal" in rules_of(decide(policy, seen(size, cpu=of_members(*[500] * size)), State()))


def test_a_target_at_zero_that_may_be_at_zero_is_raised_to_the_floor_of_a_schedule() -> None:
    open_now = Overlay("day", "0 8 * * *", 10 * HOUR, min_replicas=3)
    policy = a_policy(queue(), min_replicas=0, overlays=(open_now,))

    assert desired(policy, seen(0, queue=one(0))) == 3


def test_the_first_look_counts_as_a_recommendation_of_the_present_size() -> None:
    policy = a_policy(cpu(), behavior=Behavior(rules(), rules(percent(100), window=300)))

    outcome = decide(policy, seen(4, cpu=of_members(*[100] * 4)), State())

    assert (outcome.decision.desired, outcome.decision.reason) == (4, "ScaleDownStabilized")
    after = decide(policy, seen(4, cpu=of_members(*[100] * 4)), State(recommendations=(Recommendation(ago(301), 4),)))
    assert after.decision.desired == 1
