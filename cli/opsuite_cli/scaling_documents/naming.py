"""Names of metrics: letters, digits and underscores, each once in its policy. Pure."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 63
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_]")
IS_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,62}").fullmatch


def metric_name(wanted: str, taken: list[str]) -> str:
    """A name like the wanted one that nobody has yet."""
    base = _FOREIGN.sub("_", wanted) or "metric"
    base = (base if IS_NAME(base[0]) else f"_{base}")[: LONGEST - 3]
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name
