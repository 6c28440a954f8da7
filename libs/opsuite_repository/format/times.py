"""Instants with nanoseconds and a zone, written as Go's `time.Time` writes itself to JSON (RFC 3339, zeroes trimmed).

Source: Go's package time (layout RFC3339Nano), RFC 3339, and `FixTime` of restic's internal/data/node.go, which brings
years outside 0000–9999 to the nearest of them. Python's datetime ends at microseconds and at year 1, hence this module.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final, NamedTuple

from opsuite_repository.errors import Malformed

_NS: Final = 1_000_000_000
_ANCHOR: Final = datetime(2000, 1, 1)  # calendar arithmetic only; the zone is added as a number
_ANCHOR_SECONDS: Final = 946_684_800
_CYCLE_YEARS: Final = 400  # the Gregorian calendar repeats after that many years
_CYCLE_SECONDS: Final = 146_097 * 86_400

_RFC_3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?\d*(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)


class Instant(NamedTuple):
    """A moment, and the zone in which it was written down."""

    ns: int
    """Nanoseconds since 1970-01-01T00:00:00Z; negative before."""
    offset_minutes: int = 0
    """East of Greenwich. Two instants that differ only here are the same moment."""

    def to_datetime(self) -> datetime:
        """Aware, in the zone of the instant, cut to microseconds. Raises ValueError outside the years 1–9999."""
        zone = timezone(timedelta(minutes=self.offset_minutes)) if self.offset_minutes else UTC
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.ns // 1000)
        return moment.astimezone(zone)


def from_datetime(moment: datetime) -> Instant:
    """The instant of an aware datetime, in its zone."""
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError("a time without a zone says nothing")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    ns = (since.days * 86_400 + since.seconds) * _NS + since.microseconds * 1000
    return Instant(ns, int(offset.total_seconds() // 60))


@lru_cache(maxsize=1024)  # the three times of a file are often one
def format_instant(instant: Instant) -> str:
    """RFC 3339 as Go writes it: `2026-11-24T23:00:00.0000005+01:00`, `Z` for UTC."""
    ns, offset_minutes = instant
    seconds, fraction = divmod(ns, _NS)
    date = _date_and_time(seconds + offset_minutes * 60)
    zone = "Z"
    if offset_minutes:
        hours, minutes = divmod(abs(offset_minutes), 60)
        zone = f"{'-' if offset_minutes < 0 else '+'}{hours:02}:{minutes:02}"
    return f"{date}.{fraction:09}".rstrip("0") + zone if fraction else date + zone


@lru_cache(maxsize=4096)  # files of one directory tend to share their seconds
def _date_and_time(seconds: int) -> str:
    cycles, rest = divmod(seconds - _ANCHOR_SECONDS, _CYCLE_SECONDS)
    moment = _ANCHOR + timedelta(seconds=rest)
    year = moment.year + _CYCLE_YEARS * cycles
    if year > 9999 and (moment.month, moment.day) == (2, 29):
        moment += timedelta(days=1)  # 9999 has no such day
    return f"{min(max(year, 0), 9999):04}-{moment:%m-%dT%H:%M:%S}"


@lru_cache(maxsize=1024)  # the three times of a file are often one
def parse_instant(text: str) -> Instant:
    """The instant that `format_instant` would write so. Raises Malformed."""
    found = _RFC_3339.fullmatch(text)
    if found is None:
        raise Malformed(f"{text!r} is not an RFC 3339 time")
    fraction, sign, hours, minutes = found.group(7), found.group(8), found.group(9), found.group(10)
    offset = (int(hours) * 60 + int(minutes)) * (-1 if sign == "-" else 1) if sign else 0
    return Instant((_seconds(text[:19]) - offset * 60) * _NS + int((fraction or "").ljust(9, "0")), offset)


@lru_cache(maxsize=4096)
def _seconds(date_and_time: str) -> int:
    cycles, year = divmod(int(date_and_time[:4]) - _ANCHOR.year, _CYCLE_YEARS)
    try:
        moment = datetime.fromisoformat(f"{year + _ANCHOR.year}{date_and_time[4:]}")
    except ValueError as error:
        raise Malformed(f"{date_and_time!r} is no day and time of the calendar") from error
    return int((moment - _ANCHOR).total_seconds()) + _ANCHOR_SECONDS + cycles * _CYCLE_SECONDS
