"""The fleet gate: a failure of many is not made worse, and one unhealthy member may always be mended."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes.clock import NOON
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.remediation.fleet import concurrency_gate, fleet_gate, may_be_unhealthy
from opsuite_healer.domain.remediation.policy import FleetRules

HALF = FleetRules(min_healthy_percent=50)


@pytest.mark.parametrize(
    ("rules", "known", "most"),
    [
        (FleetRules(), 0, 1),
        (FleetRules(), 1, 1),
        (FleetRules(), 2, 1),
        (FleetRules(), 3, 1),
        (FleetRules(), 5, 2),
        (FleetRules(), 10, 4),
        (FleetRules(), 100, 49),
        (HALF, 10, 5),
        (FleetRules(min_healthy_percent=100), 10, 1),
        (FleetRules(min_healthy_percent=0), 10, 10),
        (FleetRules(max_unhealthy=3), 100, 3),
    ],
)
def test_how_many_may_be_unhealthy(rules: FleetRules, known: int, most: int) -> None:
    assert may_be_unhealthy(rules, known) == most


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ((5, 5, 0), ""),
        ((4, 6, 0), "FLEET_UNHEALTHY"),
        ((0, 1, 0), ""),
        ((0, 2, 0), "FLEET_UNHEALTHY"),
        ((0, 3, 0), "FLEET_UNHEALTHY"),
        ((0, 0, 10), ""),
        ((1, 2, 97), "FLEET_UNHEALTHY"),
        (None, "CANNOT_TELL"),
    ],
)
def test_the_gate_closes_when_too_many_are_unhealthy(counts: tuple[int, int, int] | None, reason: str) -> None:
    gate = fleet_gate(HALF, counts, None, NOON)

    assert (gate.is_open, gate.reason) == (reason == "", reason)


@pytest.mark.parametrize(("seconds", "is_open"), [(0, False), (59, False), (60, True)])
def test_after_a_storm_it_rests(seconds: int, is_open: bool) -> None:
    rules = FleetRules(storm_cooldown=timedelta(seconds=60))

    gate = fleet_gate(rules, (10, 0, 0), NOON - timedelta(seconds=seconds), NOON)

    assert gate.is_open is is_open
    assert gate.until == (None if is_open else NOON + timedelta(seconds=60 - seconds))


@pytest.mark.parametrize(("acting", "most", "is_open"), [(0, 1, True), (1, 1, False), (1, 2, True), (2, 2, False)])
def test_so_many_are_mended_at_a_time(acting: int, most: int, is_open: bool) -> None:
    assert concurrency_gate(FleetRules(max_concurrent=most), acting).is_open is is_open


@given(st.integers(0, 1000), st.integers(0, 1000), st.floats(0, 100))
def test_one_may_always_be_mended_and_more_only_while_enough_are_well(
    healthy: int, unhealthy: int, percent: float
) -> None:
    gate = fleet_gate(FleetRules(min_healthy_percent=percent), (healthy, unhealthy, 0), None, NOON)

    if unhealthy <= 1:
        assert gate.is_open
    elif gate.is_open:
        assert healthy >= (healthy + unhealthy) * percent / 100 - 1e-6
