"""The brakes: each says whether an action may be taken now, why not, and by which values.

The order is that in which they are asked. One that refuses for all actions alike (a pause, an unhealthy fleet) holds
the whole remediation; an open circuit only keeps one action back, and the next step of the chain may be taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final


class Gate(Enum):
    """A brake."""

    PAUSE = "PAUSE"
    """A person has paused the healer."""
    SILENCE = "SILENCE"
    """A silence or a maintenance window keeps the healer from acting."""
    TROUBLE = "TROUBLE"
    """There has to be trouble now."""
    FLAPPING = "FLAPPING"
    """What comes and goes by itself is not mended by acting."""
    ROLLOUT = "ROLLOUT"
    """While a rollout is under way, the deployer decides."""
    CIRCUIT = "CIRCUIT"
    FLEET = "FLEET"
    CONCURRENCY = "CONCURRENCY"


TELLING: Final = frozenset({Gate.PAUSE, Gate.CIRCUIT, Gate.FLEET})
"""Brakes whose refusal a person has to know of: the healer does not go on soon, or not by itself."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """What one brake said."""

    gate: Gate
    is_open: bool
    reason: str = ""
    """In one word; empty where it is open."""
    message: str = ""
    values: Mapping[str, str] = field(default_factory=dict, hash=False)
    until: datetime | None = None
    """When it opens by itself; None where nobody knows."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Keeps the healer from beginning anything."""

    reason: str
    author: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """The last deployment of a target."""

    deployment: str
    version: str
    previous_version: str
    started_at: datetime
    ended_at: datetime | None
    is_healthy: bool


def pause_gate(pause: Pause | None, now: datetime) -> GateResult:
    """Refuses while the healer is paused."""
    if pause is None or (pause.until is not None and pause.until <= now):
        return GateResult(Gate.PAUSE, is_open=True)
    values = {"by": pause.author, "why": pause.reason}
    return GateResult(Gate.PAUSE, False, "PAUSED", f"{pause.author} has paused the healer", values, pause.until)


def silence_gate(hushed_by: Sequence[str] | None) -> GateResult:
    """Refuses while something keeps the healer quiet, or nobody can tell (None)."""
    if hushed_by is None:
        return GateResult(Gate.SILENCE, False, "CANNOT_TELL", "nobody can tell what is silenced")
    if not hushed_by:
        return GateResult(Gate.SILENCE, is_open=True)
    told = ", ".join(hushed_by)
    return GateResult(Gate.SILENCE, False, "SILENCED", f"kept quiet by {told}", {"silences": told})


def trouble_gate(*, is_clear: bool) -> GateResult:
    """Refuses while whoever found the trouble says that it is over."""
    if not is_clear:
        return GateResult(Gate.TROUBLE, is_open=True)
    return GateResult(Gate.TROUBLE, False, "CLEAR", "the trouble is over, as far as its finder can see")


def flapping_gate(*, is_flapping: bool) -> GateResult:
    """Refuses while the target comes and goes."""
    if not is_flapping:
        return GateResult(Gate.FLAPPING, is_open=True)
    return GateResult(Gate.FLAPPING, False, "FLAPPING", "the target changes between healthy and unhealthy by itself")


def rollout_gate(rollout: Rollout | None) -> GateResult:
    """Refuses while a rollout of the target is under way."""
    if rollout is None or rollout.ended_at is not None:
        return GateResult(Gate.ROLLOUT, is_open=True)
    values = {"deployment": rollout.deployment, "version": rollout.version}
    told = f"{rollout.deployment} is under way, and decides by itself what becomes of it"
    return GateResult(Gate.ROLLOUT, False, "ROLLOUT_UNDER_WAY", told, values)


def is_to_blame(rollout: Rollout | None, began_at: datetime, window: timedelta) -> bool:
    """Whether trouble that began at a time can come from the last deployment, and can be taken back with it.

    One that did not end well is not to blame: the deployer has taken it back itself, or a person is at it.
    """
    if rollout is None or not rollout.is_healthy or not rollout.previous_version:
        return False
    ended = rollout.ended_at or rollout.started_at
    return rollout.started_at <= began_at <= ended + window
