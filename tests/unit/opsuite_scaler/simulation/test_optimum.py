from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from opsuite_scaler.domain.simulation.optimum import Bounds, optimum, served

NEEDS = st.lists(st.integers(0, 3), min_size=1, max_size=5)


def _cost(sizes: tuple[int, ...], bounds: Bounds) -> float:
    before = (bounds.initial_replicas, *sizes)
    return sum(sizes) + bounds.change_cost * sum(abs(a - b) for a, b in zip(before, sizes, strict=False))


def _short(sizes: tuple[int, ...], need: list[int], bounds: Bounds) -> int:
    there = served(sizes, bounds)
    return sum(max(0, min(least, bounds.max_replicas) - one) for least, one in zip(need, there, strict=True))


@given(NEEDS, st.integers(0, 1), st.integers(1, 3), st.integers(0, 3), st.sampled_from([0.0, 0.5, 2.0]))
def test_nothing_that_could_have_been_done_serves_as_much_for_less(
    need: list[int], least: int, startup: int, initial: int, change_cost: float
) -> None:
    bounds = Bounds(least, 3, max(initial, least), startup, change_cost)
    best = tuple(optimum(need, bounds))

    every = list(product(range(least, 4), repeat=len(need)))
    fewest = min(_short(one, need, bounds) for one in every)
    cheapest = min(_cost(one, bounds) for one in every if _short(one, need, bounds) == fewest)

    assert _short(best, need, bounds) == fewest
    assert _cost(best, bounds) == cheapest


def test_a_replica_is_asked_for_a_startup_time_before_it_is_needed() -> None:
    bounds = Bounds(1, 9, 1, startup_ticks=2)

    assert list(optimum([1, 1, 1, 1, 5, 1, 1], bounds)) == [1, 1, 5, 5, 1, 1, 1]
    assert list(served([1, 1, 5, 5, 1, 1, 1], bounds)) == [1, 1, 1, 1, 5, 1, 1]


def test_with_a_price_on_changes_it_holds_on_to_what_it_needs_again() -> None:
    need = [5, 5, 1, 5, 5]

    assert list(optimum(need, Bounds(1, 9, 5, 1)))[:4] == [5, 1, 5, 5]
    assert list(optimum(need, Bounds(1, 9, 5, 1, change_cost=3.0)))[:4] == [5, 5, 5, 5]
