"""For each RPC of the scaler a table of bad inputs: what is refused, how that is told, and that nothing has changed."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import grpc
import pytest
from fakes.bad_scaling_requests import (
    METRICS_TABLES,
    NOTHING_TO_REFUSE,
    POOL_TABLES,
    SCALER_TABLES,
    TARGET_TABLES,
    Row,
)
from google.protobuf import json_format, message_factory
from google.protobuf.message import Message
from scaler import ScalerProcess, a_policy, create

from opsuite.scaler.v1 import metrics_service_pb2, pool_service_pb2, scaler_service_pb2, target_service_pb2
from opsuite_kernel.errors import InvalidInput, OpsuiteError

SERVICES: Final = {
    "scaler": (scaler_service_pb2.DESCRIPTOR.services_by_name["ScalerService"], SCALER_TABLES),
    "targets": (target_service_pb2.DESCRIPTOR.services_by_name["ScalableTargetService"], TARGET_TABLES),
    "metrics": (metrics_service_pb2.DESCRIPTOR.services_by_name["MetricsService"], METRICS_TABLES),
    "pools": (pool_service_pb2.DESCRIPTOR.services_by_name["CapacityPoolService"], POOL_TABLES),
}
METHODS: Final = [(stub, method) for stub, (_, tables) in SERVICES.items() for method in tables]
NOT_STATE: Final = {"audit", "alembic_version"}
"""Refusals are audited: that is what this table is for."""
NOT_COMPARED: Final = {"lease_expires_at", "looked_at", "readings", "state"}
"""What the loop writes all the time."""


@pytest.fixture(scope="module")
def filled(scaler: ScalerProcess) -> ScalerProcess:
    """With a policy that is never looked at, in a pool."""
    asyncio.run(_fill(scaler))
    return scaler


async def _fill(scaler: ScalerProcess) -> None:
    async with scaler.client() as client:
        pool = pool_service_pb2.CapacityPool(name="capacityPools/gpu", capacity=5)
        await client.pools.CreateCapacityPool(pool_service_pb2.CreateCapacityPoolRequest(pool=pool))
        await create(client, a_policy("shop", pool="capacityPools/gpu", timing={"tick": "3600s"}))
        # The first look finds no workload; after it nothing happens for an hour.
        request = scaler_service_pb2.WatchScalingStatusRequest(name="scalingPolicies/shop")
        async for answer in client.scaler.WatchScalingStatus(request):
            seen = [*(status.error for status in answer.snapshot.statuses), *(event.message for event in answer.events)]
            if any(seen):
                return


@pytest.mark.parametrize(("stub", "method"), METHODS)
async def test_bad_input_is_refused_and_changes_nothing(filled: ScalerProcess, stub: str, method: str) -> None:
    descriptor, tables = SERVICES[stub]
    request_type = message_factory.GetMessageClass(descriptor.methods_by_name[method].input_type)
    wrong: list[object] = []
    async with filled.client() as client:
        call = getattr(getattr(client, stub), method)
        for row in tables[method]:
            before = dump(filled)
            told = await _told(call, json_format.ParseDict(dict(row.form), request_type()))
            if told != _expected(row):
                wrong.append((row.why, told, _expected(row)))
            if dump(filled) != before:
                wrong.append((row.why, "something has changed"))
    assert not wrong


def test_every_rpc_has_a_table() -> None:
    for descriptor, tables in SERVICES.values():
        assert set(tables) == {method.name for method in descriptor.methods}
        assert all(rows or method in NOTHING_TO_REFUSE for method, rows in tables.items())


def _expected(row: Row) -> tuple[grpc.StatusCode, str, frozenset[str]]:
    return row.code, row.reason, row.fields


async def _told(call: Any, request: Message) -> tuple[grpc.StatusCode, str, frozenset[str]]:
    """Code, reason and fields with which a request is refused; what an answer says is wrong."""
    try:
        answer = await _answer_of(call, request)
    except OpsuiteError as refused:
        error = refused
    else:
        found = [violation.field for violation in getattr(answer, "violations", ())]
        return grpc.StatusCode.OK, "", frozenset(found)
    assert isinstance(error.__cause__, grpc.aio.AioRpcError)
    fields = [violation.field for violation in error.violations] if isinstance(error, InvalidInput) else []
    return error.__cause__.code(), error.reason, frozenset(fields)


async def _answer_of(method: Any, request: Message) -> Any:
    """Its first answer."""
    call = method(request)
    if hasattr(call, "__aiter__"):
        return await anext(aiter(call))
    return await call


def dump(scaler: ScalerProcess) -> dict[str, tuple[int, str]]:
    """Number of rows and a hash of every table."""
    path = f"file:{scaler.data_dir}/scaler.db?mode=ro"
    with closing(sqlite3.connect(path, uri=True)) as connection:
        return {table: _summary(connection, table) for table in _tables(connection) if table not in NOT_STATE}


def _tables(connection: sqlite3.Connection) -> Iterator[str]:
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
        yield name


def _summary(connection: sqlite3.Connection, table: str) -> tuple[int, str]:
    columns = [f'"{row[1]}"' for row in connection.execute(f"PRAGMA table_info({table})") if row[1] not in NOT_COMPARED]
    rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1, 2").fetchall()
    return len(rows), hashlib.sha256(repr(rows).encode()).hexdigest()
