"""For each RPC about checks a table of bad inputs: what is refused, how, and that nothing has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import sqlalchemy as sa
from fakes.bad_check_requests import CHECK_TABLES, NOTHING_TO_REFUSE, SHOP, USED
from fakes.healer_checks import CheckStage, check_stage
from google.protobuf import json_format, message_factory
from google.protobuf.message import Message

from opsuite.healer.v1 import health_check_service_pb2 as pb
from opsuite_healer.adapters.tables import metadata
from opsuite_kernel.errors import InvalidInput, OpsuiteError

SERVICE: Final = pb.DESCRIPTOR.services_by_name["HealthCheckService"]
NOT_STATE: Final = {"audit"}
"""Refusals are audited: that is what this table is for."""
NOT_COMPARED: Final = {"lease_expires_at", "owner", "epoch"}


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[CheckStage]:
    """With what the tables speak of."""
    async with check_stage(tmp_path) as checks:
        await checks.stub.CreateCheck(
            json_format.ParseDict({"requestId": USED, "check": SHOP}, pb.CreateCheckRequest())
        )
        yield checks


@pytest.mark.parametrize("method", CHECK_TABLES)
async def test_bad_input_is_refused_and_changes_nothing(filled: CheckStage, method: str) -> None:
    before = await _dump(filled)
    kind = message_factory.GetMessageClass(SERVICE.methods_by_name[method].input_type)
    for row in CHECK_TABLES[method]:
        told = await _told(getattr(filled.stub, method), json_format.ParseDict(dict(row.form), kind()))
        assert (row.why, *told) == (row.why, row.code, row.reason, row.fields)
    assert await _dump(filled) == before


def test_every_rpc_has_a_table() -> None:
    assert set(CHECK_TABLES) == {method.name for method in SERVICE.methods}
    assert all(rows or method in NOTHING_TO_REFUSE for method, rows in CHECK_TABLES.items())


async def _told(method: Any, request: Message) -> tuple[grpc.StatusCode, str, frozenset[str]]:
    """Code, reason and fields with which a request is refused."""
    call = method(request)
    try:
        async with asyncio.timeout(60):
            await (anext(aiter(call)) if hasattr(call, "__aiter__") else call)
    except OpsuiteError as error:
        cause: Any = error.__cause__
        fields = [violation.field for violation in error.violations] if isinstance(error, InvalidInput) else []
        return cause.code(), error.reason, frozenset(fields)
    return grpc.StatusCode.OK, "", frozenset()


async def _dump(checks: CheckStage) -> Mapping[str, object]:
    """All rows of every table."""

    def body(connection: sa.Connection) -> Mapping[str, object]:
        return {
            table.name: sorted(repr(tuple(row)) for row in connection.execute(sa.select(*_compared(table))))
            for table in metadata.tables.values()
            if table.name not in NOT_STATE
        }

    return await checks.stage.house.database.read(body)


def _compared(table: sa.Table) -> list[sa.Column[Any]]:
    return [column for column in table.c if column.name not in NOT_COMPARED]
