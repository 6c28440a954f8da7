from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsuite_schedules.cron import Cron
from opsuite_schedules.windows import Window

MINUTE = timedelta(minutes=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def a_window(expression: str = "0 22 * * *", minutes: int = 120, time_zone: str = "UTC") -> Window:
    return Window(Cron.parse(expression, time_zone), minutes * MINUTE)


def test_a_window_is_open_from_its_start_to_just_before_its_end() -> None:
    window = a_window()

    assert not window.contains(utc("2026-06-01T21:59:59"))
    assert window.contains(utc("2026-06-01T22:00"))
    assert window.contains(utc("2026-06-01T23:59:59.999999"))
    assert not window.contains(utc("2026-06-02T00:00"))


def test_a_closed_window_opens_at_its_next_time_and_an_open_one_is_open_now() -> None:
    assert a_window().next_opening(utc("2026-06-01T12:00")) == utc("2026-06-01T22:00")
    assert a_window().next_opening(utc("2026-06-01T23:00")) == utc("2026-06-01T23:00")


def test_an_open_window_closes_after_its_duration_and_a_closed_one_is_closed_now() -> None:
    assert a_window().next_closing(utc("2026-06-01T23:00")) == utc("2026-06-02T00:00")
    assert a_window().next_closing(utc("2026-06-01T12:00")) == utc("2026-06-01T12:00")


def test_windows_that_overlap_or_touch_are_one() -> None:
    touching = a_window("0 8-17 * * *", minutes=60)

    assert touching.next_closing(utc("2026-06-01T08:30")) == utc("2026-06-01T18:00")
    assert a_window("0 8-17 * * *", minutes=90).next_closing(utc("2026-06-01T08:30")) == utc("2026-06-01T18:30")


def test_a_window_longer_than_its_period_never_closes() -> None:
    assert a_window("0 * * * *", minutes=60).next_closing(utc("2026-06-01T08:30")) is None
    assert a_window("0 0 * * *", minutes=60 * 72).next_closing(utc("2026-06-01T08:30")) is None


@pytest.mark.parametrize(
    ("date", "end"), [("2026-03-29T00:30", "2026-03-29T03:00"), ("2026-10-25T00:30", "2026-10-25T02:00")]
)
def test_two_hours_are_two_hours_on_the_night_the_clock_is_set(date: str, end: str) -> None:
    window = a_window("0 2 * * *", minutes=120, time_zone="Europe/Berlin")
    opening = window.next_opening(utc(date))

    assert window.next_closing(opening) == utc(end)


@pytest.mark.parametrize("minutes", [0, -5])
def test_a_window_without_length_is_refused(minutes: int) -> None:
    with pytest.raises(ValueError, match="longer"):
        a_window(minutes=minutes)


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.integers(0, 23), min_size=1, max_size=4),
    st.integers(1, 20),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
)
def test_a_window_equals_the_union_of_its_stretches(hours: set[int], quarters: int, time_zone: str) -> None:
    window = a_window(f"0 {','.join(map(str, hours))} * * *", 15 * quarters, time_zone)
    start, quarter = utc("2026-10-24T12:00"), 15 * MINUTE
    openings, moment = [], start - timedelta(days=2)
    while (moment := window.cron.next_after(moment)) < start + timedelta(days=4):
        openings.append(moment)
    moments = [start + number * quarter for number in range(4 * 24 * 4)]
    is_open = [any(opening <= moment < opening + window.duration for opening in openings) for moment in moments]

    for number in range(0, 24 * 4, 7):
        assert window.contains(moments[number]) == is_open[number]
        assert window.next_opening(moments[number]) == moments[is_open.index(True, number)]
        assert window.next_closing(moments[number]) == moments[is_open.index(False, number)]
