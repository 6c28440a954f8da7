"""For each RPC about runbooks a table of bad inputs: what is refused, how, and that nothing changed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio
from fakes.bad_runbook_requests import FIX, OVER, RUNBOOKS, TABLES, USED, WAITING
from fakes.bad_scaling_requests import Row
from fakes.healer_runbooks import RunbookStage, runbook_stage, stand
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from opsuite.healer.v1 import runbook_service_pb2 as pb
from opsuite_kernel.errors import InvalidInput, OpsuiteError

SERVICE: Final = pb.DESCRIPTOR.services_by_name["RunbookService"]
NOT_STATE: Final = {"audit", "alembic_version"}
"""Refusals are audited: that is what this table is for."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A healer in which there is what the tables speak of."""

    stage: RunbookStage
    directory: Path
    names: Mapping[str, str]

    def request_of(self, row: Row, kind: Descriptor) -> Message:
        """The request of a row."""
        text = json.dumps(row.form)
        for stands_in, name in self.names.items():
            text = text.replace(stands_in, name)
        return json_format.Parse(text, message_factory.GetMessageClass(kind)())


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled() -> AsyncIterator[Filled]:
    with tempfile.TemporaryDirectory(prefix="opsuite-") as directory:
        async with runbook_stage(Path(directory)) as stage:
            form = {"requestId": USED, "runbook": FIX}
            await stage.server.CreateRunbook(json_format.ParseDict(form, pb.CreateRunbookRequest()))
            over, waiting = [await stage.execute("fix", params={"path": "/var"}) for _ in range(2)]
            await stage.until(over, "WAITING")
            await stage.server.RespondInquiry(pb.RespondInquiryRequest(name=over, step="ask"))
            assert stand(await stage.ended(over)) == "FAILED"
            await stage.until(waiting, "WAITING")
            ids = [name.rpartition("/")[2] for name in (over, waiting)]
            yield Filled(stage, Path(directory), dict(zip((OVER, WAITING), ids, strict=True)))


async def test_bad_input_is_refused_and_changes_nothing(filled: Filled) -> None:
    for method, rows in TABLES.items():
        kind = SERVICE.methods_by_name[method].input_type
        for row in rows:
            before = dump(filled.directory)
            told = await _told(getattr(filled.stage.server, method), filled.request_of(row, kind))
            assert (method, row.why, told) == (method, row.why, (row.code, row.reason, row.fields))
            assert (method, row.why, dump(filled.directory)) == (method, row.why, before)


async def test_what_is_wrong_with_a_runbook_is_told_without_an_error(filled: Filled) -> None:
    for why, form, fields in RUNBOOKS:
        request = json_format.ParseDict({"runbook": form}, pb.ValidateRunbookRequest())
        answer: pb.ValidateRunbookResponse = await filled.stage.server.ValidateRunbook(request)
        told = {violation.field for violation in answer.violations}
        assert (why, answer.valid, set(fields) <= told) == (why, False, True), told


async def test_a_runbook_as_yaml_is_the_same_as_its_message(filled: Filled) -> None:
    yaml = """
        name: runbooks/fix
        steps:
          - name: look
            action: {kind: STAGE, params: {name: 3, force: yes}}
            retry: {attempts: 2, delay: 5s}
            on_failure: ON_FAILURE_CONTINUE
    """
    answer: pb.ValidateRunbookResponse = await filled.stage.server.ValidateRunbook(pb.ValidateRunbookRequest(yaml=yaml))
    again: pb.ValidateRunbookResponse = await filled.stage.server.ValidateRunbook(
        pb.ValidateRunbookRequest(runbook=answer.runbook)
    )

    assert answer.valid
    assert answer.runbook == again.runbook
    assert dict(answer.runbook.steps[0].action.params) == {"name": "3", "force": "true"}
    assert answer.runbook.steps[0].retry.delay.seconds == 5


async def test_runbooks_are_listed_by_issue_and_executions_by_what_they_are(filled: Filled) -> None:
    server = filled.stage.server
    await filled.stage.create({"name": "ask", "inquiry": {"question": "?"}}, name="alone")
    found = await server.ListRunbooks(pb.ListRunbooksRequest(issue="DISK_FULL"))
    first = await server.ListRunbooks(pb.ListRunbooksRequest(page_size=1))
    second = await server.ListRunbooks(pb.ListRunbooksRequest(page_size=1, page_token=first.next_page_token))
    active = await server.ListExecutions(pb.ListExecutionsRequest(parent="runbooks/-", active_only=True))
    every = await server.ListExecutions(pb.ListExecutionsRequest(parent="runbooks/fix"))
    none = await server.ListExecutions(pb.ListExecutionsRequest(parent="runbooks/alone"))
    await server.DeleteRunbook(pb.DeleteRunbookRequest(name="runbooks/alone"))

    assert [one.name for one in found.runbooks] == ["runbooks/fix"]
    assert [one.name for page in (first, second) for one in page.runbooks] == ["runbooks/alone", "runbooks/fix"]
    assert [one.name.rpartition("/")[2] for one in active.executions] == [filled.names[WAITING]]
    assert len(every.executions) == 2
    assert not none.executions


async def test_every_rpc_has_a_table() -> None:
    assert set(TABLES) == {method.name for method in SERVICE.methods}
    assert all(TABLES.values())


async def _told(call: Any, request: Message) -> tuple[grpc.StatusCode, str, frozenset[str]]:
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
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "lease_expires_at"]
    chosen = ", ".join(f'"{column}"' for column in columns)
    rows = connection.execute(f"SELECT {chosen} FROM {table} ORDER BY 1, 2").fetchall()
    return hashlib.sha256(repr(rows).encode()).hexdigest()
