"""Old events of checks go, and whoever waits for them is told; a healer stops without waiting for answers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from fakes.healer_checks import UNHEALTHY, CheckStage, a_check, a_closed_port, check_stage

from opsuite.healer.v1 import health_check_service_pb2 as pb
from opsuite_healer.adapters import tables
from opsuite_healer.adapters.checks.tidying import clear_events
from opsuite_kernel.errors import Gone

PATIENCE_SECONDS = 120.0
RARELY = {"interval": "3600s", "timeout": "60s"}


async def test_old_events_go_and_the_last_of_each_check_stays(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS), check_stage(tmp_path) as checks:
        house = checks.stage.house
        for name in ("a", "b"):
            await checks.create(a_check(name, tcp={"address": f"127.0.0.1:{a_closed_port()}"}, **RARELY))
            await checks.until(f"healthChecks/{name}", UNHEALTHY)
        start = house.feeds.token("healthChecks/a", 0)
        later = datetime.now(UTC) + timedelta(seconds=1)

        await clear_events(house.database, later - timedelta(days=1))
        assert await _events(checks) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
        await clear_events(house.database, later)
        assert await _events(checks) == [("a", 2), ("b", 2)]

        with pytest.raises(Gone):
            async for _ in checks.stub.WatchHealth(pb.WatchHealthRequest(name="healthChecks/a", resume_token=start)):
                pass
        assert (await checks.get("healthChecks/a")).health.outcome == UNHEALTHY


async def test_a_healer_stops_without_waiting_for_an_answer(tmp_path: Path) -> None:
    is_asked, is_over = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_asked.set()
        await is_over.wait()
        writer.close()

    async with asyncio.timeout(45), await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with check_stage(tmp_path) as checks:
            await checks.create(a_check("slow", http={"url": f"http://127.0.0.1:{port}/"}, **RARELY))
            await is_asked.wait()
        is_over.set()  # reached long before the 60 s that an answer may take


async def _events(checks: CheckStage) -> list[tuple[str, int]]:
    c = tables.events.events.c
    statement = sa.select(c.resource, c.revision).order_by(c.resource, c.revision)
    rows = await checks.stage.house.database.read(lambda connection: connection.execute(statement).all())
    return [(resource.removeprefix("healthChecks/"), revision) for resource, revision in rows]
