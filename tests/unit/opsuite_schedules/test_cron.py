from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsuite_kernel.errors import InvalidInput
from opsuite_schedules.cron import Cron, Missed

MINUTE = timedelta(minutes=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(expression: str, time_zone: str, after: str, count: int) -> list[str]:
    """The next times as the clock on the wall shows them, with the offset that tells passes apart."""
    cron, moment, found = Cron.parse(expression, time_zone), utc(after), []
    for _ in range(count):
        moment = cron.next_after(moment)
        assert moment.tzinfo is UTC
        found.append(moment.astimezone(cron.zone).strftime("%m-%d %H:%M %z"))
    return found


def test_a_time_of_day_is_that_of_the_zone() -> None:
    assert times("0 9 * * 1-5", "Europe/Berlin", "2026-06-05T08:00", 2) == ["06-08 09:00 +0200", "06-09 09:00 +0200"]


def test_the_instant_itself_is_neither_after_nor_before_but_until() -> None:
    cron, nine = Cron.parse("0 9 * * *"), utc("2026-06-05T09:00")

    assert cron.next_after(nine) == nine + timedelta(days=1)
    assert cron.previous_before(nine) == nine - timedelta(days=1)
    assert cron.last_until(nine) == nine
    assert cron.next_after(nine - timedelta(microseconds=1)) == nine
    assert cron.previous_before(nine + timedelta(microseconds=1)) == nine


def test_an_instant_may_be_given_in_any_zone() -> None:
    tokyo = utc("2026-06-05T08:30").astimezone(ZoneInfo("Asia/Tokyo"))

    assert Cron.parse("0 9 * * *").next_after(tokyo) == utc("2026-06-05T09:00")


def test_a_skipped_hour_happens_once_when_the_clock_has_jumped() -> None:
    assert times("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00", 3) == [
        "03-28 02:30 +0100",
        "03-29 03:00 +0200",
        "03-30 02:30 +0200",
    ]
    assert times("*/10 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 2) == ["03-29 03:00 +0200", "03-30 02:00 +0200"]


def test_a_doubled_hour_happens_once_in_its_first_pass() -> None:
    assert times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2) == ["10-25 02:30 +0200", "10-26 02:30 +0100"]


def test_nothing_happens_again_for_who_asks_in_the_second_pass() -> None:
    assert times("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10", 1) == ["10-26 02:30 +0100"]
    assert Cron.parse("30 2 * * *", "Europe/Berlin").previous_before(utc("2026-10-25T01:10")) == utc("2026-10-25T00:30")


def test_every_hour_goes_on_through_both_passes_and_over_the_gap() -> None:
    assert times("30 * * * *", "Europe/Berlin", "2026-10-24T23:00", 4) == [
        "10-25 01:30 +0200",
        "10-25 02:30 +0200",
        "10-25 02:30 +0100",
        "10-25 03:30 +0100",
    ]
    assert times("30 * * * *", "Europe/Berlin", "2026-03-29T00:00", 2) == ["03-29 01:30 +0100", "03-29 03:30 +0200"]


def test_midnight_that_the_clock_skips_happens_at_one() -> None:
    assert times("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00", 2) == ["11-04 01:00 -0200", "11-05 00:00 -0200"]


def test_an_evening_that_the_clock_repeats_happens_once() -> None:
    assert times("30 23 * * *", "America/Sao_Paulo", "2019-02-16T12:00", 2) == [
        "02-16 23:30 -0200",
        "02-17 23:30 -0300",
    ]


def test_half_an_hour_is_skipped_and_repeated_on_lord_howe() -> None:
    assert times("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T10:00", 2) == [
        "10-04 02:30 +1100",
        "10-05 02:15 +1100",
    ]
    assert times("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T10:00", 2) == [
        "04-05 01:45 +1100",
        "04-06 01:45 +1030",
    ]
    assert times("45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00", 3) == [
        "04-05 01:45 +1100",
        "04-05 01:45 +1030",
        "04-05 02:45 +1030",
    ]


def test_a_day_that_a_place_left_out_happens_at_the_start_of_the_next() -> None:
    assert times("0 8 * * *", "Pacific/Apia", "2011-12-30T00:00", 2) == ["12-31 00:00 +1400", "12-31 08:00 +1400"]


# --- against a plain reading -----------------------------------------------------------------------------------------

CHANGES = {
    "Europe/Berlin": ["2026-03-29T01:00", "2026-10-25T01:00"],
    "America/New_York": ["2026-03-08T07:00", "2026-11-01T06:00"],
    "America/Sao_Paulo": ["2018-11-04T03:00", "2019-02-17T02:00"],
    "Australia/Lord_Howe": ["2026-04-04T15:00", "2026-10-03T15:30"],
    "Antarctica/Troll": ["2026-03-29T01:00", "2026-10-25T01:00"],
    "Asia/Kolkata": ["2026-03-29T01:00"],
    "UTC": ["2026-03-29T01:00"],
}
Reading = tuple[datetime, datetime, bool, list[datetime]]


@cache
def readings(time_zone: str, around: str) -> list[Reading]:
    """Each minute of three days: instant, what the wall shows, whether for the first time, what was just skipped."""
    zone, found = ZoneInfo(time_zone), list[Reading]()
    for number in range(-36 * 60, 36 * 60):
        instant = utc(around) + number * MINUTE
        local = instant.astimezone(zone)
        wall = local.replace(tzinfo=None, fold=0)
        before = (instant - MINUTE).astimezone(zone).replace(tzinfo=None, fold=0)
        skipped = [before + step * MINUTE for step in range(1, int((wall - before) / MINUTE))]
        found.append((instant, wall, local.fold == 0, skipped))
    return found


@st.composite
def expressions(draw: st.DrawFn) -> tuple[str, set[int], set[int], set[int]]:
    """An expression with its minutes, hours and weekdays (Monday is 1)."""
    minutes = draw(st.sets(st.integers(0, 59), min_size=1, max_size=3) | st.just(set(range(0, 60, 15))))
    hours = draw(st.sets(st.integers(0, 3) | st.integers(0, 23), min_size=1, max_size=4) | st.just(set(range(24))))
    days = draw(st.sets(st.integers(1, 7), min_size=5))
    listed = [",".join(map(str, sorted(each))) for each in (minutes, hours, days)]
    hour_field = "*" if len(hours) == 24 else listed[1]
    return f"{listed[0]} {hour_field} * * {listed[2]}", minutes, hours, days


@settings(max_examples=100, deadline=None)
@given(expressions(), st.sampled_from([(zone, change) for zone, changes in CHANGES.items() for change in changes]))
def test_the_times_equal_those_of_a_reading_minute_by_minute(
    parts: tuple[str, set[int], set[int], set[int]], place: tuple[str, str]
) -> None:
    expression, minutes, hours, days = parts

    def matches(wall: datetime) -> bool:
        return wall.minute in minutes and wall.hour in hours and wall.isoweekday() in days

    every_hour = len(hours) == 24
    minute_by_minute = readings(*place)
    expected = [
        instant
        for instant, wall, is_first, skipped in minute_by_minute
        if (matches(wall) and (is_first or every_hour)) or (not every_hour and any(map(matches, skipped)))
    ]
    start, end = minute_by_minute[0][0] - MINUTE, minute_by_minute[-1][0] + MINUTE
    cron = Cron.parse(expression, place[0])

    forwards, moment = [], start
    while (moment := cron.next_after(moment)) < end:
        forwards.append(moment)
    backwards, moment = [], end
    while (moment := cron.previous_before(moment)) > start:
        backwards.append(moment)

    assert forwards == expected
    assert backwards == expected[::-1]


@settings(max_examples=150, deadline=None)
@given(
    expressions(),
    st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe"]),
    st.datetimes(datetime(2026, 10, 24), datetime(2026, 10, 26), timezones=st.just(UTC)),
)
def test_forwards_and_backwards_agree_from_any_instant(
    parts: tuple[str, set[int], set[int], set[int]], time_zone: str, instant: datetime
) -> None:
    cron = Cron.parse(parts[0], time_zone)
    previous, following = cron.previous_before(instant), cron.next_after(instant)

    assert previous < instant < following
    assert cron.previous_before(following) in {previous, instant}
    assert cron.next_after(previous) in {following, instant}


# --- missed ----------------------------------------------------------------------------------------------------------


def test_missed_times_are_those_after_the_last_look_and_until_now() -> None:
    missed = Cron.parse("0 * * * *").missed(utc("2026-06-01T09:00"), utc("2026-06-01T12:00"))

    assert missed == Missed((utc("2026-06-01T10:00"), utc("2026-06-01T11:00"), utc("2026-06-01T12:00")), is_cut=False)


def test_of_too_many_missed_times_the_latest_are_kept() -> None:
    missed = Cron.parse("* * * * *").missed(utc("2020-01-01T00:00"), utc("2026-06-01T12:00"), limit=2)

    assert missed == Missed((utc("2026-06-01T11:59"), utc("2026-06-01T12:00")), is_cut=True)


def test_nothing_is_missed_between_two_times() -> None:
    missed = Cron.parse("0 * * * *").missed(utc("2026-06-01T09:00"), utc("2026-06-01T09:59"))

    assert missed == Missed((), is_cut=False)


# --- parsing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 0 * * * *", "five fields"),
        ("@often", "five fields"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * 8", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("0 0 * * MON#1/2", "bad day-of-week"),
        ("٣ * * * *", "five fields"),
        ("0 0 * * *; rm", "five fields"),
        ("0," * 200 + "0 * * * *", "five fields"),
        ("@daily-random", "not possible here"),
    ],
)
def test_what_is_no_schedule_is_refused_with_its_field_and_reason(expression: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        Cron.parse(expression, field="window.cron")

    (violation,) = caught.value.violations
    assert violation.field == "window.cron"


@pytest.mark.parametrize("name", ["", "Mars/Base", "Europe", "../etc/passwd", "/etc/localtime", "localtime", "CEST\n"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Cron.parse("@daily", name)

    assert [violation.field for violation in caught.value.violations] == ["cron_time_zone"]


def test_both_mistakes_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        Cron.parse("never", "nowhere")

    assert {violation.field for violation in caught.value.violations} == {"cron", "cron_time_zone"}


@given(st.text(st.sampled_from("0123459*/,-#LW JANMON@"), max_size=30))
def test_whatever_is_written_is_either_a_schedule_or_refused(expression: str) -> None:
    try:
        cron = Cron.parse(expression)
    except InvalidInput:
        return
    assert cron.next_after(utc("2026-06-01T12:00")) > utc("2026-06-01T12:00")


def test_names_blanks_and_aliases_mean_the_same_as_numbers() -> None:
    assert Cron.parse("@weekly") == Cron.parse("0  0 * *   0")
    assert times("0 0 L * *", "UTC", "2026-02-01T00:00", 1) == ["02-28 00:00 +0000"]
    assert times("0 0 * jan mon#2", "UTC", "2026-01-01T00:00", 1) == ["01-12 00:00 +0000"]
