"""How often and how patiently a storage on the far side of a network is asked again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from opsuite_repository.errors import Damaged, StorageUnavailable

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Patience:
    """Bounds of asking again; all times in seconds."""

    attempts: int = 8
    first_wait: float = 0.25
    longest_wait: float = 30.0
    timeout: float = 300.0
    """How long one attempt may take. Long enough for the largest pack on a slow line."""

    def wait(self, attempt: int, retry_after: float | None, chance: float) -> float:
        """Seconds to wait after the given failed attempt (counted from 1).

        The wait doubles, and up to half of it is taken off by `chance` (0 to 1), so that clients that failed together
        do not come back together. What the server asks for wins, up to the longest wait.
        """
        doubled = min(self.first_wait * 2.0 ** (attempt - 1), self.longest_wait)
        return min(max(doubled * (1 - chance / 2), retry_after or 0.0), self.longest_wait)


def persist(action: Callable[[], Result], patience: Patience, *, sleep: Callable[[float], None] = time.sleep) -> Result:
    """Do the action until it succeeds; raise its last error when the attempts are used up.

    Only StorageUnavailable is worth that. Damaged is tried just once more: it may have happened on the way, but when
    it is true of the file itself, asking again does not help.
    """
    attempt = 1
    damaged_before = False
    while True:
        try:
            return action()
        except StorageUnavailable as error:
            if attempt >= patience.attempts:
                raise
            retry_after = error.retry_after.total_seconds() if error.retry_after else None
            sleep(patience.wait(attempt, retry_after, random.random()))  # noqa: S311  # spreads load, guards nothing
        except Damaged:
            if damaged_before:
                raise
            damaged_before = True
        attempt += 1
