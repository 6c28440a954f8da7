"""For each RPC about remediation a table of bad inputs: what is refused, how that is told, and that nothing changed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from fakes.bad_healing_requests import ASKED, HEALING_TABLES, NOTHING_TO_REFUSE, OPEN, OVER, RESOLVED, USED
from fakes.bad_scaling_requests import Row
from fakes.healer_incident_stage import short_directory
from fakes.healer_remediation import World
from fakes.healer_remediation_stage import WEB, RemediationStage, policy_form, remediation_stage
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from opsuite.healer.v1 import healing_policy_pb2
from opsuite.healer.v1 import healing_service_pb2 as pb
from opsuite.healer.v1 import incident_service_pb2 as incident_pb
from opsuite_healer.domain.remediation.remediation import State
from opsuite_kernel.errors import InvalidInput, OpsuiteError

SERVICE: Final = pb.DESCRIPTOR.services_by_name["HealingService"]
NOT_STATE: Final = {"audit", "alembic_version"}
"""Refusals are audited: that is what this table is for."""
NOT_COMPARED: Final = {"lease_expires_at"}

Told = tuple[grpc.StatusCode, str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Filled:
    """A healer in which there is what the tables speak of."""

    served: RemediationStage
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
        async with remediation_stage(directory, World()) as served:
            yield Filled(served, directory, await _fill(served))


async def _fill(served: RemediationStage) -> Mapping[str, str]:
    """Make what there is; names that the server gave, by those that stand for them."""
    match = {"issues": ["UNHEALTHY"]}
    form = policy_form(mode="HEALING_MODE_SUGGEST", approval={"expiresAfter": "86400s"}, match=match)
    web = json_format.ParseDict(form, healing_policy_pb2.HealingPolicy())
    await served.healing.CreateHealingPolicy(pb.CreateHealingPolicyRequest(request_id=USED, policy=web))
    await served.policy(name="healingPolicies/watch", mode="HEALING_MODE_OBSERVE", match={"issues": ["CRASHED"]})
    opened = await served.trouble()
    asked = await served.until(State.AWAITING_APPROVAL)
    seen = await served.trouble(key="k2", issue="CRASHED", target={**WEB, "replica": "web-1"})
    over = await served.until(State.OBSERVED)
    await served.incidents.ResolveIncident(incident_pb.ResolveIncidentRequest(name=seen.name))
    return {ASKED: asked.name, OVER: over.name, OPEN: opened.name, RESOLVED: seen.name}


async def test_bad_input_is_refused_and_changes_nothing(filled: Filled) -> None:
    wrong: list[object] = []
    for method, rows in HEALING_TABLES.items():
        kind = SERVICE.methods_by_name[method].input_type
        for row in rows:
            before = dump(filled.directory)
            told = await _told(getattr(filled.served.healing, method), filled.request_of(row, kind))
            if told != (row.code, row.reason, row.fields):
                wrong.append((method, row.why, told, row.fields))
            after = dump(filled.directory)
            wrong += [(method, row.why, "has changed", table) for table in before if after[table] != before[table]]

    assert not wrong


def test_every_rpc_has_a_table() -> None:
    assert set(HEALING_TABLES) == {method.name for method in SERVICE.methods}
    assert {method for method, rows in HEALING_TABLES.items() if not rows} == NOTHING_TO_REFUSE


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
