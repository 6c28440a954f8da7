"""Checks of the healer under test: the part served alone, beside a part that only keeps what it is told."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fakes.healer_stage import Stage, healer_stage
from google.protobuf import json_format

from opsuite.healer.v1 import check_pb2
from opsuite.healer.v1 import health_check_service_pb2 as pb
from opsuite.healer.v1.health_check_service_pb2_grpc import HealthCheckServiceStub
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.health_view import HealthView
from opsuite_healer.composition.checks import checks
from opsuite_healer.composition.house import House, Part
from opsuite_healer.domain.trouble import Trouble

HEALTHY = check_pb2.HEALTH_OUTCOME_HEALTHY
UNHEALTHY = check_pb2.HEALTH_OUTCOME_UNHEALTHY
UNKNOWN = check_pb2.HEALTH_OUTCOME_UNKNOWN


@dataclass
class ToldTroubles:
    """Fits `application.troubles.Troubles`, whatever unit it is made over."""

    found_ones: list[Trouble] = field(default_factory=list)
    gone_ones: list[tuple[str, str]] = field(default_factory=list)
    """Keys and reasons."""

    def found(self, trouble: Trouble) -> None:
        self.found_ones.append(trouble)

    def gone(self, key: str, at: datetime, reason: str) -> None:
        self.gone_ones.append((key, reason))

    @property
    def open_issues(self) -> list[str]:
        """Issues that were told and are not over, by canonical target: "UNHEALTHY -/shop"."""
        gone = {key for key, _ in self.gone_ones}
        told = {one.key: f"{one.issue} {one.target.canonical if one.target else ''}" for one in self.found_ones}
        return sorted(text for key, text in told.items() if key not in gone)


@dataclass(frozen=True)
class CheckStage:
    """The part under test."""

    stage: Stage
    troubles: ToldTroubles
    health: HealthView

    @property
    def stub(self) -> Any:
        """Every method of the service; answers are typed by their use."""
        return HealthCheckServiceStub(self.stage.channel)

    async def create(self, form: dict[str, Any]) -> check_pb2.Check:
        """Record a check in its JSON form."""
        request = pb.CreateCheckRequest(check=json_format.ParseDict(form, check_pb2.Check()))
        answer: pb.CreateCheckResponse = await self.stub.CreateCheck(request)
        return answer.check

    async def get(self, name: str) -> check_pb2.Check:
        """A check as it stands."""
        answer: pb.GetCheckResponse = await self.stub.GetCheck(pb.GetCheckRequest(name=name))
        return answer.check

    async def until(self, name: str, outcome: int, replica: str = "") -> check_pb2.SubjectHealth:
        """Wait until something that a check covers has that verdict."""
        request = pb.WatchHealthRequest(name=name)
        async for answer in self.stub.WatchHealth(request):
            for subject in _subjects(answer):
                if subject.replica == replica and subject.outcome == outcome:
                    return subject
        raise AssertionError(f"the stream of {name} ended")

    async def until_said(self, name: str, message: str, replica: str = "") -> check_pb2.SubjectHealth:
        """Wait until the last answer of something that a check covers says that. No event tells of answers."""
        while True:
            for subject in (await self.get(name)).health.subjects:
                if subject.replica == replica and message in subject.last.message:
                    return subject

    async def next_events(self, name: str, *kinds: int) -> list[check_pb2.CheckEvent]:
        """Wait until all of those kinds have happened; every event up to then, from the first one of the check."""
        found: list[check_pb2.CheckEvent] = []
        token = self.stage.house.feeds.token(name, 0)
        async for answer in self.stub.WatchHealth(pb.WatchHealthRequest(name=name, resume_token=token)):
            found += answer.events
            if {one.kind for one in found} >= set(kinds):
                return found
        raise AssertionError(f"the stream of {name} ended")


def _subjects(answer: pb.WatchHealthResponse) -> list[check_pb2.SubjectHealth]:
    shown = [subject for status in answer.snapshot.statuses for subject in status.subjects]
    return shown + [event.subject for event in answer.events if event.HasField("subject")]


@asynccontextmanager
async def check_stage(
    directory: Path, *, database_url: str = "sqlite", **settings: object
) -> AsyncIterator[CheckStage]:
    """Serve the checks alone."""
    troubles = ToldTroubles()
    built = []

    def build(house: House) -> list[Part]:
        built.append(checks(house, lambda unit: _told_by(troubles, unit)))
        return [built[0].part]

    async with healer_stage(directory, build, database_url=database_url, **settings) as stage:
        yield CheckStage(stage, troubles, built[0].health)


def _told_by(troubles: ToldTroubles, unit: SqlUnit) -> ToldTroubles:
    return troubles


def a_check(name: str, **fields: Any) -> dict[str, Any]:
    """A check that is right but for these fields, and quick."""
    form: dict[str, Any] = {
        "name": f"healthChecks/{name}",
        "target": {"workload": name},
        "interval": "0.1s",
        "timeout": "0.1s",
        "successThreshold": 1,
        "failureThreshold": 1,
    }
    return {key: value for key, value in (form | fields).items() if value is not None}


def a_closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


Staged = AbstractAsyncContextManager[CheckStage]
