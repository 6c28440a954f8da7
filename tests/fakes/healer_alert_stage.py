"""The parts `incidents` and `alerts` of the healer, served over real gRPC and HTTP, with a receiver that listens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import ClientSession
from fakes.alert_receivers import Receivers, alert_receivers
from fakes.healer_stage import Stage, healer_stage
from google.protobuf import json_format

from opsuite.healer.v1 import alert_pb2, incident_pb2
from opsuite.healer.v1 import alert_service_pb2 as pb
from opsuite.healer.v1 import escalation_service_pb2 as escalation
from opsuite.healer.v1 import incident_service_pb2 as incident_service
from opsuite.healer.v1 import silence_service_pb2 as silence_service
from opsuite.healer.v1.alert_service_pb2_grpc import AlertServiceStub
from opsuite.healer.v1.escalation_service_pb2_grpc import EscalationServiceStub
from opsuite.healer.v1.incident_service_pb2_grpc import IncidentServiceStub
from opsuite.healer.v1.silence_service_pb2_grpc import SilenceServiceStub
from opsuite_healer.composition.alerts import Alerts, alerts
from opsuite_healer.composition.house import House, Part
from opsuite_healer.composition.incidents import incidents

if TYPE_CHECKING:  # these exist in the type stubs only
    from opsuite.healer.v1.alert_service_pb2_grpc import AlertServiceAsyncStub
    from opsuite.healer.v1.escalation_service_pb2_grpc import EscalationServiceAsyncStub
    from opsuite.healer.v1.incident_service_pb2_grpc import IncidentServiceAsyncStub
    from opsuite.healer.v1.silence_service_pb2_grpc import SilenceServiceAsyncStub

SOON: Mapping[str, Any] = {
    "receivers": ["duty"],
    "groupWait": "0s",
    "groupInterval": "0.2s",
    "repeatInterval": "3600s",
}
"""A route that tells at once, and looks again five times a second."""


def in_an_hour() -> str:
    """A time for an end that is far enough."""
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


@dataclass(frozen=True)
class AlertClient:
    """Those who call."""

    alerts: AlertServiceAsyncStub
    silences: SilenceServiceAsyncStub
    incidents: IncidentServiceAsyncStub
    escalation: EscalationServiceAsyncStub

    @classmethod
    def over(cls, channel: Any) -> AlertClient:
        """Stubs of every service."""
        return cls(
            AlertServiceStub(channel),
            SilenceServiceStub(channel),
            IncidentServiceStub(channel),
            EscalationServiceStub(channel),
        )

    async def push(self, *labels: Mapping[str, str], **fields: Any) -> pb.PushAlertsResponse:
        """Push alerts with these labels; other fields are those of each, in the JSON form of the contract."""
        form = {"alerts": [{"labels": dict(one), **fields} for one in labels]}
        return await self.alerts.PushAlerts(json_format.ParseDict(form, pb.PushAlertsRequest()))

    async def route(self, *routes: Mapping[str, Any], rules: Sequence[Any] = (), **root: Any) -> alert_pb2.Routing:
        """Use a routing, in the JSON form of the contract."""
        form = {"routing": {"root": {**SOON, **root, "routes": list(routes)}, "inhibitRules": list(rules)}}
        answer = await self.alerts.SetRouting(json_format.ParseDict(form, pb.SetRoutingRequest()))
        return answer.routing

    async def silence(self, label: str = "alertname", value: str = "Down", **fields: Any) -> alert_pb2.Silence:
        """Record a silence, in the JSON form of the contract."""
        form: dict[str, Any] = {
            "matchers": [{"label": label, "value": value}],
            "endTime": in_an_hour(),
            "comment": "we know",
        }
        request = json_format.ParseDict({"silence": form | fields}, silence_service.CreateSilenceRequest())
        return (await self.silences.CreateSilence(request)).silence

    async def listed(self, **fields: Any) -> list[alert_pb2.Alert]:
        """Alerts, in the JSON form of the request."""
        request = json_format.ParseDict(fields, pb.ListAlertsRequest())
        return list((await self.alerts.ListAlerts(request)).alerts)

    async def groups(self) -> list[alert_pb2.AlertGroup]:
        """Every group."""
        return list((await self.alerts.ListGroups(pb.ListGroupsRequest(page_size=200))).groups)

    async def all_incidents(self) -> list[incident_pb2.Incident]:
        """Every incident."""
        return list((await self.incidents.ListIncidents(incident_service.ListIncidentsRequest())).incidents)

    async def receiver(self, url: str) -> None:
        """Record the receiver "duty", which is a webhook."""
        form = {"receiver": {"name": "receivers/duty", "webhook": {"url": url}}}
        await self.escalation.CreateReceiver(json_format.ParseDict(form, escalation.CreateReceiverRequest()))


@dataclass(frozen=True)
class AlertStage:
    """The parts, and those who call them."""

    stage: Stage
    part: Alerts
    client: AlertClient
    receivers: Receivers
    token: str

    @property
    def url(self) -> str:
        """Where clients of Alertmanager come."""
        return f"http://{self.part.face.address}"

    async def told(self, count: int) -> Sequence[dict[str, Any]]:
        """What people were told, once that is so much."""
        return await self.receivers.until("webhook", count)

    async def http(self, method: str, path: str, body: object = None, **params: Any) -> tuple[int, Any]:
        """Status and body of an answer of the HTTP face, asked with the token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with (
            ClientSession() as session,
            session.request(method, self.url + path, json=body, params=params, headers=headers) as answer,
        ):
            return answer.status, await answer.json()


@asynccontextmanager
async def alert_stage(
    directory: Path, *, database_url: str = "sqlite", settings: Mapping[str, object] | None = None
) -> AsyncIterator[AlertStage]:
    """Serve both parts, with the receiver "duty"."""
    async with (
        alert_receivers() as receivers,
        another_stage(directory, receivers, database_url=database_url, settings=settings) as stage,
    ):
        await stage.client.receiver(f"{receivers.url}/webhook")
        yield stage


@asynccontextmanager
async def another_stage(
    directory: Path, receivers: Receivers, *, database_url: str, settings: Mapping[str, object] | None = None
) -> AsyncIterator[AlertStage]:
    """Serve both parts, on a database in which the receiver may be already."""
    built: list[Alerts] = []

    def build(house: House) -> Sequence[Part]:
        opened = incidents(house, lambda: built[0].quiet)
        built.append(alerts(house, opened))
        return [opened.part, built[0].part]

    wanted = {"poll_every": 0.3, **(settings or {})}
    async with healer_stage(directory, build, database_url=database_url, **wanted) as stage:
        client = AlertClient.over(stage.channel)
        yield AlertStage(stage, built[0], client, receivers, (directory / "token").read_text().strip())
