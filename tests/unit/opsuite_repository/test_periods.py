"""Hours, weeks, years and spans, also outside the years that Python's dates know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_kernel.errors import InvalidInput
from opsuite_repository import periods
from opsuite_repository.format.times import Instant, from_datetime
from opsuite_repository.periods import NO_SPAN, Span, before

DAY_NS = 86_400 * 10**9
FOUR_CENTURIES_NS = 146_097 * DAY_NS


def at(text: str) -> Instant:
    return from_datetime(datetime.fromisoformat(text))


@given(
    st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),  # the zone is added
    st.integers(-14 * 60, 14 * 60),
)
def test_periods_are_those_of_the_calendar_in_the_zone_of_the_instant(moment: datetime, minutes: int) -> None:
    local = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    instant = from_datetime(local)

    assert periods.hour_of(instant) == (local.year, local.month, local.day, local.hour)
    assert periods.day_of(instant) == (local.year, local.month, local.day)
    assert periods.week_of(instant) == local.isocalendar()[:2]
    assert periods.month_of(instant) == (local.year, local.month)
    assert periods.year_of(instant) == (local.year,)


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-10, 10))
def test_the_calendar_repeats_after_four_centuries(moment: datetime, cycles: int) -> None:
    instant = from_datetime(moment)
    later = Instant(instant.ns + cycles * FOUR_CENTURIES_NS)
    (year, week), (later_year, later_week) = periods.week_of(instant), periods.week_of(later)

    assert periods.day_of(later) == (moment.year + 400 * cycles, moment.month, moment.day)
    assert (later_year, later_week) == (year + 400 * cycles, week)


@pytest.mark.parametrize(
    ("moment", "span", "expected"),
    [
        ("2024-03-31T10:00:00+00:00", "1m", "2024-03-02T10:00:00+00:00"),
        ("2023-03-31T10:00:00+00:00", "1m", "2023-03-03T10:00:00+00:00"),
        ("2024-02-29T10:00:00+00:00", "1y", "2023-03-01T10:00:00+00:00"),
        ("2024-01-15T10:00:00+00:00", "13m", "2022-12-15T10:00:00+00:00"),
        ("2024-01-15T10:00:00+00:00", "2d3h", "2024-01-13T07:00:00+00:00"),
        ("2024-01-01T00:30:00+02:00", "1d", "2023-12-31T00:30:00+02:00"),
        ("2024-03-01T00:30:00+02:00", "1m", "2024-02-01T00:30:00+02:00"),
        ("2024-05-05T05:05:05.000005+00:00", "", "2024-05-05T05:05:05.000005+00:00"),
    ],
)
def test_a_span_is_taken_off_as_go_does_it(moment: str, span: str, expected: str) -> None:
    assert before(at(moment), Span.parse(span)) == at(expected).ns


def test_spans_may_lead_before_the_first_year() -> None:
    assert before(at("0001-01-01T00:00:00+00:00"), Span(years=401)) == at("0001-01-01T00:00:00+00:00").ns - (
        FOUR_CENTURIES_NS + 366 * DAY_NS
    )


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1y5m7d2h", Span(1, 5, 7, 2)),
        ("2h1y", Span(1, 0, 0, 2)),
        (" 90d ", Span(days=90)),
        ("1d2d", Span(days=2)),
        ("0d", NO_SPAN),
        ("", NO_SPAN),
    ],
)
def test_spans_are_read_as_restic_reads_them(text: str, span: Span) -> None:
    assert Span.parse(text) == span


@pytest.mark.parametrize("text", ["d", "1", "1w", "-1d", "1d -2h", "1.5d", "\u0661d"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Span.parse(text)


def test_a_span_is_written_from_the_largest_unit() -> None:
    assert str(Span.parse("2h0d1y")) == "1y2h"
