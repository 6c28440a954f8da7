"""Proposals of metrics with a sample for each member. Every expected number is worked out beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes.scaling import (
    a_member,
    a_policy,
    ago,
    cpu,
    decision,
    desired,
    memory,
    of_members,
    per_member,
    rules,
    seen,
    some,
)

from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import State, Verdict
from opsuite_scaler.domain.policy import Behavior, MetricSpec, TargetType
from opsuite_scaler.domain.snapshot import Member, MemberPhase

FAILED, DELETING, PENDING = MemberPhase.FAILED, MemberPhase.DELETING, MemberPhase.PENDING


def starting(number: int) -> Member:
    """Young and not ready: its CPU is that of a start."""
    return a_member(number, started_at=ago(20), ready=False, ready_changed_at=ago(20))


@pytest.mark.parametrize(
    ("target", "samples", "expected"),
    [
        pytest.param(30, (300, 500, 700), 5, id="1500/3000 = 50 %, 50/30 x 3 = 5"),
        pytest.param(50, (100, 300, 500, 250, 250), 3, id="1400/5000 = 28 %, 28/50 x 5 = 2.8"),
        pytest.param(100, (1100,) * 3, 3, id="110/100 is within: the upper end belongs to it"),
        pytest.param(100, (1110,) * 3, 4, id="111/100 x 3 = 3.33"),
        pytest.param(100, (900,) * 10, 10, id="90/100 is within: the lower end belongs to it"),
        pytest.param(100, (890,) * 10, 9, id="89/100 x 10 = 8.9"),
        pytest.param(50, (559,) * 10, 10, id="55.9 % is cut to 55 before it is divided: 1.1 is within"),
        pytest.param(50, (560,) * 10, 12, id="56/50 x 10 = 11.2"),
        pytest.param(50, (0, 0), 1, id="nothing used: the minimum"),
        pytest.param(50, (60_000,), 120, id="far over"),
    ],
)
def test_utilisation_sizes_in_proportion_outside_of_its_tolerance(
    target: float, samples: tuple[float, ...], expected: int
) -> None:
    assert desired(a_policy(cpu(target)), seen(len(samples), cpu=of_members(*samples))) == expected


@pytest.mark.parametrize(
    ("used", "expected"),
    [(1200, 10), (1210, 13), (950, 10), (940, 10), (500, 5)],
    ids=["1.2 is within", "1.21 x 10", "0.95 is within", "0.94 x 10 = 9.4", "0.5 x 10"],
)
def test_each_direction_has_its_own_tolerance(used: float, expected: int) -> None:
    policy = a_policy(cpu(100), behavior=Behavior(rules(tolerance=0.2), rules(tolerance=0.05)))
    assert desired(policy, seen(10, cpu=of_members(*[used] * 10))) == expected


def test_a_smaller_lower_tolerance_lets_a_smaller_fall_through() -> None:
    narrow = a_policy(cpu(100), behavior=Behavior(rules(), rules(tolerance=0.01)))
    assert desired(narrow, seen(100, cpu=of_members(*[980] * 100))) == 98
    assert desired(narrow, seen(100, cpu=of_members(*[990] * 100))) == 100
    assert desired(a_policy(cpu(100)), seen(100, cpu=of_members(*[980] * 100))) == 100


def test_the_ratio_is_one_of_sums_not_a_mean_of_ratios() -> None:
    big, small = a_member(0), a_member(1, requests={"cpu": 100})
    snapshot = seen(2, (big, small), cpu=of_members(100, 100))  # 200/1100 = 18 %; the mean of 10 % and 100 % is 55 %
    assert desired(a_policy(cpu(18)), snapshot) == 2


def test_a_named_container_is_measured_by_its_own_request() -> None:
    member = a_member(0, requests={"cpu": 1000, "cpu/app": 100})
    assert desired(a_policy(cpu(50, container="app")), seen(1, (member,), cpu=of_members(100))) == 2


@pytest.mark.parametrize("phase", [MemberPhase.RUNNING, FAILED])
def test_a_member_without_a_request_makes_utilisation_fail(phase: MemberPhase) -> None:
    members = (*some(2), a_member(2, phase=phase, requests={"memory": 1}))
    found = decision(a_policy(cpu()), seen(3, members, cpu=of_members(1, 1, 1)))
    assert (found.verdict, found.reason) == (Verdict.NO_CHANGE, "FailedGetResourceMetric")
    assert "m2" in found.message


def test_members_that_requested_nothing_make_utilisation_fail() -> None:
    found = decision(a_policy(cpu()), seen(1, (a_member(0, requests={"cpu": 0}),), cpu=of_members(5)))
    assert found.reason == "FailedGetResourceMetric"


def test_a_container_metric_fails_by_its_own_name() -> None:
    found = decision(a_policy(cpu(container="app")), seen(1, cpu=of_members(1)))
    assert found.reason == "FailedGetContainerResourceMetric"


def test_samples_of_strangers_do_not_count() -> None:
    assert desired(a_policy(cpu(50)), seen(2, cpu=of_members(500, 500, 9000))) == 2
    assert desired(a_policy(per_member(10)), seen(2, requests=of_members(10, 10, 900))) == 2


@pytest.mark.parametrize("phase", [FAILED, DELETING])
def test_what_fails_or_goes_away_counts_neither_by_its_sample_nor_as_a_member(phase: MemberPhase) -> None:
    members = (*some(3), a_member(3, phase=phase), a_member(4, phase=phase))
    # 60/50 x 3 ready = 3.6, although the size asked for is 5: a ratio above 1 that lowers the size
    assert desired(a_policy(cpu(50)), seen(5, members, cpu=of_members(600, 600, 600, 9000, 9000))) == 4


MISSING: dict[str, tuple[MetricSpec, int, tuple[float | None, ...], int]] = {
    "below: the silent one counts as full; 1400/5000 = 28 %, 28/50 x 5 = 2.8": (
        cpu(50),
        5,
        (100, 100, 100, 100, None),
        3,
    ),
    "below, target over 100 %: as the target; 4900/5000 = 98 %, 98/150 x 5 = 3.3": (
        cpu(150),
        5,
        (850, 850, 850, 850, None),
        4,
    ),
    "above: as idle; 3000/4000 = 75 %, 75/50 x 4 = 6": (cpu(50), 4, (1000, 1000, 1000, None), 6),
    "exactly 1: it does not count at all": (cpu(50), 4, (500, 500, 500, None), 4),
    "55/50 turns to 41/50: no change": (cpu(50), 4, (550, 550, 550, None), 4),
    "47/50 turns to 60/50: no change": (cpu(50), 4, (470, 470, 470, None), 4),
    "25/45 becomes 43/45, which is within": (cpu(45), 4, (250, 250, 250, None), 4),
    "mean 2, with the target for the silent one 16/4 = 4, 4/10 x 4 = 1.6": (per_member(10), 4, (2, 2, 2, None), 2),
    "mean 30, with 0 for the silent one 90/4 = 22.5, 2.25 x 4 = 9": (per_member(10), 4, (30, 30, 30, None), 9),
}


@pytest.mark.parametrize("case", MISSING)
def test_silent_members_lessen_the_change(case: str) -> None:
    spec, size, samples, expected = MISSING[case]
    assert desired(a_policy(spec), seen(size, **{spec.name: of_members(*samples)})) == expected


def test_a_fall_that_would_end_above_the_size_is_none() -> None:
    # a surge: two are asked for, four are there. 30/50, with the silent one 47/60 = 0.78, x 4 = 3.1, above 2
    assert desired(a_policy(cpu(60)), seen(2, some(4), cpu=of_members(300, 300, 300, None))) == 2


def test_a_rise_that_would_end_below_the_size_is_none() -> None:
    members = (*some(3), a_member(3, phase=FAILED), a_member(4, phase=FAILED))
    # 100/50, with the silent one 66/50 = 1.32, x 3 = 3.96, below 5
    assert desired(a_policy(cpu(50)), seen(5, members, cpu=of_members(1000, 1000, None))) == 5


@pytest.mark.parametrize(
    ("samples", "target", "expected"),
    [
        pytest.param((900, 900, 1000), 30, 6, id="90/30; with it as idle 60/30, x 3"),
        pytest.param((100, 100, 1000), 50, 1, id="10/50: below 1 it does not count, x 2 ready = 0.4"),
        pytest.param((520, 520, 0), 52, 3, id="exactly 1"),
        pytest.param((550, 550, 1000), 50, 3, id="55/50 turns to 36/50: no change"),
    ],
)
def test_a_member_that_starts_counts_as_idle_when_the_size_would_grow(
    samples: tuple[float, ...], target: float, expected: int
) -> None:
    members = (*some(2), starting(2))
    assert desired(a_policy(cpu(target)), seen(3, members, cpu=of_members(*samples))) == expected


def test_one_that_starts_may_bring_a_rise_back_within_the_tolerance() -> None:
    members = (*some(3), starting(3))
    # 72/50 = 1.44 would be 5; with it as idle 2175/4000 = 54 %, 1.08
    assert desired(a_policy(cpu(50)), seen(4, members, cpu=of_members(725, 725, 725, 0))) == 4


def test_below_the_target_one_that_starts_changes_nothing_about_the_arithmetic() -> None:
    # a surge: one is asked for, three are ready. 40/50 x 3 = 2.4, though that is more than one
    members = (*some(3), starting(3))
    assert desired(a_policy(cpu(50)), seen(1, members, cpu=of_members(400, 400, 400, 900))) == 3


def test_one_that_is_pending_counts_as_idle_for_every_metric_when_the_size_would_grow() -> None:
    members = (*some(2), a_member(2, phase=PENDING))
    # mean 30, with it 20, 2 x 3 = 6
    assert desired(a_policy(per_member(10)), seen(3, members, requests=of_members(30, 30))) == 6


def test_a_sample_of_a_start_counts_for_memory() -> None:
    members = (*some(2), starting(2))
    # (900 + 900 + 1200)/3000 = 100 %, 2 x 3
    assert desired(a_policy(memory(50)), seen(3, members, memory=of_members(900, 900, 1200))) == 6


@pytest.mark.parametrize("make", [lambda: starting(0), lambda: a_member(0, phase=PENDING)])
def test_without_any_usable_sample_the_metric_fails(make: Any) -> None:
    found = decision(a_policy(cpu()), seen(1, (make(),), cpu=of_members(900)))
    assert (found.verdict, found.reason) == (Verdict.NO_CHANGE, "FailedGetResourceMetric")


def test_without_members_the_metric_fails() -> None:
    found = decision(a_policy(per_member()), seen(2, (), requests=of_members(9, 9)))
    assert found.reason == "FailedGetPodsMetric"


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        pytest.param((550, 550, 551), 3, id="the mean 550.33 is cut to 550 millicores: 1.1 is within"),
        pytest.param((551, 551, 551), 4, id="551/500 x 3 = 3.3"),
        pytest.param((549.2, 549.2, 549.2), 3, id="a part of a millicore is rounded up: 550"),
        pytest.param((550.2, 550.2, 550.2), 4, id="551"),
    ],
)
def test_millicores_are_whole_numbers(samples: tuple[float, ...], expected: int) -> None:
    policy = a_policy(cpu(500, target_type=TargetType.AVERAGE_VALUE))
    assert desired(policy, seen(3, cpu=of_members(*samples))) == expected


def test_other_values_are_told_in_thousandths() -> None:
    policy = a_policy(per_member(1, name="requests"))
    assert desired(policy, seen(3, requests=of_members(1.1, 1.1, 1.102))) == 3  # the mean 1.10066 is cut to 1.1
    assert desired(policy, seen(3, requests=of_members(1.101, 1.101, 1.101))) == 4


def test_the_utilisation_that_is_told_is_the_one_before_anything_was_counted_again() -> None:
    outcome = decide(a_policy(cpu(50)), seen(4, cpu=of_members(1000, 1000, 1000, None)), State())
    told = outcome.steps[0]
    assert (told.inputs["value"], told.inputs["ratio"], told.inputs["missing"]) == (100, 2, 1)
    assert outcome.state.metrics["cpu"].last_value == 100


def test_an_adaptive_dead_band_keeps_small_sizes_from_swinging() -> None:
    policy = a_policy(cpu(50))
    adaptive = replace(policy, flaps=replace(policy.flaps, adaptive_dead_band=True))
    two = seen(2, cpu=of_members(600, 600))  # 1.2; a dead band of 1 / (2 x 2) = 0.25 holds it
    assert (desired(policy, two), desired(adaptive, two)) == (3, 2)
    assert desired(adaptive, seen(2, cpu=of_members(625, 625))) == 2  # 62/50 = 1.24
    assert desired(adaptive, seen(2, cpu=of_members(630, 630))) == 3  # 63/50 = 1.26
    ten = seen(10, cpu=of_members(*[600] * 10))  # 1 / (2 x 10) is less than 0.1
    assert desired(adaptive, ten) == 12
