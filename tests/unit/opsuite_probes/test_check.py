from __future__ import annotations

from datetime import timedelta

import pytest
from fakes.clock import NOON

from opsuite_probes.check import Ask, CheckPlan, CheckProgress, Decided, Wait, next_step, record
from opsuite_probes.hysteresis import Thresholds
from opsuite_probes.port import Outcome, ProbeResult


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def a_plan(
    delay: float = 0, interval: float = 1, timeout: float = 5, deadline: float = 60, success: int = 1, failure: int = 3
) -> CheckPlan:
    return CheckPlan(
        seconds(delay), seconds(interval), seconds(timeout), seconds(deadline), Thresholds(success, failure)
    )


def answered(plan: CheckPlan, *answers: tuple[float, Outcome]) -> CheckProgress:
    progress = CheckProgress(began_at=NOON)
    for at, outcome in answers:
        progress = record(plan, progress, NOON + seconds(at), ProbeResult(outcome, f"said {outcome.value}", seconds(0)))
    return progress


def test_the_first_try_waits_for_the_initial_delay() -> None:
    plan = a_plan(delay=10)

    assert next_step(plan, answered(plan), NOON + seconds(4)) == Wait(until=NOON + seconds(10))
    assert next_step(plan, answered(plan), NOON + seconds(10)) == Ask(timeout=seconds(5))


def test_the_first_try_comes_at_once_without_an_initial_delay() -> None:
    assert next_step(a_plan(), answered(a_plan()), NOON) == Ask(timeout=seconds(5))


def test_tries_start_one_interval_apart() -> None:
    plan = a_plan(interval=2)
    progress = answered(plan, (0, Outcome.UNHEALTHY))

    assert next_step(plan, progress, NOON + seconds(0.5)) == Wait(until=NOON + seconds(2))
    assert next_step(plan, progress, NOON + seconds(2)) == Ask(timeout=seconds(5))


def test_a_try_longer_than_the_interval_is_followed_by_the_next_at_once() -> None:
    plan = a_plan(interval=1)

    assert next_step(plan, answered(plan, (0, Outcome.UNHEALTHY)), NOON + seconds(5)) == Ask(timeout=seconds(5))


def test_reaching_a_threshold_decides_and_says_why() -> None:
    plan = a_plan(failure=2)

    assert next_step(
        plan, answered(plan, (0, Outcome.UNHEALTHY), (1, Outcome.UNHEALTHY)), NOON + seconds(1)
    ) == Decided(Outcome.UNHEALTHY, "2 failures in a row; last answer: said unhealthy")
    assert next_step(plan, answered(plan, (0, Outcome.HEALTHY)), NOON) == Decided(
        Outcome.HEALTHY, "1 success; last answer: said healthy"
    )


def test_a_verdict_in_the_last_try_wins_over_the_deadline() -> None:
    plan = a_plan(deadline=10)

    assert isinstance(decided := next_step(plan, answered(plan, (9, Outcome.HEALTHY)), NOON + seconds(11)), Decided)
    assert decided.outcome is Outcome.HEALTHY


def test_an_undecided_check_is_unhealthy_at_its_deadline_counted_from_the_first_try() -> None:
    plan = a_plan(delay=10, deadline=20)
    progress = answered(plan, (10, Outcome.UNKNOWN))

    assert next_step(plan, progress, NOON + seconds(29.9)) == Ask(timeout=seconds(0.1))
    assert next_step(plan, progress, NOON + seconds(30)) == Decided(
        Outcome.UNHEALTHY, "undecided after 20 s; last answer: said unknown"
    )


def test_the_last_try_gets_no_more_time_than_the_deadline_leaves() -> None:
    plan = a_plan(timeout=5, deadline=10)

    assert next_step(plan, answered(plan, (0, Outcome.UNHEALTHY)), NOON + seconds(8)) == Ask(timeout=seconds(2))


def test_nobody_waits_beyond_the_deadline() -> None:
    plan = a_plan(interval=60, deadline=10)

    assert next_step(plan, answered(plan, (0, Outcome.UNHEALTHY)), NOON + seconds(1)) == Wait(until=NOON + seconds(10))


@pytest.mark.parametrize("wrong", [{"delay": -1}, {"interval": 0}, {"timeout": 0}, {"deadline": -5}])
def test_a_plan_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        a_plan(**wrong)  # type: ignore[arg-type]  # only durations are overridden here
