"""Bounds from the policy, schedules, money and pools."""

from __future__ import annotations

from datetime import datetime

import pytest
from fakes.clock import NOON
from fakes.scaling import HOUR, MINUTE, SECOND, a_policy, desired, one, queue, seen

from opsuite_scaler.domain.bounds import Bounds, bounds_of
from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import State
from opsuite_scaler.domain.policy import CostBound, Overlay, ScalingPolicy
from opsuite_scaler.domain.snapshot import PoolGrant


def overlay(low: int | None = None, high: int | None = None, *, name: str = "day", cron: str = "0 8 * * *") -> Overlay:
    """From eight to six, in UTC: NOON is inside."""
    return Overlay(name, cron, 10 * HOUR, min_replicas=low, max_replicas=high)


def bounds(policy: ScalingPolicy, now: datetime = NOON, **about: object) -> tuple[int, int]:
    found = bounds_of(policy, seen(5, about={"now": now} | about))
    return found.low, found.high


def bounded(low: int = 2, high: int = 20, *overlays: Overlay, cost: CostBound | None = None) -> ScalingPolicy:
    return a_policy(queue(), min_replicas=low, max_replicas=high, overlays=overlays, cost=cost)


SHUT = overlay(15, name="night", cron="0 22 * * *")

OVERLAYS = [
    pytest.param([], (2, 20), id="none"),
    pytest.param([SHUT], (2, 20), id="one that is shut"),
    pytest.param([overlay(5)], (5, 20), id="a floor"),
    pytest.param([overlay(1)], (2, 20), id="a floor below the policy's"),
    pytest.param([overlay(5), overlay(8, name="sale"), SHUT], (8, 20), id="the highest floor wins"),
    pytest.param([overlay(high=10)], (2, 10), id="a ceiling"),
    pytest.param([overlay(high=10), overlay(high=7, name="thrift")], (2, 7), id="the lowest ceiling wins"),
    pytest.param([overlay(8), overlay(high=5, name="thrift")], (8, 20), id="a ceiling below the floor is none"),
    pytest.param(
        [overlay(8), overlay(high=5, name="a"), overlay(high=8, name="b")], (8, 8), id="the next one that is not below"
    ),
    pytest.param([overlay(5, 6)], (5, 6), id="both"),
]


@pytest.mark.parametrize(("overlays", "expected"), OVERLAYS)
@pytest.mark.parametrize("order", [1, -1])
def test_schedules_overlay_the_bounds(overlays: list[Overlay], expected: tuple[int, int], order: int) -> None:
    assert bounds(bounded(2, 20, *overlays[::order])) == expected


@pytest.mark.parametrize(
    ("clock", "expected"),
    [("07:59:59.999", 2), ("08:00", 5), ("08:00:30", 5), ("17:59:59.999", 5), ("18:00", 2)],
)
def test_an_overlay_begins_with_its_minute_and_ends_before_its_end(clock: str, expected: int) -> None:
    now = datetime.fromisoformat(f"2026-06-01T{clock}+00:00")

    assert bounds(bounded(2, 20, overlay(5)), now)[0] == expected


@pytest.mark.parametrize(
    ("clock", "expected"),
    [("2026-06-01T06:00", 5), ("2026-06-01T05:59", 2), ("2026-12-01T07:00", 5), ("2026-12-01T06:59", 2)],
    ids=["summer", "before, in summer", "winter", "before, in winter"],
)
def test_an_overlay_goes_by_the_clock_of_its_zone(clock: str, expected: int) -> None:
    in_zurich = Overlay("day", "0 8 * * *", HOUR, "Europe/Zurich", min_replicas=5)

    assert bounds(bounded(2, 20, in_zurich), datetime.fromisoformat(f"{clock}+00:00"))[0] == expected


def test_an_overlay_that_lasts_seconds_ends_within_its_minute() -> None:
    short = Overlay("blink", "0 12 * * *", 30 * SECOND, min_replicas=5)

    assert bounds(bounded(2, 20, short), NOON + 29 * SECOND)[0] == 5
    assert bounds(bounded(2, 20, short), NOON + 30 * SECOND)[0] == 2


