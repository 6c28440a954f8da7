"""Several metrics: the largest proposal wins, and a failure is never outvoted downwards."""

from __future__ import annotations

import pytest
from fakes.scaling import (
    FAILED,
    MINUTE,
    a_policy,
    cpu,
    desired,
    later,
    level,
    memory,
    of_members,
    one,
    queue,
    rules_of,
    seen,
    step,
)

from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import MetricMemory, State, Verdict
from opsuite_scaler.domain.snapshot import Reading, SampleKind

SIZE = 4


@pytest.mark.parametrize(
    ("queue_total", "level_total", "expected"),
    [(80, 5, 8), (20, 15, 6), (20, 5, 2), (40, 10, 4), (80, 20, 8), (1, 1, 1)],
)
def test_the_largest_proposal_wins(queue_total: float, level_total: float, expected: int) -> None:
    snapshot = seen(SIZE, queue=one(queue_total), level=one(level_total))

    assert desired(a_policy(queue(10), level(10)), snapshot) == expected
    assert desired(a_policy(level(10), queue(10)), snapshot) == expected


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("total", "expected", "verdict", "reason"),
    [
        pytest.param(80, 8, Verdict.SCALE, "AboveTarget", id="up is allowed"),
        pytest.param(40, 4, Verdict.NO_CHANGE, "MatchesSize", id="staying is"),
        pytest.param(20, 4, Verdict.NO_CHANGE, "FailedGetObjectMetric", id="down is not"),
    ],
)
def test_while_one_metric_fails_nothing_shrinks_and_the_others_may_still_raise(
    order: int, total: float, expected: int, verdict: Verdict, reason: str
) -> None:
    policy = a_policy(*[queue(10), level(10)][::order])

    outcome = decide(policy, seen(SIZE, queue=one(total), level=FAILED), State())

    assert (outcome.decision.desired, outcome.decision.verdict) == (expected, verdict)
    assert outcome.decision.reason == reason
    failure = step(outcome, "metric_failure")
    assert failure.reason == "FailedGetObjectMetric", "it is told in any case"
    assert "connection refused" in failure.message


def test_when_all_fail_nothing_changes_and_the_first_failure_is_the_reason() -> None:
    outcome = decide(a_policy(cpu(), queue()), seen(SIZE, cpu=FAILED, queue=FAILED), State())

    assert (outcome.decision.verdict, outcome.decision.desired) == (Verdict.NO_CHANGE, SIZE)
    assert outcome.decision.reason == "FailedGetResourceMetric"
    assert rules_of(outcome) == ["metric_failure", "metric_failure"]


@pytest.mark.parametrize("readings", [{"queue": one(20), "level": FAILED}, {"queue": FAILED, "level": FAILED}])
def test_what_is_decided_blind_is_no_recommendation(readings: dict[str, Reading]) -> None:
    before = decide(a_policy(queue(10), level(10)), seen(SIZE, queue=one(40), level=one(10)), State()).state

    after = decide(a_policy(queue(10), level(10)), later(seen(SIZE, **readings), MINUTE), before).state

    assert after.recommendations == before.recommendations


@pytest.mark.parametrize("kind", [SampleKind.MISSING, SampleKind.ERROR, SampleKind.STALE])
def test_no_kind_of_failure_is_ever_zero(kind: SampleKind) -> None:
    assert desired(a_policy(queue(10)), seen(SIZE, queue=Reading(kind, total=0))) == SIZE


def test_a_reading_that_is_absent_is_a_failure() -> None:
    outcome = decide(a_policy(queue(10)), seen(SIZE), State())

    assert outcome.decision.reason == "FailedGetExternalMetric"


def test_an_input_of_formulas_proposes_nothing_and_its_failure_blocks_nothing() -> None:
    policy = a_policy(queue(10), level(10, is_input=True))

    assert desired(policy, seen(SIZE, queue=one(20), level=one(1000))) == 2
    assert desired(policy, seen(SIZE, queue=one(20), level=FAILED)) == 2


def test_without_metrics_the_floor_is_wanted() -> None:
    outcome = decide(a_policy(min_replicas=2), seen(SIZE), State())

    assert (outcome.decision.desired, outcome.decision.reason) == (2, "NoMetrics")


def test_at_zero_what_looks_at_members_is_left_out() -> None:
    policy = a_policy(cpu(), memory(), queue(10), min_replicas=0)

    outcome = decide(policy, seen(0, cpu=FAILED, memory=of_members(1), queue=one(25)), State())

    assert (outcome.decision.desired, outcome.decision.verdict) == (3, Verdict.SCALE)
    assert rules_of(outcome) == ["metric_skipped", "metric_skipped", "metric_proposal"]
    assert "cpu" not in outcome.state.metrics, "it has not failed either"


def test_what_is_remembered_of_metrics_that_are_gone_is_dropped_and_of_those_left_out_is_kept() -> None:
    state = State(metrics={name: MetricMemory(failures=2) for name in ("cpu", "queue", "gone")})

    after = decide(a_policy(cpu(), queue(10), min_replicas=0), seen(0, queue=FAILED), state).state

    assert after.metrics == {"cpu": MetricMemory(failures=2), "queue": MetricMemory(failures=3)}
