from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_probes.hysteresis import HealthState, Thresholds, follow
from opsuite_probes.port import Outcome

HEALTHY, UNHEALTHY, UNKNOWN = Outcome.HEALTHY, Outcome.UNHEALTHY, Outcome.UNKNOWN


def after(*outcomes: Outcome, success: int = 1, failure: int = 3) -> HealthState:
    state = HealthState()
    for outcome in outcomes:
        state = follow(state, outcome, Thresholds(success, failure))
    return state


def test_nothing_is_known_before_the_first_answer() -> None:
    assert after().verdict is None


def test_as_many_successes_in_a_row_as_the_threshold_make_it_healthy() -> None:
    assert after(HEALTHY, success=2).verdict is None
    assert after(HEALTHY, HEALTHY, success=2).verdict is HEALTHY


def test_as_many_failures_in_a_row_as_the_threshold_make_it_unhealthy() -> None:
    assert after(UNHEALTHY, UNHEALTHY).verdict is None
    assert after(UNHEALTHY, UNHEALTHY, UNHEALTHY).verdict is UNHEALTHY


def test_a_success_breaks_a_row_of_failures() -> None:
    assert after(HEALTHY, UNHEALTHY, UNHEALTHY, HEALTHY, UNHEALTHY, UNHEALTHY).verdict is HEALTHY


def test_a_failure_breaks_a_row_of_successes() -> None:
    assert after(HEALTHY, UNHEALTHY, HEALTHY, success=2).verdict is None


def test_unknown_neither_counts_nor_breaks_a_row() -> None:
    assert after(UNHEALTHY, UNKNOWN, UNHEALTHY, UNKNOWN).verdict is None
    assert after(UNHEALTHY, UNKNOWN, UNHEALTHY, UNKNOWN, UNHEALTHY).verdict is UNHEALTHY
    assert after(*[UNKNOWN] * 10, failure=1) == HealthState()


def test_an_unhealthy_target_needs_the_whole_row_of_successes_to_come_back() -> None:
    assert after(UNHEALTHY, HEALTHY, success=2, failure=1).verdict is UNHEALTHY
    assert after(UNHEALTHY, HEALTHY, HEALTHY, success=2, failure=1).verdict is HEALTHY


@pytest.mark.parametrize(("success", "failure"), [(0, 3), (1, 0), (-1, 1)])
def test_thresholds_below_one_are_refused(success: int, failure: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Thresholds(success, failure)


@given(outcomes=st.lists(st.sampled_from(Outcome), max_size=40), success=st.integers(1, 4), failure=st.integers(1, 4))
def test_the_verdict_equals_that_of_a_plain_reading(outcomes: list[Outcome], success: int, failure: int) -> None:
    known = [outcome for outcome in outcomes if outcome is not UNKNOWN]
    expected: Outcome | None = None
    for end in range(1, len(known) + 1):
        if end >= success and set(known[end - success : end]) == {HEALTHY}:
            expected = HEALTHY
        if end >= failure and set(known[end - failure : end]) == {UNHEALTHY}:
            expected = UNHEALTHY

    assert after(*outcomes, success=success, failure=failure).verdict is expected
