"""Actions as they are written down: a kind, its parameters, and how dangerous it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Risk(IntEnum):
    """How much an action can break; a greater one can break more. HIGH wants the approval of a person."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """An action that is to be taken."""

    kind: str
    """"RESTART_SERVICE", "SCALE_UP", "CLEAR_CACHE", "REBALANCE_LOAD", "ROLL_BACK_DEPLOYMENT", "RUN_RUNBOOK", …"""
    params: Mapping[str, str] = field(default_factory=dict, hash=False)
    """By name, as text: durations "30s", numbers "2", lists separated by commas."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a kind of action."""

    name: str
    description: str
    is_required: bool = False
    default: str = ""


@dataclass(frozen=True, slots=True)
class ActionKind:
    """A kind of action."""

    name: str
    description: str
    risk: Risk
    parameters: tuple[Parameter, ...] = ()
    needs_target: bool = True
    is_available: bool = True
    """Whether this healer is set up for it; `why_not` says what is missing."""
    why_not: str = ""
