"""Builds the part `runbooks`: work of several steps, with people in it where they are wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.actions import Actions
from opsuite_healer.application.incident_book import IncidentBook
from opsuite_healer.application.runbook_runner import RunbookRunner
from opsuite_healer.composition.house import House, Part


@dataclass(frozen=True, slots=True)
class Runbooks:
    """The part, and what others use of it."""

    part: Part
    runner: RunbookRunner


def runbooks(house: House, actions: Actions, book_of: Callable[[SqlUnit], IncidentBook]) -> Runbooks:
    """Build it."""
    raise NotImplementedError
