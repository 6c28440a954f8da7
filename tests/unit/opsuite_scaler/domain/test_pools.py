from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_scaler.domain.pools import Claim, allocate

TABLE = [
    pytest.param(10, [Claim("a", 3), Claim("b", 4)], {"a": 3, "b": 4}, id="enough for all"),
    pytest.param(5, [Claim("a", 9), Claim("b", 9)], {"a": 3, "b": 2}, id="evenly, the odd one by name"),
    pytest.param(5, [Claim("a", 9), Claim("b", 8)], {"a": 3, "b": 2}, id="by name also when one wants less"),
    pytest.param(6, [Claim("a", 9), Claim("b", 1)], {"a": 5, "b": 1}, id="a large claim does not starve a small one"),
    pytest.param(6, [Claim("a", 9), Claim("b", 9, priority=1)], {"a": 0, "b": 6}, id="the higher priority first"),
    pytest.param(6, [Claim("a", 9), Claim("b", 4, priority=1)], {"a": 2, "b": 4}, id="and the rest to the lower"),
    pytest.param(6, [Claim("a", 9, 2), Claim("b", 9, 1, 1)], {"a": 2, "b": 4}, id="floors before wishes"),
    pytest.param(3, [Claim("a", 9, 2), Claim("b", 9, 2, 1)], {"a": 1, "b": 2}, id="floors by priority"),
    pytest.param(7, [Claim("a", 9), Claim("b", 9), Claim("c", 9)], {"a": 3, "b": 2, "c": 2}, id="the rest by name"),
    pytest.param(
        7, [Claim("a", 9, 3), Claim("b", 9), Claim("c", 9)], {"a": 5, "b": 1, "c": 1}, id="beyond floors evenly"
    ),
    pytest.param(4, [Claim("a", 1, 3)], {"a": 3}, id="a floor above what is wanted"),
    pytest.param(0, [Claim("a", 3)], {"a": 0}, id="nothing to give"),
    pytest.param(-4, [Claim("a", 3)], {"a": 0}, id="less than nothing"),
    pytest.param(5, [], {}, id="nobody asks"),
]


@pytest.mark.parametrize(("capacity", "claims", "expected"), TABLE)
def test_a_capacity_is_shared(capacity: int, claims: list[Claim], expected: dict[str, int]) -> None:
    assert allocate(capacity, claims) == expected
    assert allocate(capacity, reversed(claims)) == expected


CLAIMS = st.lists(
    st.builds(Claim, st.sampled_from("abcdefgh"), st.integers(0, 30), st.integers(0, 10), st.integers(-1, 1)),
    unique_by=lambda claim: claim.name,
)


@given(st.integers(0, 120), CLAIMS)
def test_nothing_is_given_twice_nor_left_while_anyone_wants_it(capacity: int, claims: list[Claim]) -> None:
    grants = allocate(capacity, claims)

    wanted = {claim.name: max(claim.wanted, claim.floor) for claim in claims}
    assert sum(grants.values()) == min(capacity, sum(wanted.values()))
    assert all(0 <= grants[name] <= wanted[name] for name in wanted)


@given(st.integers(0, 120), CLAIMS)
def test_nobody_goes_beyond_a_floor_while_one_of_no_lower_priority_is_below_its_own(
    capacity: int, claims: list[Claim]
) -> None:
    grants = allocate(capacity, claims)

    for poor in (claim for claim in claims if grants[claim.name] < claim.floor):
        for other in claims:
            assert grants[other.name] <= other.floor
            if other.priority < poor.priority:
                assert grants[other.name] == 0


@given(st.integers(0, 120), CLAIMS)
def test_more_capacity_never_takes_anything_away(capacity: int, claims: list[Claim]) -> None:
    less, more = allocate(capacity, claims), allocate(capacity + 1, claims)

    assert all(less[name] <= more[name] for name in less)
