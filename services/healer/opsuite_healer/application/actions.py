"""What the healer can do to a target, for remediation and runbooks. Kinds and their parameters: `domain/actions.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Protocol

from opsuite_healer.domain.actions import ActionKind, ActionSpec
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import Violation


@dataclass(frozen=True, slots=True)
class ActionCall:
    """One action to take."""

    key: str
    """Names this act for ever (a UUID): a repeat of it, after a crash or by another replica, has it too."""
    spec: ActionSpec
    target: TargetRef | None
    actor: str
    """On whose behalf: "remediations/…", "runbooks/…/executions/…"."""
    incident: str = ""
    """Resource name of the incident; empty if there is none."""
    reason: str = ""
    traceparent: str = ""


class ActionOutcome(Enum):
    """How an action ended."""

    DONE = "DONE"
    """It was carried out; whether it helped is another question."""
    FAILED = "FAILED"
    REFUSED = "REFUSED"
    """Whoever was asked would not do it; trying again changes nothing."""


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What came of an action."""

    outcome: ActionOutcome
    message: str
    """For people; holds no secret, at most 2,000 characters."""
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What it did, by name: {"deployment": "pipelines/…", "from": "2", "to": "3"}."""
    undo: ActionSpec | None = None
    """What takes it back once the trouble is over; None where nothing has to be."""


class Actions(Protocol):
    """Knows every kind of action, and takes them."""

    def kinds(self) -> Sequence[ActionKind]:
        """All that there are, by name, with risk, parameters and whether they can be used here."""

    def violations(self, spec: ActionSpec, path: str) -> Sequence[Violation]:
        """All that is wrong with a spec; `path` is where it stands in the request."""

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        """What has to be known before the action begins, for `run` to be safe to repeat; recorded with the intent.

        A restart keeps when each replica was started: one that is younger at a repeat was restarted already.
        Raises NotFound (target), Conflict, Unavailable; then nothing was done.
        """

    async def run(self, call: ActionCall, before: Mapping[str, str], timeout: timedelta) -> ActionResult:
        """Take the action; at most `timeout`. A repeat with the same call and `before` does nothing a second time.

        Never raises because of whom it asks: that is FAILED or REFUSED.
        """
