"""Proposals of metrics that are one number."""

from __future__ import annotations

from math import inf, nan

import pytest
from fakes.scaling import a_member, a_policy, decision, desired, level, one, queue, seen, some, step

from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import State
from opsuite_scaler.domain.policy import MetricKind, TargetKind, TargetRef
from opsuite_scaler.domain.snapshot import MemberPhase


@pytest.mark.parametrize("kind", [MetricKind.OBJECT, MetricKind.EXTERNAL])
@pytest.mark.parametrize(
    ("total", "expected"),
    [(20, 6), (11, 3), (11.1, 4), (9, 3), (5, 2), (0, 1), (-50, 1)],
    ids=["2 x 3", "1.1 is within", "1.11 x 3", "0.9 is within", "0.5 x 3", "nothing: the minimum", "less than nothing"],
)
def test_a_value_as_it_is_sizes_by_its_ratio(kind: MetricKind, total: float, expected: int) -> None:
    assert desired(a_policy(level(10, kind=kind)), seen(3, level=one(total))) == expected


def test_a_value_as_it_is_counts_only_the_members_that_serve() -> None:
    members = (*some(3), a_member(3, ready=False), a_member(4, phase=MemberPhase.PENDING))
    assert desired(a_policy(level(10)), seen(5, members, level=one(12))) == 4  # 1.2 x 3, not x 5
    assert desired(a_policy(level(10)), seen(5, members, level=one(11))) == 5  # within: as many as are asked for


def test_a_value_as_it_is_needs_members_except_of_targets_that_have_a_size_only() -> None:
    snapshot = seen(3, (), level=one(20))
    assert decision(a_policy(level(10)), snapshot).reason == "FailedGetObjectMetric"
    external = TargetRef(TargetKind.EXTERNAL, "pool", address="localhost:1")
    assert desired(a_policy(level(10), target=external), snapshot) == 6


@pytest.mark.parametrize(("total", "expected"), [(11, 2), (10, 1), (0.001, 1), (0, 0)])
def test_at_zero_a_value_as_it_is_knows_no_tolerance(total: float, expected: int) -> None:
    assert desired(a_policy(level(10), min_replicas=0), seen(0, level=one(total))) == expected


@pytest.mark.parametrize(
    ("status", "total", "expected"),
    [
        (3, 33, 3),
        (3, 34, 4),
        (3, 27, 3),
        (3, 26, 3),
        (3, 20, 2),
        (2, 22, 2),
        (2, 23, 3),
        (0, 1, 1),
        (0, 41, 5),
        (5, 54, 5),
    ],
)
def test_an_average_is_over_the_replicas_that_there_are(status: int, total: float, expected: int) -> None:
    snapshot = seen(4, about={"status_replicas": status}, queue=one(total))
    assert decide(a_policy(queue(10)), snapshot, State()).steps[0].inputs["proposal"] == expected


@pytest.mark.parametrize(
    ("total", "target", "expected"), [(0.3, 0.1, 3), (2.007, 0.669, 3), (2.1, 0.7, 3), (0.7, 0.1, 7), (5.6, 0.8, 7)]
)
def test_thousandths_are_exact_where_floats_are_not(total: float, target: float, expected: int) -> None:
    assert desired(a_policy(queue(target)), seen(1, queue=one(total))) == expected


def test_a_part_of_a_thousandth_counts_as_one() -> None:
    assert desired(a_policy(queue(10), min_replicas=0), seen(0, queue=one(20.0001))) == 3


@pytest.mark.parametrize("spec", [queue(0.001), level(0.001)])
def test_numbers_beyond_all_bounds_are_cut_to_the_largest(spec: object) -> None:
    assert isinstance(spec, type(queue()))
    outcome = decide(a_policy(spec), seen(1, **{spec.name: one(1e300)}), State())
    assert outcome.steps[0].inputs["proposal"] == 2**31 - 1
    assert outcome.decision.desired == 1000
    assert step(outcome, "max_replicas").reason == "TooManyReplicas"


def test_the_smallest_of_targets_is_a_thousandth() -> None:
    assert desired(a_policy(queue(1e-12)), seen(1, queue=one(0.005))) == 5


@pytest.mark.parametrize("total", [inf, -inf, nan])
def test_what_is_no_finite_number_is_a_failure(total: float) -> None:
    assert decision(a_policy(queue()), seen(3, queue=one(total))).reason == "FailedGetExternalMetric"
