"""Moments that differ from key to key and never change for one: they spread load without anybody choosing. Pure."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Final

ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
RANDOM_ALIASES: Final = {
    "@hourly-random": "{minute} * * * *",
    "@daily-random": "{minute} {hour} * * *",
    "@weekly-random": "{minute} {hour} * * {weekday}",
    "@monthly-random": "{minute} {hour} {day} * *",
}


def spread_expression(alias: str, key: str) -> str:
    """The five fields of a random alias for `key` (`@daily-random`); days of the month are 1 to 28."""
    return RANDOM_ALIASES[alias].format(
        minute=_number(key, "minute") % 60,
        hour=_number(key, "hour") % 24,
        weekday=_number(key, "weekday") % 7,
        day=_number(key, "day") % 28 + 1,
    )


def jitter(key: str, up_to: timedelta) -> timedelta:
    """A delay from nothing to just below `up_to`, the same at every call for one key."""
    microseconds = up_to // timedelta(microseconds=1)
    return timedelta(microseconds=_number(key, "jitter") % microseconds if microseconds > 0 else 0)


def _number(key: str, purpose: str) -> int:
    """A number of 128 bits; Python's own hash differs from process to process."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{key}".encode()).digest()[:16])
