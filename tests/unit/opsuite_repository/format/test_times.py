from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_repository.errors import Malformed
from opsuite_repository.format.times import Instant, format_instant, from_datetime, parse_instant

SECOND = 1_000_000_000
YEAR = 366 * 86_400 * SECOND


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (Instant(0), "1970-01-01T00:00:00Z"),
        (Instant(1), "1970-01-01T00:00:00.000000001Z"),
        (Instant(-1), "1969-12-31T23:59:59.999999999Z"),
        (Instant(1_500_000_000 * SECOND + 120_000_000), "2017-07-14T02:40:00.12Z"),
        (Instant(10 * SECOND), "1970-01-01T00:00:10Z"),
        (Instant(0, 120), "1970-01-01T02:00:00+02:00"),
        (Instant(0, -210), "1969-12-31T20:30:00-03:30"),
        (Instant(951_782_400 * SECOND), "2000-02-29T00:00:00Z"),
        (Instant(-62_135_596_800 * SECOND), "0001-01-01T00:00:00Z"),
        (Instant(-62_167_219_200 * SECOND), "0000-01-01T00:00:00Z"),
        (Instant(253_402_300_799 * SECOND), "9999-12-31T23:59:59Z"),
    ],
)
def test_times_are_written_as_go_does(instant: Instant, text: str) -> None:
    assert format_instant(instant) == text
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (253_402_300_800 * SECOND, "9999-01-01T00:00:00Z"),
        (-62_167_219_201 * SECOND, "0000-12-31T23:59:59Z"),
        (253_407_398_400 * SECOND + 5, "9999-03-01T00:00:00.000000005Z"),  # from 29 February 10000
    ],
)
def test_years_that_have_no_four_digits_become_the_nearest(ns: int, text: str) -> None:
    assert format_instant(Instant(ns)) == text


@given(st.integers(-1900 * YEAR, 7900 * YEAR), st.integers(-23 * 60, 23 * 60))
def test_every_time_comes_back(ns: int, offset: int) -> None:
    assert parse_instant(format_instant(Instant(ns, offset))) == Instant(ns, offset)


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5)), timezone(timedelta(minutes=345))])))
def test_datetimes_come_back(moment: datetime) -> None:
    instant = from_datetime(moment)
    if 1 < moment.year < 9999:
        assert instant.to_datetime() == moment
        assert instant.to_datetime().utcoffset() == moment.utcoffset()
    assert parse_instant(format_instant(instant)).ns == instant.ns


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        from_datetime(datetime(2020, 1, 1))


@pytest.mark.parametrize(
    "text",
    ["", "2020-01-01", "2020-01-01T00:00:00", "2020-13-01T00:00:00Z", "2021-02-29T00:00:00Z", "2020-01-01T00:00:00.Z",
     "2020-01-01 00:00:00Z", "٢٠٢٠-01-01T00:00:00Z", "2020-01-01T25:00:00Z", "2020-01-01T00:00:00+0100"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_instant(text)
