"""For each RPC about alerts and silences a table of bad inputs: what is refused, how, and that nothing has changed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import grpc
import pytest
import sqlalchemy as sa
from fakes.bad_alert_requests import ALERT_TABLES, NOTHING_TO_REFUSE, OVER, SILENCE, SILENCE_TABLES, SOON, USED
from fakes.bad_scaling_requests import Row
from fakes.healer_alert_stage import AlertStage, alert_stage, in_an_hour
from fakes.healer_incident_stage import short_directory
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.message import Message

from opsuite.healer.v1 import alert_service_pb2, silence_service_pb2
from opsuite_healer.adapters.tables import metadata
from opsuite_kernel.errors import InvalidInput, OpsuiteError

ALERTS: Final = alert_service_pb2.DESCRIPTOR.services_by_name["AlertService"]
SILENCES: Final = silence_service_pb2.DESCRIPTOR.services_by_name["SilenceService"]
SERVICES: Final[Mapping[str, tuple[ServiceDescriptor, Mapping[str, Sequence[Row]]]]] = {
    "alerts": (ALERTS, ALERT_TABLES),
    "silences": (SILENCES, SILENCE_TABLES),
}
NOT_STATE: Final = {"audit"}
"""Refusals are audited: that is what this table is for."""
NOT_COMPARED: Final = {"lease_expires_at"}


@pytest.fixture
async def filled() -> AsyncIterator[tuple[AlertStage, Mapping[str, str]]]:
    """With what the tables speak of, and what stands for it there."""
    with short_directory() as directory:
        async with alert_stage(directory) as stage:
            client = stage.client
            await client.route(groupWait="3600s")
            await client.push({"alertname": "Down"})
            opened = await client.silence()
            over = await client.silence("alertname", "Other")
            await client.silences.ExpireSilence(silence_service_pb2.ExpireSilenceRequest(name=over.name))
            again = silence_service_pb2.CreateSilenceRequest(request_id=USED, silence=opened)
            await client.silences.CreateSilence(again)
            while not await _is_quiet(stage):
                pass
            yield stage, {SILENCE: opened.name, OVER: over.name, SOON: in_an_hour()}


async def _is_quiet(stage: AlertStage) -> bool:
    """Whether nothing is left to look at."""
    waiting = sa.text("SELECT COUNT(*) FROM silences WHERE ends_at <= updated_at AND NOT is_end_told")
    count: int = await stage.stage.house.database.read(lambda connection: connection.execute(waiting).scalar_one())
    return not count


@pytest.mark.parametrize("service", SERVICES)
async def test_bad_input_is_refused_and_changes_nothing(
    filled: tuple[AlertStage, Mapping[str, str]], service: str
) -> None:
    stage, names = filled
    descriptor, tables = SERVICES[service]
    stub = getattr(stage.client, service)
    before = await _dump(stage)

    for method, rows in tables.items():
        kind = descriptor.methods_by_name[method].input_type
        for row in rows:
            told = await _told(getattr(stub, method), _request_of(row, kind, names))
            assert (method, row.why, told) == (method, row.why, (row.code, row.reason, row.fields))
            assert (method, row.why, await _dump(stage)) == (method, row.why, before)


@pytest.mark.parametrize("service", SERVICES)
def test_every_rpc_has_a_table(service: str) -> None:
    descriptor, tables = SERVICES[service]

    assert set(tables) == {method.name for method in descriptor.methods}
    assert all(rows or method in NOTHING_TO_REFUSE for method, rows in tables.items())


def _request_of(row: Row, kind: Descriptor, names: Mapping[str, str]) -> Message:
    text = json.dumps(row.form)
    for stands_in, name in names.items():
        text = text.replace(stands_in, name)
    request = json_format.Parse(text, message_factory.GetMessageClass(kind)())
    if row.beyond:
        found: Any = request
        for part in row.beyond.split("."):
            found = found[int(part)] if part.isdigit() else getattr(found, part)
        found.seconds = 10**15
    return request


async def _told(call: Any, request: Message) -> tuple[grpc.StatusCode, str, frozenset[str]]:
    """Code, reason and fields with which a request is refused."""
    try:
        await call(request)
    except OpsuiteError as error:
        cause: Any = error.__cause__
        fields = [violation.field for violation in error.violations] if isinstance(error, InvalidInput) else []
        return cause.code(), error.reason, frozenset(fields)
    return grpc.StatusCode.OK, "", frozenset()


async def _dump(stage: AlertStage) -> Mapping[str, object]:
    """All rows of every table."""

    def body(connection: sa.Connection) -> Mapping[str, object]:
        return {
            table.name: sorted(repr(tuple(row)) for row in connection.execute(sa.select(*_compared(table))))
            for table in metadata.tables.values()
            if table.name not in NOT_STATE
        }

    return await stage.stage.house.database.read(body)


def _compared(table: sa.Table) -> list[sa.Column[Any]]:
    return [column for column in table.c if column.name not in NOT_COMPARED]
