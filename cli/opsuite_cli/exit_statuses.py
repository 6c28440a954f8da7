"""Exit statuses of commands that wait for something to end. Light, since every command's module is loaded for help."""

from __future__ import annotations

from typing import Final

SUCCEEDED: Final = 0
ROLLED_BACK: Final = 3
FAILED: Final = 4
PAUSED: Final = 5
ENDED_BY_PEOPLE: Final = 6