COSTS = [
    pytest.param(CostBound(0.5, max_per_hour=5), 0, (2, 10), id="5 an hour at 0.5 each"),
    pytest.param(CostBound(0.5, max_per_hour=5.4), 0, (2, 10), id="10.8 are 10"),
    pytest.param(CostBound(0.1, max_per_hour=0.3), 0, (2, 3), id="exactly 3, whatever floats say"),
    pytest.param(CostBound(0.5, max_per_hour=0.1), 0, (2, 2), id="never below the floor"),
    pytest.param(CostBound(0.5, max_per_hour=500), 0, (2, 20), id="more than enough"),
    pytest.param(CostBound(0.5, budget=100), 0, (2, 20), id="a whole budget"),
    pytest.param(CostBound(0.5, budget=100), 97, (2, 6), id="the 3 that are left last 6 replicas an hour"),
    pytest.param(CostBound(0.5, budget=100), 100, (2, 2), id="spent"),
    pytest.param(CostBound(0.5, budget=100), 150, (2, 2), id="overspent"),
    pytest.param(CostBound(0.5, max_per_hour=4, budget=100), 97, (2, 6), id="the tighter of both: the budget"),
    pytest.param(CostBound(0.5, max_per_hour=2, budget=100), 97, (2, 4), id="the tighter of both: the rate"),
]


@pytest.mark.parametrize(("cost", "spent", "expected"), COSTS)
def test_money_lowers_the_ceiling_and_never_the_floor(cost: CostBound, spent: float, expected: tuple[int, int]) -> None:
    assert bounds(bounded(cost=cost), spent=spent) == expected


@pytest.mark.parametrize(
    ("grant", "expected"), [(50, (2, 20)), (20, (2, 20)), (7, (2, 7)), (2, (2, 2)), (1, (1, 1)), (0, (0, 0))]
)
def test_a_pool_lowers_the_ceiling_and_the_floor_with_it_where_it_must(grant: int, expected: tuple[int, int]) -> None:
    assert bounds(bounded(), pool=PoolGrant("gpu", grant)) == expected


def test_money_goes_by_the_floor_of_the_schedule_and_the_pool_by_what_is_left() -> None:
    policy = bounded(2, 20, overlay(6), cost=CostBound(1, max_per_hour=4))

    assert bounds(policy) == (6, 6)
    assert bounds(policy, pool=PoolGrant("gpu", 5)) == (5, 5)


def test_whatever_set_a_bound_is_named() -> None:
    def names(policy: ScalingPolicy, **about: object) -> tuple[str, str]:
        found = bounds_of(policy, seen(5, about=about))
        return found.low_from, found.high_from

    assert names(bounded()) == ("policy", "policy")
    assert names(bounded(2, 20, overlay(5, 9))) == ("schedule day", "schedule day")
    assert names(bounded(cost=CostBound(1, max_per_hour=4))) == ("policy", "cost per hour")
    assert names(bounded(cost=CostBound(1, budget=4))) == ("policy", "budget")
    assert names(bounded(), pool=PoolGrant("gpu", 9)) == ("policy", "pool gpu")
    assert names(bounded(), pool=PoolGrant("gpu", 1)) == ("pool gpu", "pool gpu")


def test_a_bound_that_binds_is_told_with_its_origin() -> None:
    policy = bounded(2, 20, overlay(high=6))

    capped = decide(policy, seen(5, queue=one(900)), State())
    corrected = decide(policy, seen(9, queue=one(90)), State())

    assert (capped.decision.desired, corrected.decision.desired) == (6, 6)
    assert "schedule day" in capped.decision.message
    assert corrected.steps[0].inputs == {"bound": 6, "from": "schedule day"}


def test_when_a_window_closes_the_size_goes_back_by_the_usual_way() -> None:
    policy = bounded(2, 20, overlay(9))

    assert desired(policy, seen(4, queue=one(40))) == 9
    assert desired(policy, seen(9, about={"now": NOON + 7 * HOUR + MINUTE}, queue=one(40, at=None))) == 4


def test_bounds_without_anything_else_are_those_of_the_policy() -> None:
    assert bounds_of(bounded(3, 4), seen(5)) == Bounds(3, 4)
