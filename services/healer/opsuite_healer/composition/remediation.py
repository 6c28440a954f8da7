"""Builds the part `remediation`: what is done about an incident, within brakes."""

from __future__ import annotations

from collections.abc import Callable

from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.health_view import HealthView
from opsuite_healer.application.incident_book import IncidentBook
from opsuite_healer.application.messages import Messages
from opsuite_healer.application.quiet import Quiet
from opsuite_healer.composition.actions import Doing
from opsuite_healer.composition.house import House, Part


def remediation(
    house: House,
    *,
    doing: Doing,
    health: HealthView,
    quiet: Quiet,
    book_of: Callable[[SqlUnit], IncidentBook],
    messages_of: Callable[[SqlUnit], Messages],
) -> Part:
    """Build it."""
    raise NotImplementedError
