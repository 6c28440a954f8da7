"""Hours, days, weeks, months and years of snapshots, and spans such as `1y6m`: calendar arithmetic as restic's.

Sources: restic's internal/data/duration.go and snapshot_policy.go, and Go's package time (AddDate lets days run over:
a month before 31 March is 3 March; ISOWeek). A snapshot is counted in the zone in which its time was written. Years
may be 0 and less, which Python's datetime does not know; the calendar repeats after 400 years, and that is used here.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final, NamedTuple, Self

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_repository.format.times import Instant

_HOUR_NS: Final = 3_600 * 1_000_000_000
_DAY_NS: Final = 24 * _HOUR_NS
_MINUTE_NS: Final = 60 * 1_000_000_000
_CYCLE_YEARS: Final = 400
_CYCLE_DAYS: Final = 146_097
_FIRST_YEAR: Final = 2000  # any year that is a multiple of 400 will do
_EPOCH: Final = date(1970, 1, 1).toordinal()
_FIRST_DAY: Final = date(_FIRST_YEAR, 1, 1).toordinal() - _EPOCH

_SPAN: Final = re.compile(r"(?:\d{1,6}[ymdh])+", re.ASCII)
_PART: Final = re.compile(r"(\d+)([ymdh])", re.ASCII)


class Span(NamedTuple):
    """A length of time in the units of the calendar; all zero means none."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """The span written so: `1y6m`, `90d`, `2d12h`; of a unit that is there twice the last counts, as with restic.

        Raises InvalidInput.
        """
        if text.strip() and not _SPAN.fullmatch(text.strip()):
            raise InvalidInput([Violation("duration", f"{text!r} is not like 1y6m, 90d or 2d12h", "DURATION")])
        found = {unit: int(number) for number, unit in _PART.findall(text)}
        return cls(found.get("y", 0), found.get("m", 0), found.get("d", 0), found.get("h", 0))

    def __str__(self) -> str:
        return "".join(f"{number}{unit}" for number, unit in zip(self, "ymdh", strict=True) if number)


NO_SPAN: Final = Span()


def before(instant: Instant, span: Span) -> int:
    """The moment that lies `span` before the instant, in nanoseconds since 1970."""
    local = instant.ns + instant.offset_minutes * _MINUTE_NS
    days, of_day = divmod(local, _DAY_NS)
    year, month, day = _date(days)
    month_number = (year - span.years) * 12 + month - 1 - span.months
    first = _first_day(*divmod(month_number, 12))
    return (
        (first + day - 1 - span.days) * _DAY_NS + of_day - instant.offset_minutes * _MINUTE_NS - span.hours * _HOUR_NS
    )


def hour_of(instant: Instant) -> tuple[int, ...]:
    """What two instants of one hour have in common."""
    local = instant.ns + instant.offset_minutes * _MINUTE_NS
    return (*_date(local // _DAY_NS), local % _DAY_NS // _HOUR_NS)


def day_of(instant: Instant) -> tuple[int, ...]:
    """Year, month, day."""
    return _date(_days(instant))


def week_of(instant: Instant) -> tuple[int, ...]:
    """Year and number of the week, by ISO 8601."""
    cycles, rest = divmod(_days(instant) - _FIRST_DAY, _CYCLE_DAYS)
    found = date.fromordinal(rest + _FIRST_DAY + _EPOCH).isocalendar()
    return found.year + cycles * _CYCLE_YEARS, found.week


def month_of(instant: Instant) -> tuple[int, ...]:
    """Year and month."""
    return _date(_days(instant))[:2]


def year_of(instant: Instant) -> tuple[int, ...]:
    """The year."""
    return _date(_days(instant))[:1]


def _days(instant: Instant) -> int:
    """Days since 1970 in the zone of the instant."""
    return (instant.ns + instant.offset_minutes * _MINUTE_NS) // _DAY_NS


def _date(days: int) -> tuple[int, int, int]:
    cycles, rest = divmod(days - _FIRST_DAY, _CYCLE_DAYS)
    found = date.fromordinal(rest + _FIRST_DAY + _EPOCH)
    return found.year + cycles * _CYCLE_YEARS, found.month, found.day


def _first_day(year: int, month_index: int) -> int:
    """Days since 1970 of the first day of a month."""
    cycles, rest = divmod(year - _FIRST_YEAR, _CYCLE_YEARS)
    return date(rest + _FIRST_YEAR, month_index + 1, 1).toordinal() - _EPOCH + cycles * _CYCLE_DAYS
