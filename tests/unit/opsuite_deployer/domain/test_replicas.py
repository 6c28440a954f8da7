"""How many replicas of which version: tables after the rules of Kubernetes and Argo Rollouts, and what always holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_deployer.domain.replicas import Bounds, Split, Standing, behind_router, beside, bounds, split, towards
from opsuite_deployer.domain.strategy import IntOrPercent
from opsuite_kernel.errors import InvalidInput


@pytest.mark.parametrize(
    ("wanted", "surge", "unavailable", "most", "least"),
    [
        (4, "25%", "25%", 5, 3),
        (10, "25%", "25%", 13, 8),  # 2.5: surge up, unavailable down
        (3, "25%", "25%", 4, 3),
        (1, "25%", "25%", 2, 1),
        (4, "0", "1", 4, 3),
        (4, "1", "0", 5, 4),
        (1, "0", "25%", 1, 0),  # both come to 0: one may be missing
        (2, "0%", "0%", 2, 1),
        (2, "100%", "0", 4, 2),
        (2, "0", "100%", 2, 0),
        (2, "0", "5", 2, 0),
    ],
)
def test_surge_is_rounded_up_and_unavailable_down(
    wanted: int, surge: str, unavailable: str, most: int, least: int
) -> None:
    assert bounds(wanted, IntOrPercent.parse(surge), IntOrPercent.parse(unavailable)) == Bounds(most, least)


def test_a_workload_that_is_to_shrink_may_keep_what_it_has_until_then() -> None:
    quarter = IntOrPercent(25, is_percent=True)

    assert bounds(4, quarter, quarter, present=10) == Bounds(11, 3)
    assert bounds(10, quarter, quarter, present=4) == Bounds(13, 2)


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "25 %", "%", "12345"])
def test_what_is_neither_a_number_nor_a_percentage_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        IntOrPercent.parse(text)


@pytest.mark.parametrize("text", ["0", "3", "25%", "9999%"])
def test_a_number_or_percentage_is_written_as_it_was_read(text: str) -> None:
    assert str(IntOrPercent.parse(text)) == text


@pytest.mark.parametrize(
    ("wanted", "weight", "surge", "canary", "stable"),
    [
        (10, 0, 0, 0, 10),
        (10, 10, 0, 1, 9),
        (10, 25, 0, 3, 7),  # half is rounded up
        (10, 24, 0, 2, 8),
        (10, 1, 0, 1, 9),  # never none
        (10, 99, 0, 9, 1),  # never all
        (10, 100, 0, 10, 0),
        (2, 1, 0, 1, 1),
        (1, 1, 0, 0, 1),  # cannot be helped
        (1, 49, 0, 0, 1),
        (1, 50, 0, 1, 0),
        (1, 10, 1, 1, 1),  # the surge helps
        (1, 100, 1, 1, 0),
        (4, 20, 1, 1, 4),  # one more is exact
        (4, 25, 1, 1, 3),
        (3, 25, 1, 1, 3),
        (4, 50, 3, 2, 2),
    ],
)
def test_without_a_router_a_weight_is_the_nearest_whole_split(
    wanted: int, weight: int, surge: int, canary: int, stable: int
) -> None:
    assert split(wanted, weight, surge=surge) == Split(canary, stable)


@given(st.integers(1, 200), st.integers(0, 100), st.integers(0, 3))
def test_no_other_split_comes_closer(wanted: int, weight: int, surge: int) -> None:
    found = split(wanted, weight, surge=surge)

    off = abs(found.canary / found.total - weight / 100)
    totals = [wanted, wanted + 1] if surge else [wanted]
    for total in totals:
        for canary in range(total + 1):
            leaves_both = 0 < canary < total or not 0 < weight < 100 or totals[-1] < 2
            assert not leaves_both or off <= abs(canary / total - weight / 100) + 1e-9


@given(st.integers(1, 200), st.integers(0, 100), st.integers(0, 100), st.booleans())
def test_more_weight_never_means_fewer_canaries(wanted: int, one: int, other: int, has_surge: bool) -> None:
    less, more = sorted((one, other))

    low, high = split(wanted, less, surge=has_surge), split(wanted, more, surge=has_surge)

    assert low.canary / low.total <= high.canary / high.total + 1e-9


@pytest.mark.parametrize(
    ("wanted", "weight", "canary", "stable"),
    [(10, 0, 0, 10), (10, 1, 1, 10), (10, 25, 3, 8), (10, 50, 5, 5), (10, 100, 10, 0), (1, 5, 1, 1), (3, 34, 2, 2)],
)
def test_behind_a_router_both_versions_have_their_share_rounded_up(
    wanted: int, weight: int, canary: int, stable: int
) -> None:
    assert (behind_router(wanted, weight), beside(wanted, weight)) == (canary, stable)


# --- moving towards a goal -------------------------------------------------------------------------------------------


def test_new_replicas_fill_the_room_and_old_ones_go_as_far_as_enough_are_available() -> None:
    new, old = Standing(4, 0, 0, ()), Standing(0, 4, 4, (True,) * 4)

    assert towards([new, old], Bounds(5, 3)) == [1, 3]


def test_what_is_drained_takes_up_room_until_it_has_gone() -> None:
    new, old = Standing(4, 1, 1, (True,)), Standing(0, 3, 4, (True,) * 3)

    assert towards([new, old], Bounds(5, 3)) == [1, 2]


def test_what_is_drained_is_taken_back_for_nothing() -> None:
    new, old = Standing(0, 1, 1, (True,), is_given_up=True), Standing(4, 1, 4, (True,))

    assert towards([old, new], Bounds(5, 3)) == [4, 1]


def test_an_old_replica_that_is_ill_does_not_go_before_a_new_one_is_there() -> None:
    new, old = Standing(1, 1, 1, (False,)), Standing(0, 1, 1, (False,))

    assert towards([new, old], Bounds(2, 1)) == [1, 1]


def test_what_is_ill_of_a_version_that_is_given_up_goes_at_once() -> None:
    old, new = Standing(4, 1, 1, (True,)), Standing(0, 3, 3, (False,) * 3, is_given_up=True)

    assert towards([old, new], Bounds(5, 3)) == [2, 0]


def test_growth_may_be_limited_further() -> None:
    assert towards([Standing(9, 0, 0, ()), Standing(0, 0, 0, ())], Bounds(9, 0), growth=2) == [2, 0]


@st.composite
def standings(draw: st.DrawFn, goal: int) -> Standing:
    keep = draw(st.integers(0, 8))
    available = tuple(draw(st.lists(st.booleans(), min_size=keep, max_size=keep)))
    return Standing(goal, keep, keep + draw(st.integers(0, 3)), available, draw(st.booleans()))


@given(st.data(), st.integers(0, 8), st.integers(0, 8), st.integers(0, 3), st.integers(0, 8))
def test_a_move_stays_within_its_bounds_and_ends_where_it_is_repeated(
    data: st.DataObject, new_goal: int, old_goal: int, surge: int, least: int
) -> None:
    before = [data.draw(standings(new_goal)), data.draw(standings(old_goal))]
    limits = Bounds(8 + surge, least)

    kept = towards(before, limits)

    existing = sum(one.running for one in before)
    assert sum(max(keep, one.running) for keep, one in zip(kept, before, strict=True)) <= max(limits.most, existing)
    had = sum(sum(one.available) for one in before)
    assert sum(sum(one.available[:keep]) for keep, one in zip(kept, before, strict=True)) >= min(had, limits.least)
    after = [
        Standing(one.goal, keep, max(keep, one.running), one.available[:keep], one.is_given_up)
        for keep, one in zip(kept, before, strict=True)
    ]
    assert towards(after, limits) == kept


@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 12))
def test_rolling_replaces_every_replica_whatever_the_bounds(wanted: int, surge: int, unavailable: int) -> None:
    limits = bounds(wanted, IntOrPercent(surge), IntOrPercent(unavailable))
    new, old = 0, wanted
    for _ in range(3 * wanted):
        new, old = towards([Standing(wanted, new, new, (True,) * new), Standing(0, old, old, (True,) * old)], limits)

    assert (new, old) == (wanted, 0)
