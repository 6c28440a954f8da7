"""All actions of a healer, over a real house: database, spawner, platforms and peers as its settings name them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from fakes.healer_stage import Stage, healer_stage

from opsuite_healer.application.actions import ActionCall, ActionResult
from opsuite_healer.application.runbook_runner import RunbookCall, RunbookState
from opsuite_healer.composition.actions import Doing, actions
from opsuite_healer.composition.house import House, Part
from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.targets import TargetRef
from opsuite_notify.port import Message

MINUTE = timedelta(minutes=1)


@dataclass
class FakeMessages:
    """Fits `application.messages.Messages`; "nobody" is no receiver."""

    sent: list[tuple[str, Message, str]] = field(default_factory=list)

    def send(self, receivers: Sequence[str], message: Message, *, about: str) -> Sequence[str]:
        self.sent += [(receiver, message, about) for receiver in receivers if receiver != "nobody"]
        return [receiver for receiver in receivers if receiver == "nobody"]


@dataclass
class FakeRunner:
    """Fits `application.runbook_runner.RunbookRunner`."""

    state_now: tuple[RunbookState, str] = (RunbookState.SUCCEEDED, "")
    started: dict[str, RunbookCall] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)

    async def start(self, call: RunbookCall) -> str:
        self.started.setdefault(call.key, call)
        return f"runbooks/{call.runbook}/executions/{call.key}"

    async def state(self, execution: str) -> tuple[RunbookState, str]:
        return self.state_now

    async def cancel(self, execution: str, reason: str) -> None:
        self.cancelled.append(execution)


@dataclass
class Actor:
    """Somebody who takes actions."""

    stage: Stage
    doing: Doing
    messages: FakeMessages
    runner: FakeRunner

    def call(self, kind: str, *target: TargetRef, **params: str) -> ActionCall:
        """A call of an action, on one target or none."""
        spec = ActionSpec(kind, params)
        assert not self.wrong(kind, params), self.wrong(kind, params)
        about = target[0] if target else None
        return ActionCall(str(uuid.uuid4()), spec, about, "remediations/1", "incidents/1", "the test wants it")

    def wrong(self, kind: str, params: Mapping[str, str]) -> dict[str, str]:
        """What is wrong with parameters: reasons by field."""
        found = self.doing.actions.violations(ActionSpec(kind, params), "spec")
        return {one.field.removeprefix("spec."): one.reason for one in found}

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        """What has to be known before."""
        return await self.doing.actions.prepare(call)

    async def run(self, call: ActionCall, before: Mapping[str, str], *, timeout: timedelta = MINUTE) -> ActionResult:
        """What comes of it."""
        return await self.doing.actions.run(call, before, timeout)

    async def take(self, call: ActionCall, *, timeout: timedelta = MINUTE) -> ActionResult:
        """Both."""
        return await self.run(call, await self.prepare(call), timeout=timeout)


@asynccontextmanager
async def an_actor(directory: Path, **settings: Any) -> AsyncIterator[Actor]:
    """One over a house of its own."""
    messages, runner, built = FakeMessages(), FakeRunner(), list[Doing]()

    def build(house: House) -> Sequence[Part]:
        built.append(actions(house, lambda _: messages, lambda: runner))
        return []

    async with healer_stage(directory, build, **settings) as stage:
        yield Actor(stage, built[0], messages, runner)
