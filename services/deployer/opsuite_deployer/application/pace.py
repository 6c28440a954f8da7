"""How soon to look at a rollout again: platforms and routers are asked, they do not tell."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from opsuite_deployer.domain.rollout_words import Want

LOOK_EVERY: Final = timedelta(milliseconds=250)
"""Longest pause between two looks."""
LOOK_AGAIN: Final = timedelta(milliseconds=20)
"""Pause after a look that wants something new: that is often there at once. It doubles from look to look."""


class Pace:
    """Pauses between the looks at one rollout: short after a change, long while nothing happens."""

    def __init__(self) -> None:
        self._pause = LOOK_EVERY
        self._wanted: Want | None = None

    def wanted(self, want: Want) -> None:
        """Take in what the last look asked for."""
        self._pause = min(2 * self._pause, LOOK_EVERY) if want == self._wanted else LOOK_AGAIN
        self._wanted = want

    def missed(self) -> None:
        """Take in that nothing could be seen: who is out of reach is not pressed."""
        self._pause = LOOK_EVERY

    def pause(self, now: datetime, wake_at: datetime | None) -> timedelta:
        """Time until the next look, which is due at `wake_at` if that is sooner."""
        left = self._pause if wake_at is None else wake_at - now
        return max(timedelta(0), min(left, self._pause))
