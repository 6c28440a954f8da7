"""When a check looks: at an even pace, each at a place of its own within the interval. Pure.

Thousands of checks of one interval would all look in the same moment after a start; so each has a phase, made from its
name, and looks at `phase + n * interval`. A look that was missed is not made up for.
"""

from __future__ import annotations

import hashlib
import math
from datetime import timedelta


def phase(name: str, interval: timedelta) -> float:
    """Seconds from 0 to the interval, the same for a name whenever and wherever it is asked for."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64
    return share * interval.total_seconds()


def next_due(now: float, interval: timedelta, offset: float) -> float:
    """The first turn after `now`, in seconds of the same clock."""
    seconds = interval.total_seconds()
    due = offset + (math.floor((now - offset) / seconds) + 1) * seconds
    return due if due > now else due + seconds  # what was rounded away
