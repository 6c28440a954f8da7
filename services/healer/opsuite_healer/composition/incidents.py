"""Builds the part `incidents`: what is open, who is told, and who is woken when the healer can do no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.incident_book import IncidentBook
from opsuite_healer.application.messages import Messages
from opsuite_healer.application.quiet import Quiet
from opsuite_healer.application.troubles import Troubles
from opsuite_healer.composition.house import House, Part


@dataclass(frozen=True, slots=True)
class Incidents:
    """The part, and what others use of it. Each callable makes its port over a unit."""

    part: Part
    troubles_of: Callable[[SqlUnit], Troubles]
    book_of: Callable[[SqlUnit], IncidentBook]
    messages_of: Callable[[SqlUnit], Messages]


def incidents(house: House, quiet: Callable[[], Quiet]) -> Incidents:
    """Build it. `quiet` is asked for when it is needed first: alerts, who know, are built on top of this."""
    raise NotImplementedError
