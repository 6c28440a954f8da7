"""The runbooks of a healer served in this process, with actions and incidents that a test decides about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from fakes.clock import NOON
from fakes.healer_stage import Stage, healer_stage
from google.protobuf import json_format

from opsuite.healer.v1 import runbook_pb2
from opsuite.healer.v1 import runbook_service_pb2 as pb
from opsuite.healer.v1.runbook_service_pb2_grpc import RunbookServiceStub
from opsuite_healer.application.actions import ActionCall, ActionOutcome, ActionResult
from opsuite_healer.application.incident_book import IncidentView
from opsuite_healer.composition.house import House, Part
from opsuite_healer.composition.runbooks import Runbooks, runbooks
from opsuite_healer.domain.actions import ActionKind, ActionSpec, Parameter, Risk
from opsuite_healer.domain.targets import TargetRef
from opsuite_healer.domain.trouble import Severity
from opsuite_kernel.errors import OpsuiteError, Violation

DONE = ActionResult(ActionOutcome.DONE, "done")
FAILED = ActionResult(ActionOutcome.FAILED, "it failed")
REFUSED = ActionResult(ActionOutcome.REFUSED, "never")
INCIDENT = "incidents/01k00000000000000000000000"


@dataclass
class FakeActions:
    """Fits `application.actions.Actions`: one kind, STAGE, whose parameter `name` says which answer it gets."""

    answers: dict[str, list[ActionResult | OpsuiteError]] = field(default_factory=dict)
    """What comes of it, try by try; the last one stands for all that follow; DONE where there is none."""
    unprepared: dict[str, OpsuiteError] = field(default_factory=dict)
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    """Actions that do not end before this is set."""
    taken: list[str] = field(default_factory=list)
    """Names in order, once for each try that has begun."""
    cut_short: list[str] = field(default_factory=list)
    calls: list[ActionCall] = field(default_factory=list)

    def kinds(self) -> Sequence[ActionKind]:
        return [ActionKind("STAGE", "Does what the test says.", Risk.LOW, (Parameter("name", "Which."),))]

    def violations(self, spec: ActionSpec, path: str) -> Sequence[Violation]:
        return [] if spec.kind == "STAGE" else [Violation(f"{path}.kind", "is no kind of action", "UNKNOWN_ACTION")]

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        if error := self.unprepared.get(call.spec.params["name"]):
            raise error
        return {"known": call.spec.params["name"]}

    async def run(self, call: ActionCall, before: Mapping[str, str], timeout: timedelta) -> ActionResult:
        name = call.spec.params["name"]
        assert before == {"known": name}
        self.taken.append(name)
        self.calls.append(call)
        try:
            if name in self.held:
                await self.held[name].wait()
        except asyncio.CancelledError:
            self.cut_short.append(name)
            raise
        answers = self.answers.get(name, [DONE])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, OpsuiteError):
            raise answer
        return answer


@dataclass
class FakeBook:
    """Fits `application.incident_book.IncidentBook`: one incident, and what it was told."""

    notes: list[str] = field(default_factory=list)
    escalations: list[str] = field(default_factory=list)

    def incident(self, incident: str) -> IncidentView | None:
        if f"incidents/{incident}" != INCIDENT:
            return None
        return IncidentView(
            id=incident,
            key="k",
            issue="DISK_FULL",
            severity=Severity.ERROR,
            target=TargetRef("process", "shop"),
            summary="the disk is full",
            labels={},
            opened_at=NOON,
            last_seen_at=NOON,
            is_open=True,
            is_acknowledged=False,
            is_clear=False,
        )

    def open_incidents(self, limit: int) -> Sequence[IncidentView]:
        return []

    def note(self, incident: str, text: str, *, actor: str, facts: Mapping[str, str] | None = None) -> None:
        self.notes.append(text)

    def remediating(self, incident: str, remediation: str) -> None: ...

    def escalate(self, incident: str, reason: str) -> None:
        self.escalations.append(reason)

    def resolve(self, incident: str, reason: str, *, actor: str) -> None: ...


@dataclass
class RunbookStage:
    """A healer that has runbooks alone."""

    stage: Stage
    actions: FakeActions
    book: FakeBook
    built: Runbooks
    server: Any
    """Stub of RunbookService."""

    async def create(self, *steps: Mapping[str, Any], name: str = "fix", **fields: Any) -> runbook_pb2.Runbook:
        """A runbook of these steps."""
        form = {"name": f"runbooks/{name}", "steps": list(steps), **fields}
        request = json_format.ParseDict({"runbook": form}, pb.CreateRunbookRequest())
        created: pb.CreateRunbookResponse = await self.server.CreateRunbook(request)
        return created.runbook

    async def execute(self, name: str = "fix", **fields: Any) -> str:
        """Begin an execution; its name."""
        request = json_format.ParseDict({"name": f"runbooks/{name}", **fields}, pb.ExecuteRunbookRequest())
        begun: pb.ExecuteRunbookResponse = await self.server.ExecuteRunbook(request)
        return begun.execution.name

    async def get(self, execution: str) -> runbook_pb2.Execution:
        """An execution as it stands."""
        found: pb.GetExecutionResponse = await self.server.GetExecution(pb.GetExecutionRequest(name=execution))
        return found.execution

    async def ended(self, execution: str) -> runbook_pb2.Execution:
        """An execution once it is over."""
        async for _ in self.server.WatchExecution(pb.WatchExecutionRequest(name=execution)):
            pass
        return await self.get(execution)

    async def until(self, execution: str, status: str) -> runbook_pb2.Execution:
        """An execution once it stands there."""
        wanted = runbook_pb2.ExecutionStatus.Value(f"EXECUTION_STATUS_{status}")
        call = self.server.WatchExecution(pb.WatchExecutionRequest(name=execution))
        async for answer in call:
            if answer.snapshot.status == wanted or any(event.status == wanted for event in answer.events):
                call.cancel()
                break
        found = await self.get(execution)
        assert found.status == wanted, f"{found} passed {status}"
        return found


@asynccontextmanager
async def runbook_stage(
    directory: Path, *, database_url: str = "sqlite", settings: Mapping[str, Any] | None = None
) -> AsyncIterator[RunbookStage]:
    """Serve the part alone."""
    acting, book, built = FakeActions(), FakeBook(), list[Runbooks]()

    def build(house: House) -> Sequence[Part]:
        built.append(runbooks(house, acting, lambda _: book))
        return [built[0].part]

    async with healer_stage(directory, build, database_url=database_url, **(settings or {})) as stage:
        channel: Any = stage.channel
        yield RunbookStage(stage, acting, book, built[0], RunbookServiceStub(channel))


def step(name: str, **fields: Any) -> dict[str, Any]:
    """A step that takes the action STAGE of its name."""
    return {"name": name, "action": {"kind": "STAGE", "params": {"name": name}}, **fields}


def undo(name: str) -> dict[str, Any]:
    """What takes a step back."""
    return {"kind": "STAGE", "params": {"name": f"undo {name}"}}


def statuses(execution: runbook_pb2.Execution) -> list[tuple[str, str]]:
    """Steps and how they stand; those that take another one back begin with "undo"."""
    return [
        (
            f"undo {one.step}" if one.is_compensation else one.step,
            runbook_pb2.StepStatus.Name(one.status).removeprefix("STEP_STATUS_"),
        )
        for one in execution.steps
    ]


def stand(execution: runbook_pb2.Execution) -> str:
    """Where it stands."""
    return runbook_pb2.ExecutionStatus.Name(execution.status).removeprefix("EXECUTION_STATUS_")
