from __future__ import annotations

from collections import Counter
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.checks.schedule import next_due, phase

HALF_MINUTE = timedelta(seconds=30)


def test_a_turn_comes_at_the_phase_of_each_interval() -> None:
    assert next_due(100.0, HALF_MINUTE, 7.0) == 127.0
    assert next_due(126.9, HALF_MINUTE, 7.0) == 127.0
    assert next_due(127.0, HALF_MINUTE, 7.0) == 157.0


def test_turns_that_were_missed_are_not_made_up_for() -> None:
    assert next_due(1000.0, HALF_MINUTE, 7.0) == 1027.0


def test_a_check_has_the_same_phase_wherever_it_is_asked() -> None:
    assert phase("shop", HALF_MINUTE) == phase("shop", HALF_MINUTE)
    assert phase("shop", HALF_MINUTE) != phase("mail", HALF_MINUTE)


def test_many_checks_are_spread_evenly_over_the_interval() -> None:
    seconds = Counter(int(phase(f"check-{number}", HALF_MINUTE)) for number in range(3000))

    assert len(seconds) == 30
    assert max(seconds.values()) < 150


@given(st.floats(0, 1e9), st.floats(0.1, 86400), st.text(max_size=20))
def test_the_next_turn_is_ahead_and_no_further_than_the_interval(now: float, seconds: float, name: str) -> None:
    interval = timedelta(seconds=seconds)

    due = next_due(now, interval, phase(name, interval))

    assert now < due <= now + interval.total_seconds() * 1.000001 + 1e-6
