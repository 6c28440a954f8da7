"""KEDA's cron trigger (begin and end, each a cron expression) as cron and duration, both ways. Pure.

Only what is the same length every time can be told as a duration: begin and end at one hour and minute, on the same
days.
"""

from __future__ import annotations

import re
from typing import Final

MINUTES_A_DAY: Final = 24 * 60
_FIELDS: Final = re.compile(r"(\d{1,2}) (\d{1,2}) (\S+ \S+ \S+)").fullmatch


def window_of(start: str, end: str) -> tuple[str, int] | None:
    """Cron of the beginning and minutes until the end; None for what has no one length."""
    begins, ends = _FIELDS(" ".join(start.split())), _FIELDS(" ".join(end.split()))
    if begins is None or ends is None or begins[3] != ends[3]:
        return None
    length = _minute(ends) - _minute(begins)
    if length <= 0 and begins[3] == "* * *":
        length += MINUTES_A_DAY
    return (begins[0], length) if length > 0 else None


def ends_of(cron: str, minutes: int) -> str | None:
    """Cron of the end; None where the end cannot be told by one."""
    begins = _FIELDS(cron)
    if begins is None or not 0 < minutes <= MINUTES_A_DAY:
        return None
    end = _minute(begins) + minutes
    if end >= MINUTES_A_DAY and begins[3] != "* * *":
        return None
    hours, minute = divmod(end % MINUTES_A_DAY, 60)
    return f"{minute} {hours} {begins[3]}"


def _minute(fields: re.Match[str]) -> int:
    return int(fields[2]) * 60 + int(fields[1])
