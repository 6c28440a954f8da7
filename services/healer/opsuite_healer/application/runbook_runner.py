"""Runbooks, as remediation starts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from opsuite_healer.domain.targets import TargetRef


@dataclass(frozen=True, slots=True)
class RunbookCall:
    """A runbook to execute."""

    key: str
    """Names this execution for ever: starting it again finds the one that is there."""
    runbook: str
    """Id of the runbook."""
    params: Mapping[str, str]
    target: TargetRef | None
    actor: str
    incident: str = ""
    """Resource name of the incident; empty if there is none."""
    traceparent: str = ""


class RunbookState(Enum):
    """Where an execution stands, as far as others care."""

    GOING_ON = "GOING_ON"
    """Running, paused, or waiting for an answer."""
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    """Also cancelled, or not found any more."""


class RunbookRunner(Protocol):
    """Executes runbooks. Raises Unavailable."""

    async def start(self, call: RunbookCall) -> str:
        """Begin an execution and return its resource name. Raises NotFound (runbook), InvalidInput (parameters)."""

    async def state(self, execution: str) -> tuple[RunbookState, str]:
        """Where it stands, and a line about it for people."""

    async def cancel(self, execution: str, reason: str) -> None:
        """Stop it at the next place where that is possible; one that is over is fine."""
