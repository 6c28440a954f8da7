"""Times in which people, or the healer, are left alone with some alerts; once, or again and again (maintenance)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Final

from opsuite_healer.domain.alerts.inhibition import Scope
from opsuite_healer.domain.alerts.labels import asked_of
from opsuite_healer.domain.alerts.matching import Matcher, all_match, matches_nothing_absent, problems
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_schedules.cron import Cron
from opsuite_schedules.windows import Window

LONGEST: Final = timedelta(days=366)
"""Nobody remembers a silence of more than a year; maintenance windows may come again for ten."""
LONGEST_RECURRENCE: Final = timedelta(days=3660)


class SilenceState(Enum):
    """Whether a silence is in force."""

    PENDING = "pending"
    """It begins later, or is outside of its recurring times."""
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Recurrence:
    """Times that come again."""

    cron: str
    duration: timedelta
    time_zone: str = "UTC"

    def window(self) -> Window:
        """As a schedule. Raises InvalidInput (`cron`, `cron_time_zone`)."""
        return _window(self)


@lru_cache(maxsize=1024)
def _window(recurrence: Recurrence) -> Window:
    return Window(Cron.parse(recurrence.cron, recurrence.time_zone), recurrence.duration)


@dataclass(frozen=True, slots=True)
class Silence:
    """Keeps what its matchers match quiet, from its start (included) to its end (excluded)."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    author: str
    comment: str
    scope: Scope = Scope.BOTH
    recurrence: Recurrence | None = None
    unmatched_for: timedelta | None = None
    """It ends by itself once nothing has matched it for so long; None: it does not."""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    matched_at: datetime | None = None
    """When it was last seen to match something that goes on."""
    end_reason: str = ""
    """Why it ended before its time."""
    number: int = 1
    """Grows with every change."""

    @property
    def name(self) -> str:
        """The resource name."""
        return f"silences/{self.id}"

    @property
    def etag(self) -> str:
        """Changes with every change."""
        return str(self.number)

    def problems(self, now: datetime) -> list[Violation]:
        """What is wrong with it."""
        found = problems(self.matchers, "matchers")
        if not self.comment:
            found.append(Violation("comment", "is required: whoever finds it wants to know why", "REQUIRED"))
        if not self.matchers:
            found.append(Violation("matchers", "is required", "REQUIRED"))
        elif not problems(self.matchers, "matchers") and not matches_nothing_absent(self.matchers):
            told = "would keep everything quiet: one at least has to ask for a label to be there"
            found.append(Violation("matchers", told, "MATCHES_ALL"))
        if self.ends_at <= max(self.starts_at, now):
            found.append(Violation("end_time", "is missing, not after its start, or in the past", "RANGE"))
        longest = LONGEST_RECURRENCE if self.recurrence else LONGEST
        if self.ends_at - self.starts_at > longest:
            found.append(Violation("end_time", f"is more than {longest.days} days after its start", "TOO_LONG"))
        return found + self._recurrence_problems()

    def _recurrence_problems(self) -> list[Violation]:
        if self.recurrence is None:
            return []
        try:
            self.recurrence.window()
        except InvalidInput as error:
            names = {"cron_time_zone": "time_zone"}
            return [
                Violation(f"recurrence.{names.get(one.field, one.field)}", one.description, one.reason)
                for one in error.violations
            ]
        return []

    def state(self, now: datetime) -> SilenceState:
        """Whether it is in force."""
        if now >= self.ends_at:
            return SilenceState.EXPIRED
        if now < self.starts_at:
            return SilenceState.PENDING
        if self.recurrence is not None and not self.recurrence.window().contains(now):
            return SilenceState.PENDING
        return SilenceState.ACTIVE

    def is_active(self, now: datetime) -> bool:
        """Whether it is in force."""
        return self.state(now) is SilenceState.ACTIVE

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Whether it is about an alert with these labels."""
        return all_match(self.matchers, asked_of(labels))

    def is_forgotten(self, now: datetime) -> bool:
        """Whether nothing has matched it for so long that it is to end."""
        if self.unmatched_for is None or self.state(now) is SilenceState.EXPIRED or now < self.starts_at:
            return False
        return now - max(self.starts_at, self.matched_at or self.starts_at) >= self.unmatched_for
