"""Remediation and incidents, served over real gRPC and a real database, in a world that a test makes up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from fakes.healer_quiet import FakeQuiet
from fakes.healer_remediation import World
from fakes.healer_stage import Stage, healer_stage
from google.protobuf import json_format

from opsuite.healer.v1 import healing_policy_pb2, incident_pb2, remediation_pb2
from opsuite.healer.v1 import healing_service_pb2 as pb
from opsuite.healer.v1 import incident_service_pb2 as incident_pb
from opsuite.healer.v1.healing_service_pb2_grpc import HealingServiceStub
from opsuite.healer.v1.incident_service_pb2_grpc import IncidentServiceStub
from opsuite_healer.composition.actions import Doing
from opsuite_healer.composition.house import House, Part
from opsuite_healer.composition.incidents import Incidents, incidents
from opsuite_healer.composition.remediation import remediation
from opsuite_healer.domain.remediation.remediation import State

if TYPE_CHECKING:  # these exist in the type stubs only
    from opsuite.healer.v1.healing_service_pb2_grpc import HealingServiceAsyncStub
    from opsuite.healer.v1.incident_service_pb2_grpc import IncidentServiceAsyncStub

AT_ONCE: Mapping[str, Any] = {"healthyDelay": "0s", "timeout": "30s", "grace": "0s"}
"""Proof by the first healthy look."""
IN_VAIN: Mapping[str, Any] = {"healthyDelay": "0s", "timeout": "1s", "grace": "0s"}
"""Proof that is given up soon."""
NO_PAUSE: Mapping[str, Any] = {"first": "0s", "longest": "0s"}
WEB: Mapping[str, Any] = {"platform": "process", "workload": "web", "replica": "web-0"}


def step(action: str = "RESTART_SERVICE", **fields: Any) -> dict[str, Any]:
    """A step that is proved at once, and tried again without a pause."""
    return {"action": action, "verification": AT_ONCE, "backoff": NO_PAUSE} | fields


def policy_form(*steps: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A policy that acts."""
    form: dict[str, Any] = {
        "name": "healingPolicies/web",
        "mode": "HEALING_MODE_AUTO",
        "steps": [dict(one) for one in steps or (step(),)],
    }
    return form | fields


@dataclass(frozen=True)
class RemediationClient:
    """Somebody who calls them."""

    healing: HealingServiceAsyncStub
    incidents: IncidentServiceAsyncStub

    async def policy(self, *steps: Mapping[str, Any], **fields: Any) -> healing_policy_pb2.HealingPolicy:
        """Record a policy."""
        message = json_format.ParseDict(policy_form(*steps, **fields), healing_policy_pb2.HealingPolicy())
        answer = await self.healing.CreateHealingPolicy(pb.CreateHealingPolicyRequest(policy=message))
        return answer.policy

    async def trouble(self, **fields: Any) -> incident_pb2.Incident:
        """The incident of trouble with a replica of the web."""
        form = {"issue": "UNHEALTHY", "summary": "web does not answer", "key": "k1", "target": dict(WEB)} | fields
        request = json_format.ParseDict(form, incident_pb.TriggerIncidentRequest())
        return (await self.incidents.TriggerIncident(request)).incident

    async def until(self, *states: State, incident: str = "") -> remediation_pb2.Remediation:
        """The first remediation, of an incident if one is named, that stands so."""
        wanted = {remediation_pb2.RemediationState.Value(f"REMEDIATION_STATE_{state.name}") for state in states}
        request = pb.WatchRemediationsRequest(name="remediations/-")
        # What has ended before is no part of the stream; whoever waits for that finds it in the list.
        call = self.healing.WatchRemediations(request)
        try:
            async for answer in call:
                found = [*answer.remediations]
                if not found or answer.resume_token:
                    found += await self.all()
                for one in found:
                    if one.state in wanted and incident in ("", one.incident):
                        return await self.get(one.name)
        finally:
            call.cancel()
        raise AssertionError("the stream has ended")

    async def all(self) -> list[remediation_pb2.Remediation]:
        """All that there are, the oldest first."""
        answer = await self.healing.ListRemediations(pb.ListRemediationsRequest())
        return list(answer.remediations)[::-1]

    async def get(self, name: str) -> remediation_pb2.Remediation:
        """One, with all that was tried and decided."""
        return (await self.healing.GetRemediation(pb.GetRemediationRequest(name=name))).remediation

    async def incident(self, name: str) -> incident_pb2.Incident:
        """An incident."""
        return (await self.incidents.GetIncident(incident_pb.GetIncidentRequest(name=name))).incident


@dataclass(frozen=True)
class RemediationStage(RemediationClient):
    """The parts, and those who call them."""

    stage: Stage
    world: World
    opened: Incidents


def client_of(channel: grpc.aio.Channel) -> RemediationClient:
    """Who calls through a channel."""
    return RemediationClient(HealingServiceStub(channel), IncidentServiceStub(channel))


@asynccontextmanager
async def remediation_stage(
    directory: Path, world: World, *, database_url: str = "sqlite", **settings: object
) -> AsyncIterator[RemediationStage]:
    """Serve both parts."""
    built: list[Incidents] = []

    def build(house: House) -> list[Part]:
        opened = incidents(house, FakeQuiet)
        built.append(opened)
        return [opened.part, remediation_part(house, opened, world)]

    async with healer_stage(directory, build, database_url=database_url, **settings) as stage:
        channel = stage.channel
        caller = client_of(channel)
        yield RemediationStage(caller.healing, caller.incidents, stage, world, built[0])


def remediation_part(house: House, opened: Incidents, world: World) -> Part:
    """The part, over a world that is made up."""
    return remediation(
        house,
        doing=Doing(world.actions, world.rollouts),
        health=world.health,
        quiet=world.hush,
        book_of=opened.book_of,
        messages_of=opened.messages_of,
    )
