"""What an action is to the registry, and what all actions share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol, runtime_checkable

from opsuite_healer.adapters.actions.params import Reader
from opsuite_healer.application.actions import ActionCall, ActionOutcome, ActionResult
from opsuite_healer.domain.actions import ActionKind, ActionSpec
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import Conflict

LONGEST_MESSAGE: Final = 2000


class Action(Protocol):
    """One kind of action. What it raises while it runs, the registry turns into FAILED or REFUSED."""

    @property
    def kind(self) -> ActionKind:
        """Its name, risk and parameters."""

    def read(self, params: Reader) -> object:
        """What the parameters say; the reader collects all that is wrong with them."""

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        """What has to be known before it begins; recorded, and given to `run` at each repeat."""

    async def run(self, call: ActionCall, before: Mapping[str, str]) -> ActionResult:
        """Take it. A repeat with the same call and `before` does nothing a second time."""


@runtime_checkable
class GivesUp(Protocol):
    """An action that goes on elsewhere when its caller has no more time for it."""

    async def give_up(self, call: ActionCall) -> None:
        """Stop it there."""


def done(message: str, facts: Mapping[str, str] | None = None, undo: ActionSpec | None = None) -> ActionResult:
    """It was carried out."""
    return ActionResult(ActionOutcome.DONE, message[:LONGEST_MESSAGE], facts or {}, undo)


def failed(message: str, facts: Mapping[str, str] | None = None) -> ActionResult:
    """It was tried, and did not work."""
    return ActionResult(ActionOutcome.FAILED, message[:LONGEST_MESSAGE], facts or {})


def refused(message: str, facts: Mapping[str, str] | None = None) -> ActionResult:
    """Trying again as it is changes nothing."""
    return ActionResult(ActionOutcome.REFUSED, message[:LONGEST_MESSAGE], facts or {})


def target_of(call: ActionCall) -> TargetRef:
    """What the action is about. Raises Conflict (TARGET_REQUIRED)."""
    if call.target is None:
        raise Conflict(f"{call.spec.kind} needs a target", reason="TARGET_REQUIRED")
    return call.target
