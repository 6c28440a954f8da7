"""The part `incidents` of the healer, served over real gRPC, with receivers that really listen."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fakes.healer_quiet import FakeQuiet
from fakes.healer_stage import Stage, healer_stage
from google.protobuf import json_format

from opsuite.healer.v1 import escalation_pb2, incident_pb2
from opsuite.healer.v1 import escalation_service_pb2 as escalation
from opsuite.healer.v1 import incident_service_pb2 as pb
from opsuite.healer.v1.escalation_service_pb2_grpc import EscalationServiceStub
from opsuite.healer.v1.incident_service_pb2_grpc import IncidentServiceStub
from opsuite_healer.composition.house import House, Part
from opsuite_healer.composition.incidents import Incidents, incidents

if TYPE_CHECKING:  # these exist in the type stubs only
    from opsuite.healer.v1.escalation_service_pb2_grpc import EscalationServiceAsyncStub
    from opsuite.healer.v1.incident_service_pb2_grpc import IncidentServiceAsyncStub


HANG_SECONDS = 120.0
"""Only what never comes takes so long."""


@dataclass(frozen=True)
class IncidentClient:
    """Those who call it."""

    incidents: IncidentServiceAsyncStub
    escalation: EscalationServiceAsyncStub

    async def trigger(self, **fields: Any) -> incident_pb2.Incident:
        """The incident of some trouble, in the JSON form of the contract."""
        form = {"issue": "UNHEALTHY", "summary": "checkout does not answer", "key": "k1"} | fields
        request = json_format.ParseDict(form, pb.TriggerIncidentRequest())
        return (await self.incidents.TriggerIncident(request)).incident

    async def receiver(self, name: str, **channel: Any) -> None:
        """Record a receiver."""
        wanted = json_format.ParseDict({"name": f"receivers/{name}"} | channel, escalation_pb2.Receiver())
        await self.escalation.CreateReceiver(escalation.CreateReceiverRequest(receiver=wanted))

    async def policy(self, *levels: Sequence[str], **fields: Any) -> None:
        """Record the policy "default": it tells these, a quarter of an hour after one another, from the opening on."""
        form = policy_form(*levels, **fields)
        wanted = json_format.ParseDict(form, escalation_pb2.EscalationPolicy())
        await self.escalation.CreateEscalationPolicy(escalation.CreateEscalationPolicyRequest(policy=wanted))

    async def timeline(self, name: str) -> list[incident_pb2.TimelineEntry]:
        """All of it."""
        return list((await self.incidents.GetTimeline(pb.GetTimelineRequest(name=name, page_size=1000))).entries)

    async def kinds(self, name: str) -> list[str]:
        """What it tells, in words."""
        return [word(entry.kind) for entry in await self.timeline(name)]

    async def until(self, name: str, *kinds: str) -> None:
        """Return once the timeline tells all of these, each as often as it is named."""
        async with asyncio.timeout(HANG_SECONDS):
            await self._until(name, list(kinds))

    async def _until(self, name: str, missing: Sequence[str]) -> None:
        seen = [word(entry.kind) for entry in await self.timeline(name)]
        request = pb.WatchIncidentsRequest(name=name)
        async for answer in self.incidents.WatchIncidents(request):
            if answer.HasField("snapshot"):
                seen = await self.kinds(name)
            seen += [word(event.entry.kind) for event in answer.events]
            if all(seen.count(kind) >= missing.count(kind) for kind in missing):
                return


@dataclass(frozen=True)
class IncidentStage(IncidentClient):
    """The part in this process, and those who call it."""

    stage: Stage
    part: Incidents
    quiet: FakeQuiet


def client_of(channel: Any) -> IncidentClient:
    """Who calls over a channel."""
    return IncidentClient(IncidentServiceStub(channel), EscalationServiceStub(channel))


def word(kind: incident_pb2.TimelineEntryKind.ValueType) -> str:
    """A kind of entry without its prefix."""
    return incident_pb2.TimelineEntryKind.Name(kind).removeprefix("TIMELINE_ENTRY_KIND_")


def policy_form(*levels: Sequence[str], **fields: Any) -> dict[str, Any]:
    """An escalation policy in the JSON form of the contract."""
    given: dict[str, Any] = {
        "name": "escalationPolicies/default",
        "beginAfter": "0s",
        "levels": [{"receivers": [f"receivers/{one}" for one in level], "wait": "900s"} for level in levels],
    }
    return given | fields


def request_id() -> str:
    """A new one."""
    return str(uuid.uuid4())


@asynccontextmanager
async def incident_stage(
    directory: Path, *, database_url: str = "sqlite", settings: Mapping[str, object] | None = None
) -> AsyncIterator[IncidentStage]:
    """Serve the part."""
    built: list[Incidents] = []
    quiet = FakeQuiet()

    def build(house: House) -> Sequence[Part]:
        built.append(incidents(house, lambda: quiet))
        return [built[0].part]

    async with healer_stage(directory, build, database_url=database_url, **settings or {}) as stage:
        client = client_of(stage.channel)
        yield IncidentStage(client.incidents, client.escalation, stage, built[0], quiet)


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory that lives as long as the test, whose name is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="opsuite-") as path:
        yield Path(path)
