"""How long the pauses between tries are.

The pause after try n is `first` times `factor` to the power n - 1, never more than `longest`. Jitter makes it up to
that share longer or shorter, so that many targets that fail together are not tried together again.
"""

from __future__ import annotations

from datetime import timedelta

from opsuite_healer.domain.remediation.policy import Backoff


def pause_after(backoff: Backoff, tries: int) -> timedelta:
    """The pause after so many tries (1 or more), without jitter."""
    if backoff.first >= backoff.longest:
        return backoff.longest
    seconds = backoff.first.total_seconds()
    for _ in range(tries - 1):  # a power of many tries would be no number any more
        seconds *= backoff.factor
        if seconds >= backoff.longest.total_seconds():
            return backoff.longest
        if backoff.factor == 1:
            break
    return timedelta(seconds=seconds)


def jittered(backoff: Backoff, tries: int, chance: float) -> timedelta:
    """The pause with jitter; `chance` from 0 to 1 says how much of it, 0.5 none."""
    return pause_after(backoff, tries) * (1 + backoff.jitter * (2 * chance - 1))
