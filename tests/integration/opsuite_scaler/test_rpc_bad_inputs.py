"""For each RPC of the scaler a table of bad inputs: what is refused, how that is told, and that nothing has changed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
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
from fakes.bad_simulation_requests import (
    CANCELLED,
    FORECAST_TABLES,
    SIMULATION_TABLES,
    SUCCEEDED,
    USED,
    backtest,
)
from fakes.bad_traces import trace
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.message import Message
from scaler import Client, ScalerProcess, a_policy, create

from opsuite.scaler.v1 import (
    forecast_service_pb2,
    metrics_service_pb2,
    pool_service_pb2,
    scaler_service_pb2,
    simulation_service_pb2,
    target_service_pb2,
)
from opsuite.scaler.v1.forecast_service_pb2_grpc import ForecastServiceStub
from opsuite.scaler.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opsuite.scaler.v1.pool_service_pb2_grpc import CapacityPoolServiceStub
from opsuite.scaler.v1.scaler_service_pb2_grpc import ScalerServiceStub
from opsuite.scaler.v1.simulation_service_pb2_grpc import SimulationServiceStub
from opsuite.scaler.v1.target_service_pb2_grpc import ScalableTargetServiceStub
from opsuite_kernel.errors import InvalidInput, OpsuiteError
from opsuite_rpc.channel import Target, connect

Tables = Mapping[str, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Served:
    """A service, how it is called, and what it refuses."""

    descriptor: ServiceDescriptor
    stub: Callable[[Any], Any]
    tables: Tables


SERVICES: Final = {
    "scaler": Served(scaler_service_pb2.DESCRIPTOR.services_by_name["ScalerService"], ScalerServiceStub, SCALER_TABLES),
    "targets": Served(
        target_service_pb2.DESCRIPTOR.services_by_name["ScalableTargetService"],
        ScalableTargetServiceStub,
        TARGET_TABLES,
    ),
    "metrics": Served(
        metrics_service_pb2.DESCRIPTOR.services_by_name["MetricsService"], MetricsServiceStub, METRICS_TABLES
    ),
    "pools": Served(
        pool_service_pb2.DESCRIPTOR.services_by_name["CapacityPoolService"], CapacityPoolServiceStub, POOL_TABLES
    ),
    "forecasts": Served(
        forecast_service_pb2.DESCRIPTOR.services_by_name["ForecastService"], ForecastServiceStub, FORECAST_TABLES
    ),
    "simulations": Served(
        simulation_service_pb2.DESCRIPTOR.services_by_name["SimulationService"],
        SimulationServiceStub,
        SIMULATION_TABLES,
    ),
}
METHODS: Final = [(name, method) for name, served in SERVICES.items() for method in served.tables]
NOT_STATE: Final = {"audit", "alembic_version"}
"""Refusals are audited: that is what this table is for."""
NOT_COMPARED: Final = {"lease_expires_at", "looked_at", "readings", "state"}
"""What the loop writes all the time."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A scaler in which there is what the tables speak of."""

    scaler: ScalerProcess
    names: Mapping[str, str]
    """Names that the server gave, by those that stand for them in the tables."""

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


@pytest.fixture(scope="module")
def filled(scaler: ScalerProcess) -> Filled:
    """With policies that are never looked at, a pool, a trace and backtests."""
    asyncio.run(_fill(scaler))
    return Filled(scaler, asyncio.run(_play(scaler)))


async def _fill(scaler: ScalerProcess) -> None:
    async with scaler.client() as client:
        pool = pool_service_pb2.CapacityPool(name="capacityPools/gpu", capacity=5)
        await client.pools.CreateCapacityPool(pool_service_pb2.CreateCapacityPoolRequest(pool=pool))
        rarely = {"tick": "3600s"}
        await create(client, a_policy("shop", pool="capacityPools/gpu", timing=rarely))
        await create(client, a_policy("tide", forecast={"mode": "FORECAST_MODE_RAISE_FLOOR"}, timing=rarely))
        for name in ("shop", "tide"):
            await _first_look(client, name)


async def _first_look(client: Client, name: str) -> None:
    """Return after it: it finds no workload, and after it nothing happens for an hour."""
    request = scaler_service_pb2.WatchScalingStatusRequest(name=f"scalingPolicies/{name}")
    async for answer in client.scaler.WatchScalingStatus(request):
        seen = [*(status.error for status in answer.snapshot.statuses), *(event.message for event in answer.events)]
        if any(seen):
            return


async def _play(scaler: ScalerProcess) -> Mapping[str, str]:
    """Keep a trace and play two backtests, of which one is cancelled; their names."""
    keep = {"requestId": USED, "name": "traces/kept", "trace": trace()}
    long = backtest(trace={"generator": {"name": "step", "duration": "31536000s"}})
    async with connect(Target(scaler.address, scaler.token)) as connection:
        stub: Any = SimulationServiceStub(connection.channel)
        await stub.ImportTrace(json_format.ParseDict(keep, simulation_service_pb2.ImportTraceRequest()))
        succeeded = [answer async for answer in stub.RunBacktest(_run(backtest()))][-1]
        begun = await anext(aiter(stub.RunBacktest(_run(long))))
        cancelled = await stub.CancelBacktest(simulation_service_pb2.CancelBacktestRequest(name=begun.name))
    assert succeeded.backtest.state == simulation_service_pb2.BACKTEST_STATE_SUCCEEDED
    assert cancelled.backtest.state == simulation_service_pb2.BACKTEST_STATE_CANCELLED
    return {SUCCEEDED: succeeded.name, CANCELLED: begun.name}


def _run(form: Mapping[str, Any]) -> simulation_service_pb2.RunBacktestRequest:
    return json_format.ParseDict(dict(form), simulation_service_pb2.RunBacktestRequest())


@pytest.mark.parametrize(("service", "method"), METHODS)
async def test_bad_input_is_refused_and_changes_nothing(filled: Filled, service: str, method: str) -> None:
    served = SERVICES[service]
    assert not await _wrong(filled, served, method, served.tables[method])


async def _wrong(filled: Filled, served: Served, method: str, rows: Sequence[Row]) -> list[object]:
    """What is not answered as its row says, or changes something."""
    kind = served.descriptor.methods_by_name[method].input_type
    wrong: list[object] = []
    async with connect(Target(filled.scaler.address, filled.scaler.token)) as connection:
        call = getattr(served.stub(connection.channel), method)
        for row in rows:
            before = dump(filled.scaler)
            told = await _told(call, filled.request_of(row, kind))
            if told != _expected(row):
                wrong.append((row.why, told, _expected(row)))
            after = dump(filled.scaler)
            wrong += [(row.why, "has changed", table) for table in before if after[table] != before[table]]
    return wrong


def test_every_rpc_has_a_table() -> None:
    for served in SERVICES.values():
        assert set(served.tables) == {method.name for method in served.descriptor.methods}
        assert all(rows or method in NOTHING_TO_REFUSE for method, rows in served.tables.items())


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
