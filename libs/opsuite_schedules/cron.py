"""Cron expressions in a time zone, as instants. Pure.

Five fields as crontab(5) has them, with names of months and days, lists, ranges and steps, `L` (last day of the month,
`5L` last Friday), `LW` (last weekday) and `1#2` (second Monday); or an alias of `spread`.

**Daylight saving.** An expression that names hours means the clock on the wall, once a day: what falls into a skipped
hour happens once, when the clock has jumped; what falls into a doubled hour happens in its first pass. An expression
whose hours are `*` means every hour that passes, whatever it is called: it follows the clock through both passes.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from opsuite_kernel.errors import InvalidInput, NotFound, Violation
from opsuite_schedules.spread import ALIASES, RANDOM_ALIASES, spread_expression

_SOME_DAY: Final = datetime(2000, 1, 1)
_EXPRESSION: Final = re.compile(r"[0-9A-Za-z*/,#-]+( [0-9A-Za-z*/,#-]+){4}")
_LENGTH_LIMIT: Final = 200
_INSTANT: Final = timedelta(microseconds=1)
_SECOND: Final = timedelta(seconds=1)
_LONGEST_OVERLAP: Final = timedelta(hours=3)
"""Clocks are set by at most two hours, but for a few places that have moved over the date line."""


@dataclass(frozen=True, slots=True)
class Missed:
    """What should have happened while nobody looked."""

    instants: tuple[datetime, ...]
    """The latest ones, oldest first."""
    is_cut: bool
    """Whether there were more, before these."""


@dataclass(frozen=True, slots=True)
class Cron:
    """When something happens; made by `parse`. All instants are aware and in UTC."""

    expression: str
    """The five fields, whatever alias they came from."""
    zone: ZoneInfo

    @classmethod
    def parse(cls, expression: str, time_zone: str = "UTC", *, key: str = "", field: str = "cron") -> Self:
        """A schedule. Random aliases want a `key`, which stands for what is scheduled.

        Raises: InvalidInput, with violations at `<field>` and `<field>_time_zone`.
        """
        violations: list[Violation] = []
        zone = parse_zone(time_zone, f"{field}_time_zone", violations)
        fields = _parse_expression(expression, key, field, violations)
        if violations or zone is None or fields is None:
            raise InvalidInput(violations)
        return cls(fields, zone)

    def next_after(self, instant: datetime) -> datetime:
        """The first time after `instant`. Raises: NotFound (none within 50 years)."""
        later: list[datetime] = []
        for reading in CronSim(self.expression, self._wall(instant) - self._margin(instant)):
            instants = self._instants_of(reading)
            later += [moment for moment in instants if moment > instant]
            if instants and instants[0] > instant:  # and so are those of every later reading, which come after it
                return min(later)
        raise NotFound("next time of", self.expression)

    def previous_before(self, instant: datetime) -> datetime:
        """The last time before `instant`. Raises: NotFound (none within 50 years)."""
        earlier: list[datetime] = []
        for reading in CronSim(self.expression, self._wall(instant) + self._margin(instant), reverse=True):
            instants = self._instants_of(reading)
            earlier += [moment for moment in instants if moment < instant]
            if instants and instants[-1] < instant:
                return max(earlier)
        raise NotFound("previous time of", self.expression)

    def last_until(self, instant: datetime) -> datetime:
        """The last time that is not after `instant`."""
        return self.previous_before(instant + _INSTANT)

    def missed(self, after: datetime, until: datetime, *, limit: int = 100) -> Missed:
        """The times after `after` and not after `until`: the latest ones, at most `limit`."""
        found: list[datetime] = []
        moment = self.last_until(until)
        while moment > after and len(found) < limit:
            found.append(moment)
            moment = self.previous_before(moment)
        return Missed(tuple(reversed(found)), is_cut=moment > after)

    def _instants_of(self, reading: datetime) -> tuple[datetime, ...]:
        """When it happens because the clock on the wall shows `reading`, in order: usually once."""
        first, second = (reading.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        is_every_hour = self.expression.split()[1] == "*"
        if first > second:  # a skipped reading: each pass is reckoned with the offset of the other side of the jump
            return () if is_every_hour else (self._jump_between(second, first),)
        return (first, second) if first < second and is_every_hour else (first,)

    def _jump_between(self, before: datetime, after: datetime) -> datetime:
        """The second at which the clock jumps."""
        old_offset = self._offset(before)

        def has_jumped(second: int) -> bool:
            return self._offset(before + timedelta(seconds=second)) != old_offset

        return before + timedelta(seconds=bisect_left(range((after - before) // _SECOND), True, key=has_jumped))

    def _margin(self, instant: datetime) -> timedelta:
        """How far to look on the other side of `instant`: readings near a change of the clock are out of order."""
        is_near = self._offset(instant - _LONGEST_OVERLAP) != self._offset(instant + _LONGEST_OVERLAP)
        return _LONGEST_OVERLAP if is_near else _SECOND

    def _wall(self, instant: datetime) -> datetime:
        """What the clock on the wall shows at `instant`."""
        return instant.astimezone(self.zone).replace(tzinfo=None, microsecond=0, fold=0)

    def _offset(self, instant: datetime) -> timedelta | None:
        return instant.astimezone(self.zone).utcoffset()


def parse_zone(name: str, field: str, violations: list[Violation]) -> ZoneInfo | None:
    """The IANA time zone of that name; otherwise None and a violation."""
    try:
        if name != "localtime":  # something else on every machine
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass  # unknown, not a name, or a folder of names
    violations.append(Violation(field, f"{name!r} is not an IANA time zone such as Europe/Berlin", "TIME_ZONE"))
    return None


def _parse_expression(expression: str, key: str, field: str, violations: list[Violation]) -> str | None:
    """Five fields, from an alias or as given; otherwise None and a violation."""
    if expression in RANDOM_ALIASES:
        if key:
            return spread_expression(expression, key)
        violations.append(Violation(field, f"{expression} is not possible here", "KEY"))
        return None
    # Runs of blanks are one, as in a crontab.
    fields = ALIASES.get(expression, " ".join(expression.split()))
    if problem := _problem_of(fields):
        violations.append(Violation(field, f"{expression[:_LENGTH_LIMIT]!r} is not a schedule: {problem}", "CRON"))
        return None
    return fields


def _problem_of(fields: str) -> str:
    """What is wrong with the expression; empty when nothing is."""
    if len(fields) > _LENGTH_LIMIT or not _EXPRESSION.fullmatch(fields):
        return "it has to be five fields (minute hour day month weekday) or an alias such as @daily"
    try:
        if next(CronSim(fields, _SOME_DAY), None) is None:
            return "it never happens"
    except CronSimError as error:
        return str(error).lower()
    return ""
