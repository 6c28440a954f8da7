"""What people want to be left alone with: silences, maintenance windows, alerts that another one explains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Hush:
    """What keeps trouble quiet; empty where nothing does."""

    notifications: tuple[str, ...] = ()
    """Resource names of what keeps people from being told, "silences/01h…"; "inhibited by alerts/…"."""
    actions: tuple[str, ...] = ()
    """The same for what keeps the healer from acting."""


class Quiet(Protocol):
    """Knows what is quiet. Raises Unavailable."""

    async def of(self, labels: Mapping[str, str], now: datetime) -> Hush:
        """What keeps trouble with these labels quiet now."""
