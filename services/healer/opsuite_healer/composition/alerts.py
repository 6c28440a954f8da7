"""Builds the part `alerts`: what is told together, and what is kept quiet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.quiet import Hush, Quiet
from opsuite_healer.application.troubles import Troubles
from opsuite_healer.composition.house import House, Part
from opsuite_healer.composition.incidents import Incidents


@dataclass(frozen=True, slots=True)
class Alerts:
    """The part, and what others use of it."""

    part: Part
    troubles_of: Callable[[SqlUnit], Troubles]
    """Keeps an alert for each trouble and passes it on to incidents."""
    quiet: Quiet


def alerts(house: House, incidents: Incidents) -> Alerts:
    """Build it."""
    return Alerts(Part(), incidents.troubles_of, _NeverQuiet())


class _NeverQuiet:
    async def of(self, labels: Mapping[str, str], now: datetime) -> Hush:
        return Hush()
