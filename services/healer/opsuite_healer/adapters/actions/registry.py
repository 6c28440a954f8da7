"""All kinds of actions there are. Fits `application.actions.Actions`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

import structlog

from opsuite_healer.adapters.actions.action import Action, GivesUp, failed, refused
from opsuite_healer.adapters.actions.params import LONGEST_VALUE, Reader, path_of
from opsuite_healer.application.actions import ActionCall, ActionResult
from opsuite_healer.domain.actions import ActionKind, ActionSpec
from opsuite_kernel.errors import Conflict, Gone, OpsuiteError, Stale, TimedOut, Unavailable, Violation

log = structlog.get_logger(__name__)


class Registry:
    """Looks an action up by the kind of a spec, and keeps what it raises from its caller."""

    def __init__(self, actions: Sequence[Action]) -> None:
        self._actions = {action.kind.name: action for action in actions}

    def kinds(self) -> Sequence[ActionKind]:
        """All that there are, by name."""
        return [self._actions[name].kind for name in sorted(self._actions)]

    def violations(self, spec: ActionSpec, path: str) -> Sequence[Violation]:
        """All that is wrong with a spec; `path` is where it stands in the request."""
        action = self._actions.get(spec.kind)
        if action is None:
            known = ", ".join(sorted(self._actions))
            return [Violation("kind", f"is no kind of action; these are {known}", "UNKNOWN_ACTION").below(path)]
        found = [*_misfits(action.kind, spec.params)]
        reader = Reader(spec.params)
        action.read(reader)
        return [violation.below(path) for violation in [*found, *reader.found]]

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        """What has to be known before the action begins. Raises NotFound, Conflict, Unavailable, InvalidInput."""
        return await self._usable(call).prepare(call)

    async def run(self, call: ActionCall, before: Mapping[str, str], timeout: timedelta) -> ActionResult:
        """Take the action; at most `timeout`."""
        try:
            return await self._run(self._usable(call), call, before, timeout)
        except (Unavailable, TimedOut, Stale, Gone) as error:
            return failed(error.message, {"reason": error.reason})
        except OpsuiteError as error:
            return refused(error.message, {"reason": error.reason})
        except Exception as error:
            log.exception("action_crashed", kind=call.spec.kind, key=call.key)
            return failed(f"it ended with {type(error).__name__}: see the log", {"reason": "INTERNAL"})

    async def _run(
        self, action: Action, call: ActionCall, before: Mapping[str, str], timeout: timedelta
    ) -> ActionResult:
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                return await action.run(call, before)
        except TimeoutError:
            if isinstance(action, GivesUp):
                await action.give_up(call)
            return failed(f"it did not end within {timeout.total_seconds():g} s", {"reason": "TIMED_OUT"})

    def _usable(self, call: ActionCall) -> Action:
        action = self._actions.get(call.spec.kind)
        if action is None:
            raise Conflict(f"there is no action {call.spec.kind}", reason="UNKNOWN_ACTION")
        if not action.kind.is_available:
            raise Conflict(
                f"{call.spec.kind} cannot be used here: {action.kind.why_not}", reason="ACTION_NOT_AVAILABLE"
            )
        if action.kind.needs_target and call.target is None:
            raise Conflict(f"{call.spec.kind} needs a target", reason="TARGET_REQUIRED")
        return action


def _misfits(kind: ActionKind, params: Mapping[str, str]) -> list[Violation]:
    """Parameters that are missing, not known, or too long."""
    known = {parameter.name for parameter in kind.parameters}
    open_ended = {name[:-1] for name in known if name.endswith(".*")}
    found = [
        Violation(path_of(name), f"is no parameter of {kind.name}", "UNKNOWN_PARAMETER")
        for name in params
        if name not in known and not any(name.startswith(prefix) and name != prefix for prefix in open_ended)
    ]
    found += [
        Violation(path_of(name), f"must have at most {LONGEST_VALUE} characters", "TOO_LONG")
        for name, value in params.items()
        if len(value) > LONGEST_VALUE
    ]
    return found + [
        Violation(path_of(parameter.name), "is required", "REQUIRED")
        for parameter in kind.parameters
        if parameter.is_required and not params.get(parameter.name)
    ]
