"""Healers that are killed while they check, and healers beside one another: trouble is told once, by one of them."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fakes.healer_check_process import CheckProcess, all_told, kept_stage
from fakes.healer_checks import HEALTHY, UNHEALTHY, a_check, a_closed_port, check_stage
from fakes.healer_stage import Stage
from google.protobuf import json_format

from opsuite.healer.v1 import check_pb2
from opsuite.healer.v1 import health_check_service_pb2 as pb
from opsuite.healer.v1.health_check_service_pb2_grpc import HealthCheckServiceStub
from opsuite_healer.adapters.checks import tables
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import TimedOut, Unavailable

AGAIN_SECONDS = 0.05
PATIENCE_SECONDS = 120.0
NAME = "healthChecks/shop"
SAMPLED = [
    "healer.checks.asked:2",  # it has an answer, nothing of it is written
    "healer.written:1",  # the check itself is not committed
    "healer.written:3",  # trouble is told, and not committed
    "healer.committed:3",  # it is committed, nobody has heard of it
]
LONG = [
    "healer.checks.asked:1",
    "healer.checks.asked:5",
    "healer.written:2",
    "healer.committed:1",
    "healer.committed:2",
]


@pytest.mark.parametrize("fault", [*SAMPLED, *(pytest.param(one, marks=pytest.mark.long) for one in LONG)])
async def test_a_healer_that_dies_in_a_look_tells_trouble_once(tmp_path: Path, fault: str) -> None:
    form = a_check("shop", tcp={"address": f"127.0.0.1:{a_closed_port()}"}, failureThreshold=2)
    request = pb.CreateCheckRequest(request_id=str(uuid.uuid4()), check=json_format.ParseDict(form, check_pb2.Check()))
    healer = CheckProcess(tmp_path)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await healer.start(OPSUITE_FAULT=fault)
            await _insist(healer, request)
            await healer.wait_until_killed()
            await healer.start()
            await _insist(healer, request)
            await _until_unhealthy(healer)
    finally:
        await healer.kill()

    assert _told(tmp_path) == [("UNHEALTHY", "-/shop", 0)]
    kinds = _events(tmp_path)
    assert [kind for _, kind in kinds] == [
        check_pb2.CHECK_EVENT_KIND_CREATED,
        check_pb2.CHECK_EVENT_KIND_OUTCOME_CHANGED,
    ]
    assert [revision for revision, _ in kinds] == [1, 2]


async def test_two_healers_share_the_checks_and_tell_each_trouble_once(tmp_path: Path, postgres_url: str) -> None:
    settings = {"poll_every": "PT0.2S"}
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        kept_stage(tmp_path / "a", postgres_url, settings) as one,
        kept_stage(tmp_path / "b", postgres_url, settings) as two,
    ):
        port = a_closed_port()
        names = [f"shop-{number}" for number in range(20)]
        for number, name in enumerate(names):
            stub: Any = HealthCheckServiceStub((one if number % 2 else two).channel)
            form = a_check(name, tcp={"address": f"127.0.0.1:{port}"}, failureThreshold=2)
            await stub.CreateCheck(pb.CreateCheckRequest(check=json_format.ParseDict(form, check_pb2.Check())))
        await _until_all_are_told(one, names)
        epochs = await one.house.database.read(
            lambda connection: connection.execute(sa.select(tables.checks.c.epoch, tables.checks.c.created_at)).all()
        )
        told = await all_told(one.house.database)

    assert sorted(told) == sorted(("UNHEALTHY", f"-/{name}", False) for name in names)
    assert [epoch - int(created.timestamp() * 1000) for epoch, created in epochs] == [1] * len(names)


async def test_a_check_goes_on_at_the_other_healer_when_one_is_killed(tmp_path: Path, postgres_url: str) -> None:
    settings = {"poll_every": "PT0.2S", "lease": "PT2S"}
    killed = CheckProcess(tmp_path / "a", postgres_url, **settings)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await killed.start()
            server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            form = a_check("shop", tcp={"address": f"127.0.0.1:{port}"})
            async with server, killed.stub() as stub:
                await stub.CreateCheck(pb.CreateCheckRequest(check=json_format.ParseDict(form, check_pb2.Check())))
                await _first_answer(stub)
            async with kept_stage(tmp_path / "b", postgres_url, settings) as healer:
                await killed.kill()
                other: Any = HealthCheckServiceStub(healer.channel)
                async for answer in other.WatchHealth(pb.WatchHealthRequest(name=NAME)):
                    if _is_down(answer):
                        break
                told = await all_told(healer.house.database)
    finally:
        await killed.kill()

    assert told == [("UNHEALTHY", "-/shop", False)]


async def _insist(healer: CheckProcess, request: pb.CreateCheckRequest) -> None:
    """Until it is recorded, or nobody is left to record it."""
    while not healer.is_gone:
        try:
            async with healer.stub() as stub:
                await stub.CreateCheck(request)
                return
        except (Unavailable, TimedOut, OSError):
            await asyncio.sleep(AGAIN_SECONDS)


async def _until_unhealthy(healer: CheckProcess) -> None:
    async with healer.stub() as stub:
        async for answer in stub.WatchHealth(pb.WatchHealthRequest(name=NAME)):
            if _is_down(answer):
                return


async def _until_all_are_told(stage: Stage, names: Sequence[str]) -> None:
    """Every check is unhealthy, as the stream of all tells."""
    stub: Any = HealthCheckServiceStub(stage.channel)
    waiting = {f"healthChecks/{name}" for name in names}
    async for answer in stub.WatchHealth(pb.WatchHealthRequest(name="healthChecks/-")):
        waiting -= {status.name for status in answer.snapshot.statuses if status.outcome == UNHEALTHY}
        waiting -= {event.name for event in answer.events if event.subject.outcome == UNHEALTHY}
        if not waiting:
            return


async def _first_answer(stub: Any) -> None:
    """Its verdict, as the stream tells it."""
    async for answer in stub.WatchHealth(pb.WatchHealthRequest(name=NAME)):
        if any(status.subjects for status in answer.snapshot.statuses) or any(
            event.HasField("subject") for event in answer.events
        ):
            return


def _is_down(answer: pb.WatchHealthResponse) -> bool:
    shown = [one for status in answer.snapshot.statuses for one in status.subjects]
    return any(one.outcome == UNHEALTHY for one in [*shown, *(event.subject for event in answer.events)])


def _told(directory: Path) -> Sequence[tuple[str, str, int]]:
    with closing(sqlite3.connect(f"file:{directory}/healer.db?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT issue, target, is_over FROM told ORDER BY number").fetchall()


def _events(directory: Path) -> Sequence[tuple[int, int]]:
    """Revision and kind of each event."""
    with closing(sqlite3.connect(f"file:{directory}/healer.db?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT payload FROM events ORDER BY position").fetchall()
    found = [check_pb2.CheckEvent.FromString(payload) for (payload,) in rows]
    return [(one.revision, one.kind) for one in found]


async def test_what_is_done_at_one_healer_reaches_the_check_at_the_other(tmp_path: Path, postgres_url: str) -> None:
    port = a_closed_port()
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        check_stage(tmp_path / "a", database_url=postgres_url) as one,
        check_stage(tmp_path / "b", database_url=postgres_url) as two,
    ):
        rarely = {"interval": "3600s", "timeout": "5s"}
        await one.create(a_check("shop", tcp={"address": f"127.0.0.1:{port}"}, **rarely))
        await two.until(NAME, UNHEALTHY)
        target = TargetRef("", "shop")
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
        async with server:
            for healer in (one, two):  # one of them attends to the check
                await healer.health.acted_on(target, grace=timedelta())
                await healer.until(NAME, HEALTHY)

        assert len([*one.troubles.found_ones, *two.troubles.found_ones]) == 1
        assert len([*one.troubles.gone_ones, *two.troubles.gone_ones]) == 1
