"""Builds the part `checks`: what is healthy, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.health_view import HealthView
from opsuite_healer.application.troubles import Troubles
from opsuite_healer.composition.house import House, Part


@dataclass(frozen=True, slots=True)
class Checks:
    """The part, and what others use of it."""

    part: Part
    health: HealthView


def checks(house: House, troubles_of: Callable[[SqlUnit], Troubles]) -> Checks:
    """Build it."""
    raise NotImplementedError
