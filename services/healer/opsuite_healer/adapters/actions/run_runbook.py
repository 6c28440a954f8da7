"""RUN_RUNBOOK: work of several steps as one action."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from opsuite_healer.adapters.actions.action import done, failed
from opsuite_healer.adapters.actions.params import Reader
from opsuite_healer.application.actions import ActionCall, ActionResult
from opsuite_healer.application.names import id_of
from opsuite_healer.application.runbook_runner import RunbookCall, RunbookRunner, RunbookState
from opsuite_healer.domain.actions import ActionKind, Parameter, Risk
from opsuite_runs.faults import declare
from opsuite_validation.values import check_dns_label

BEGUN: Final = declare("healer.runbook_begun", "an execution of a runbook is recorded, its action does not know")
PREFIX: Final = "params."
LOOK_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which runbook, with what."""

    runbook: str
    params: Mapping[str, str]


class RunRunbook:
    """A repeat finds the execution that was begun. It goes on by itself, wherever the healer is."""

    kind = ActionKind(
        "RUN_RUNBOOK",
        "Executes a runbook and waits for its end.",
        Risk.MEDIUM,
        (
            Parameter("runbook", 'Which one: "runbooks/clear-disk".', is_required=True),
            Parameter("params.*", "A parameter of the runbook, by its name."),
        ),
        needs_target=False,
    )

    def __init__(self, runner: Callable[[], RunbookRunner]) -> None:
        """`runner` is asked for when a runbook is run first."""
        self._runner = runner

    def read(self, params: Reader) -> Chosen:
        """Which runbook, with what."""
        runbook = id_of(params.text("runbook"))
        if runbook and (why := check_dns_label(runbook)):
            params.wrong("runbook", why, "DNS_LABEL")
        return Chosen(runbook, params.below(PREFIX))

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        """Nothing."""
        return {}

    async def run(self, call: ActionCall, before: Mapping[str, str]) -> ActionResult:
        """Begin it, or find it, and wait for its end."""
        runner = self._runner()
        execution = await runner.start(self._begun_by(call))
        BEGUN.hit()
        return await _end_of(runner, execution)

    async def give_up(self, call: ActionCall) -> None:
        """Nobody waits for it any longer: stop it."""
        runner = self._runner()
        await runner.cancel(await runner.start(self._begun_by(call)), f"{call.actor} waits no longer")

    def _begun_by(self, call: ActionCall) -> RunbookCall:
        chosen = self.read(Reader(call.spec.params))
        return RunbookCall(
            key=call.key,
            runbook=chosen.runbook,
            params=chosen.params,
            target=call.target,
            actor=call.actor,
            incident=call.incident,
            traceparent=call.traceparent,
        )


async def _end_of(runner: RunbookRunner, execution: str) -> ActionResult:
    while True:
        state, message = await runner.state(execution)
        facts = {"execution": execution}
        if state is RunbookState.SUCCEEDED:
            return done(message or "the runbook succeeded", facts)
        if state is RunbookState.FAILED:
            return failed(message or "the runbook failed", facts)
        await asyncio.sleep(LOOK_SECONDS)
