"""Time, passed in rather than read: decisions get `now` as a value, loops get a Clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """The wall clock: aware, UTC. It may jump; use it for what people read and what is stored."""

    def monotonic(self) -> float:
        """Seconds that only ever grow, from an arbitrary start; use it for limits inside one process."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """The wall clock: aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        return time.monotonic()
