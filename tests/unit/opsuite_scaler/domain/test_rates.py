"""How much may change within a period."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from fakes.scaling import a_policy, ago, one, percent, pods, queue, rules, seen, step

from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import Outcome, Recommendation, SizeEvent, State
from opsuite_scaler.domain.policy import Behavior, RatePolicy, Select

Events = Sequence[tuple[float, int]]
"""Seconds ago, and by how many replicas."""
LONG_AGO = (Recommendation(ago(4000), 1),)


def events(given: Events) -> tuple[SizeEvent, ...]:
    return tuple(SizeEvent(ago(seconds), change) for seconds, change in given)


def run(
    current: int,
    wanted: int,
    *policies: RatePolicy,
    select: Select = Select.MAX,
    ups: Events = (),
    downs: Events = (),
    bounds: tuple[int, int] = (0, 1000),
) -> Outcome:
    both = rules(*policies, select=select)
    policy = a_policy(
        queue(1, activation=0), behavior=Behavior(both, both), min_replicas=bounds[0], max_replicas=bounds[1]
    )
    state = State(recommendations=LONG_AGO, ups=events(ups), downs=events(downs), last_active=ago(4000))
    return decide(policy, seen(current, queue=one(wanted)), state)


UP = [
    pytest.param([pods(4)], Select.MAX, 14, id="by pods"),
    pytest.param([percent(25)], Select.MAX, 13, id="by percent, rounded up: 12.5"),
    pytest.param([percent(10)], Select.MAX, 11, id="10 % of 10 are exactly 1"),
    pytest.param([pods(4), percent(100)], Select.MAX, 20, id="the larger change"),
    pytest.param([pods(4), percent(100)], Select.MIN, 14, id="the smaller change"),
    pytest.param([pods(4)], Select.DISABLED, 10, id="none"),
]


@pytest.mark.parametrize(("policies", "select", "expected"), UP)
def test_growing_is_limited(policies: list[RatePolicy], select: Select, expected: int) -> None:
    outcome = run(10, 100, *policies, select=select)

    assert outcome.decision.desired == expected
    assert outcome.decision.reason == "ScaleUpLimit"


DOWN = [
    pytest.param([pods(4)], Select.MAX, 6, id="by pods"),
    pytest.param([percent(25)], Select.MAX, 7, id="by percent, cut: 7.5"),
    pytest.param([percent(1)], Select.MAX, 9, id="9.9 is cut to 9"),
    pytest.param([pods(4), percent(50)], Select.MAX, 5, id="the larger change"),
    pytest.param([pods(4), percent(50)], Select.MIN, 6, id="the smaller change"),
    pytest.param([pods(4)], Select.DISABLED, 10, id="none"),
]


@pytest.mark.parametrize(("policies", "select", "expected"), DOWN)
def test_shrinking_is_limited(policies: list[RatePolicy], select: Select, expected: int) -> None:
    outcome = run(10, 1, *policies, select=select)

    assert outcome.decision.desired == expected
    assert outcome.decision.reason == "ScaleDownLimit"


def test_what_is_wanted_within_the_limit_is_what_comes() -> None:
    assert run(10, 14, pods(4)).decision.desired == 14
    assert run(10, 6, pods(4)).decision.desired == 6


@pytest.mark.parametrize(
    ("ups", "downs", "expected"),
    [
        pytest.param([(30, 3)], [], 12, id="10 was 7 at the start of the minute: 7 + 5"),
        pytest.param([(59.9, 3)], [], 12, id="just inside"),
        pytest.param([(60, 3)], [], 15, id="exactly as old as the period is outside"),
        pytest.param([(30, 3), (20, 1), (70, 9)], [], 11, id="all of them"),
        pytest.param([], [(30, 3)], 18, id="what was removed counts too: 10 was 13"),
        pytest.param([(30, 3)], [(20, 2)], 14, id="both logs: 10 - 3 + 2 + 5"),
        pytest.param([(30, 9)], [], 10, id="the limit is below the size: it stays"),
    ],
)
def test_growth_counts_from_the_start_of_the_period(ups: Events, downs: Events, expected: int) -> None:
    assert run(10, 100, pods(5, 60), ups=ups, downs=downs).decision.desired == expected


@pytest.mark.parametrize(
    ("ups", "downs", "expected"),
    [
        pytest.param([], [(30, 3)], 8, id="10 was 13: 13 - 5"),
        pytest.param([], [(60, 3)], 5, id="exactly as old as the period is outside"),
        pytest.param([(30, 2)], [], 3, id="what was added counts too: 10 was 8"),
        pytest.param([(30, 2)], [(20, 4)], 7, id="both logs: 10 - 2 + 4 - 5"),
        pytest.param([], [(30, 9)], 10, id="the limit is above the size: it stays"),
    ],
)
def test_shrinking_counts_from_the_start_of_the_period(ups: Events, downs: Events, expected: int) -> None:
    assert run(10, 1, pods(5, 60), ups=ups, downs=downs).decision.desired == expected


def test_each_policy_has_its_own_period() -> None:
    # 10 - 6 + 8 = 12 within the long period; 10 + 4 = 14 within the short one, in which nothing was added
    assert run(10, 100, pods(8, 60), pods(4, 15), ups=[(30, 6)]).decision.desired == 14
    assert run(10, 100, pods(8, 60), pods(4, 15), ups=[(30, 6)], select=Select.MIN).decision.desired == 12


@pytest.mark.parametrize(
    ("wanted", "bounds", "expected", "reason"),
    [
        pytest.param(100, (1, 12), 12, "TooManyReplicas", id="the maximum is tighter"),
        pytest.param(100, (1, 14), 14, "TooManyReplicas", id="both are the same: the maximum is named"),
        pytest.param(100, (1, 15), 14, "ScaleUpLimit", id="the rate is tighter"),
        pytest.param(1, (8, 100), 8, "TooFewReplicas", id="the minimum is tighter"),
        pytest.param(1, (6, 100), 6, "TooFewReplicas", id="both are the same: the minimum is named"),
        pytest.param(1, (5, 100), 6, "ScaleDownLimit", id="the rate is tighter"),
    ],
)
def test_the_tighter_of_rate_and_bound_is_named(
    wanted: int, bounds: tuple[int, int], expected: int, reason: str
) -> None:
    outcome = run(10, wanted, pods(4), bounds=bounds)

    assert (outcome.decision.desired, outcome.decision.reason) == (expected, reason)


def test_from_zero_a_percentage_starts_at_least_one() -> None:
    assert run(0, 10, percent(100)).decision.desired == 1
    assert run(0, 10, pods(4)).decision.desired == 4
    assert run(0, 10, pods(4), select=Select.DISABLED).decision.desired == 0


def test_to_zero_goes_by_the_rates_like_everything_else() -> None:
    assert run(10, 0, pods(4)).decision.desired == 6
    assert run(4, 0, pods(4)).decision.desired == 0


@pytest.mark.parametrize(
    ("current", "maximum", "expected", "reason"),
    [
        (3, 100, 6, "ScaleUpLimit"),
        (1, 100, 4, "ScaleUpLimit"),
        (3, 6, 6, "TooManyReplicas"),
        (3, 5, 5, "TooManyReplicas"),
    ],
)
def test_without_behavior_a_step_is_at_most_to_twice_the_size_or_4(
    current: int, maximum: int, expected: int, reason: str
) -> None:
    policy = a_policy(queue(1), behavior=None, max_replicas=maximum)

    outcome = decide(policy, seen(current, queue=one(500)), State())

    assert (outcome.decision.desired, outcome.decision.reason) == (expected, reason)


def test_without_behavior_shrinking_goes_down_to_the_minimum_at_once() -> None:
    policy = a_policy(queue(1), behavior=None, min_replicas=2)

    outcome = decide(policy, seen(50, queue=one(1)), State(recommendations=LONG_AGO))

    assert (outcome.decision.desired, outcome.decision.reason) == (2, "TooFewReplicas")


def test_the_rate_that_bound_is_told() -> None:
    told = step(run(10, 100, pods(5, 60), ups=[(30, 3)]), "rate_limit_up")

    assert (told.before, told.after, told.inputs["bound"]) == (100, 12, 12)
    assert "5 of change in 60 s from 7" in told.message


@pytest.mark.parametrize("wanted", [1, 100])
def test_without_any_rate_nothing_changes(wanted: int) -> None:
    none = replace(rules(), policies=())
    policy = a_policy(queue(1), behavior=Behavior(none, none))

    assert decide(policy, seen(10, queue=one(wanted)), State(recommendations=LONG_AGO)).decision.desired == 10
