"""For each RPC a table of bad inputs: what is refused, how that is told, and that nothing has changed by it."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import grpc
import pytest
from deployer import Client, DeployerProcess, deploy, ended, register
from fakes.bad_requests import DEPLOYMENT_TABLES, ENVIRONMENT_TABLES, HISTORY_TABLES, PIPELINE_TABLES, World
from fakes.pipelines import (
    a_pipeline,
    a_stage,
    a_wait,
    false,
)
from google.protobuf.message import Message

from opsuite.deployer.v1 import (
    deployment_pb2,
    deployment_service_pb2,
    environment_service_pb2,
    history_service_pb2,
    pipeline_service_pb2,
)
from opsuite.deployer.v1.deployment_service_pb2 import (
    WatchDeploymentRequest,
)
from opsuite.deployer.v1.pipeline_service_pb2 import (
    DeletePipelineRequest,
)
from opsuite_kernel.errors import InvalidInput, OpsuiteError

SERVICES: Final = {
    "pipelines": (pipeline_service_pb2.DESCRIPTOR.services_by_name["PipelineService"], PIPELINE_TABLES),
    "deployments": (deployment_service_pb2.DESCRIPTOR.services_by_name["DeploymentService"], DEPLOYMENT_TABLES),
    "environments": (environment_service_pb2.DESCRIPTOR.services_by_name["EnvironmentService"], ENVIRONMENT_TABLES),
    "history": (history_service_pb2.DESCRIPTOR.services_by_name["HistoryService"], HISTORY_TABLES),
}
METHODS: Final = [(stub, method) for stub, (_, tables) in SERVICES.items() for method in tables]


@pytest.fixture(scope="module")
def world(deployer: DeployerProcess) -> World:
    """Deployments in every state that the tables need."""
    return asyncio.run(_make_world(deployer))


async def _make_world(deployer: DeployerProcess) -> World:
    async with deployer.client() as client:
        both, colour = ["staging", "production"], {"colour": "red"}
        await register(client, a_pipeline("ordered", environments=both, promoteInOrder=True))
        for name in ("hidden", "idle"):
            await register(client, a_pipeline(name))
        await client.pipelines.DeletePipeline(DeletePipelineRequest(name="pipelines/hidden"))
        await register(client, a_pipeline("strict", a_stage("work", a_wait()), concurrency="CONCURRENCY_POLICY_REJECT"))
        await register(client, a_pipeline("shelf", environments=both, variables=colour))
        first, second, third = [(await _ended(client, version)).name for version in ("1", "1", "2")]
        elsewhere = (await ended(client, (await deploy(client, "shelf", "1", "production")).name)).name
        await register(client, a_pipeline("shelf", a_stage("work", false()), environments=both, rollbackEnabled=False))
        failed = (await _ended(client, "3")).name
        await register(client, a_pipeline("shelf", a_stage("work", a_wait()), environments=both, variables=colour))
        running, queued = [(await deploy(client, "shelf", version)).name for version in ("4", "5")]
        strict = (await deploy(client, "strict")).name
        for name in (running, strict):
            await _runs(client, name)
        return World(first, second, third, failed, running, queued, strict, elsewhere)


async def _ended(client: Client, version: str) -> deployment_pb2.Deployment:
    return await ended(client, (await deploy(client, "shelf", version)).name)


async def _runs(client: Client, name: str) -> None:
    async for answer in client.deployments.WatchDeployment(WatchDeploymentRequest(name=name)):
        statuses = [answer.snapshot.status, *(event.status for event in answer.events)]
        if deployment_pb2.DEPLOYMENT_STATUS_RUNNING in statuses:
            return


@pytest.mark.parametrize(("stub", "method"), METHODS)
async def test_bad_input_is_refused_and_changes_nothing(
    deployer: DeployerProcess, world: World, stub: str, method: str
) -> None:
    wrong: list[object] = []
    async with deployer.client() as client:
        call = getattr(getattr(client, stub), method)
        for row in SERVICES[stub][1][method]:
            before = dump(deployer)
            told = await _told(call, row.request(world))
            if told != (row.code, row.reason, row.fields):
                wrong.append((row.why, told, (row.code, row.reason, row.fields)))
            if dump(deployer) != before:
                wrong.append((row.why, "something has changed"))
    assert not wrong


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


def test_every_rpc_has_a_table() -> None:
    for descriptor, tables in SERVICES.values():
        assert set(tables) == {method.name for method in descriptor.methods}
        assert all(tables.values())


NOT_STATE: Final = {"audit", "spans", "alembic_version"}
"""Refusals are audited and traced: that is what these tables are for."""
NOT_COMPARED: Final = {"lease_expires_at"}
"""Leases are renewed all the time."""


def dump(deployer: DeployerProcess) -> dict[str, tuple[int, str]]:
    """Number of rows and a hash of every table."""
    path = f"file:{deployer.data_dir}/deployer.db?mode=ro"
    with closing(sqlite3.connect(path, uri=True)) as connection:
        return {table: _summary(connection, table) for table in _tables(connection) if table not in NOT_STATE}


def _tables(connection: sqlite3.Connection) -> Iterator[str]:
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
        yield name


def _summary(connection: sqlite3.Connection, table: str) -> tuple[int, str]:
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] not in NOT_COMPARED]
    rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1, 2").fetchall()
    return len(rows), hashlib.sha256(repr(rows).encode()).hexdigest()
