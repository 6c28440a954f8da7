"""For each RPC about incidents and escalation a table of bad inputs: what is refused, how, and that nothing changed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from fakes.bad_incident_requests import ESCALATION_TABLES, HOOK, INCIDENT_TABLES, OPEN, RESOLVED, SOON, USED
from fakes.bad_scaling_requests import Row
from fakes.healer_incident_stage import IncidentStage, incident_stage, short_directory
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from opsuite.healer.v1 import escalation_service_pb2
from opsuite.healer.v1 import incident_service_pb2 as pb
from opsuite_kernel.errors import InvalidInput, OpsuiteError

INCIDENTS: Final = pb.DESCRIPTOR.services_by_name["IncidentService"]
ESCALATION: Final = escalation_service_pb2.DESCRIPTOR.services_by_name["EscalationService"]
SERVICES: Final = {"incidents": (INCIDENTS, INCIDENT_TABLES), "escalation": (ESCALATION, ESCALATION_TABLES)}
NOT_STATE: Final = {"audit", "alembic_version"}
"""Refusals are audited: that is what this table is for."""
NOT_COMPARED: Final = {"owner", "epoch", "lease_expires_at"}
"""Who looks after an incident: that somebody does has nothing to do with the requests."""

Told = tuple[grpc.StatusCode, str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Filled:
    """A healer in which there is what the tables speak of."""

    served: IncidentStage
    directory: Path
    names: Mapping[str, str]

    def request_of(self, row: Row, kind: Descriptor) -> Message:
        """The request of a row."""
        text = json.dumps(row.form)
        for stands_in, name in self.names.items():
            text = text.replace(stands_in, name)
        request = json_format.Parse(text, message_factory.GetMessageClass(kind)())
        if row.beyond:
            time: Any = reduce(getattr, row.beyond.split("."), request)
            time.seconds = 10**15
        return request


@pytest.fixture
async def filled() -> AsyncIterator[Filled]:
    with short_directory() as directory:
        async with incident_stage(directory) as served:
            await served.receiver("hook", webhook=HOOK)
            await served.policy(["hook"], beginAfter="86400s")
            resolved = await served.trigger(key="k2")
            await served.incidents.ResolveIncident(pb.ResolveIncidentRequest(name=resolved.name))
            opened = await served.trigger(requestId=USED)
            await served.trigger(key="k2")
            soon = Timestamp()
            soon.FromDatetime(datetime.now(UTC) + timedelta(days=1))
            yield Filled(served, directory, {OPEN: opened.name, RESOLVED: resolved.name, SOON: soon.ToJsonString()})


@pytest.mark.parametrize("service", SERVICES)
async def test_bad_input_is_refused_and_changes_nothing(filled: Filled, service: str) -> None:
    descriptor, tables = SERVICES[service]
    stub = getattr(filled.served, service)

    for method, rows in tables.items():
        kind = descriptor.methods_by_name[method].input_type
        for row in rows:
            before = dump(filled.directory)
            told = await _told(getattr(stub, method), filled.request_of(row, kind))
            assert (method, row.why, told) == (method, row.why, (row.code, row.reason, row.fields))
            assert (method, row.why, dump(filled.directory)) == (method, row.why, before)


@pytest.mark.parametrize("service", SERVICES)
def test_every_rpc_has_a_table(service: str) -> None:
    descriptor: ServiceDescriptor
    tables: Mapping[str, Sequence[Row]]
    descriptor, tables = SERVICES[service]

    assert set(tables) == {method.name for method in descriptor.methods}
    assert all(tables.values())


async def _told(call: Any, request: Message) -> Told:
    """Code, reason and fields with which a request is refused."""
    try:
        answer = call(request)
        await (anext(aiter(answer)) if hasattr(answer, "__aiter__") else answer)
    except OpsuiteError as error:
        cause: Any = error.__cause__
        fields = [violation.field for violation in error.violations] if isinstance(error, InvalidInput) else []
        return cause.code(), error.reason, frozenset(fields)
    return grpc.StatusCode.OK, "", frozenset()


def dump(directory: Path) -> dict[str, str]:
    """A hash of every table."""
    with closing(sqlite3.connect(f"file:{directory}/healer.db?mode=ro", uri=True)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: _summary(connection, name) for (name,) in names if name not in NOT_STATE}


def _summary(connection: sqlite3.Connection, table: str) -> str:
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] not in NOT_COMPARED]
    chosen = ", ".join(f'"{column}"' for column in columns)
    rows = connection.execute(f"SELECT {chosen} FROM {table} ORDER BY 1, 2").fetchall()
    return hashlib.sha256(repr(rows).encode()).hexdigest()
