"""Latency only raises, by bounded steps; CPU below its guard lets a size go."""

from __future__ import annotations

import pytest
from fakes.scaling import FAILED, a_policy, cpu, decision, desired, latency, of_members, one, queue, seen

from opsuite_scaler.domain.decision import Verdict
from opsuite_scaler.domain.policy import ResponseTimeRules

SIZE = 10


@pytest.mark.parametrize(
    ("seconds", "max_step", "expected"),
    [
        pytest.param(0.22, 50, 10, id="1.1 is within"),
        pytest.param(0.24, 50, 12, id="1.2 x 10"),
        pytest.param(0.3, 50, 15, id="1.5 x 10: just the step"),
        pytest.param(0.32, 50, 15, id="1.6 x 10, but at most half as many more"),
        pytest.param(9, 20, 12, id="far too slow, still only a fifth more"),
        pytest.param(9, 1, 11, id="at least one more"),
        pytest.param(9, 25, 13, id="2.5 more are 3"),
    ],
)
def test_latency_above_its_target_raises_by_a_bounded_step(seconds: float, max_step: int, expected: int) -> None:
    policy = a_policy(latency(0.2, response_time=ResponseTimeRules(max_step)))

    assert desired(policy, seen(SIZE, latency=one(seconds))) == expected


@pytest.mark.parametrize("seconds", [0.2, 0.1, 0.0])
def test_latency_in_order_never_lowers_by_itself(seconds: float) -> None:
    found = decision(a_policy(latency(0.2)), seen(SIZE, latency=one(seconds)))

    assert (found.desired, found.reason) == (SIZE, "LatencyInOrder")


def test_latency_in_order_holds_a_size_that_others_would_lower() -> None:
    policy = a_policy(latency(0.2), queue(10))

    assert desired(policy, seen(SIZE, latency=one(0.1), queue=one(20))) == SIZE


@pytest.mark.parametrize(
    ("used", "seconds", "expected"),
    [
        pytest.param(500, 0.1, 10, id="at the guard it holds"),
        pytest.param(400, 0.1, 8, id="40/50 x 10: so that they are at the guard"),
        pytest.param(100, 0.1, 2, id="10/50 x 10"),
        pytest.param(400, 0.21, 10, id="slower than wanted, if within: it holds"),
        pytest.param(400, 0.4, 15, id="too slow: it raises whatever CPU says"),
    ],
)
def test_cpu_below_its_guard_lets_a_size_go(used: float, seconds: float, expected: int) -> None:
    policy = a_policy(latency(0.2), cpu(90, is_input=True))

    assert desired(policy, seen(SIZE, latency=one(seconds), cpu=of_members(*[used] * SIZE))) == expected


def test_with_the_guard_the_size_is_still_the_largest_proposal() -> None:
    policy = a_policy(latency(0.2), cpu(25))  # CPU alone would want 20/25 x 10 = 8, the guard 20/50 x 10 = 4

    assert desired(policy, seen(SIZE, latency=one(0.1), cpu=of_members(*[200] * SIZE))) == 8


def test_a_guard_that_cannot_be_measured_lets_nothing_go() -> None:
    policy = a_policy(latency(0.2), cpu(90, is_input=True))

    assert desired(policy, seen(SIZE, latency=one(0.1), cpu=FAILED)) == SIZE


def test_latency_that_cannot_be_measured_blocks_shrinking() -> None:
    found = decision(a_policy(latency(0.2), queue(10)), seen(SIZE, latency=FAILED, queue=one(20)))

    assert (found.verdict, found.reason) == (Verdict.NO_CHANGE, "FailedGetResponseTime")


def test_at_zero_latency_says_nothing() -> None:
    policy = a_policy(latency(0.2), queue(10), min_replicas=0)

    assert desired(policy, seen(0, latency=FAILED, queue=one(20))) == 2
    assert desired(policy, seen(0, latency=one(9), queue=one(0))) == 0
