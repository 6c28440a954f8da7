"""Builds the part `alerts`: what is told together, and what is kept quiet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.quiet import Quiet
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
    raise NotImplementedError
