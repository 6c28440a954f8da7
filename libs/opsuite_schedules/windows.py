"""Stretches of time that come again: a cron expression opens them, a duration closes them. Pure.

The duration is time that passes: a window of two hours lasts two hours also on the night the clock is set. Windows
that overlap or touch are one longer window.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from opsuite_schedules.cron import Cron

_CHAIN_LIMIT: Final = 2_000
"""Openings that may run into one another before a window counts as always open: a week of five-minute ones."""


@dataclass(frozen=True, slots=True)
class Window:
    """Open from each time of `cron` (included) for `duration` (its end excluded)."""

    cron: Cron
    duration: timedelta

    def __post_init__(self) -> None:
        if self.duration <= timedelta():
            raise ValueError("a window lasts longer than nothing")

    def contains(self, instant: datetime) -> bool:
        """Whether it is open at `instant`."""
        return instant < self.cron.last_until(instant) + self.duration

    def next_opening(self, instant: datetime) -> datetime:
        """The earliest moment from `instant` on at which it is open; `instant` itself when it is open then."""
        return instant if self.contains(instant) else self.cron.next_after(instant)

    def next_closing(self, instant: datetime) -> datetime | None:
        """The earliest moment from `instant` on at which it is closed; None when it does not close in sight."""
        moment = instant
        for _ in range(_CHAIN_LIMIT):
            end = self.cron.last_until(moment) + self.duration
            if end <= moment:
                return moment
            moment = end
        return None
