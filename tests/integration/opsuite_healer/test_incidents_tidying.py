"""What was over long ago is cleared away, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from fakes.alert_receivers import alert_receivers
from fakes.healer_incident_stage import IncidentStage, incident_stage, short_directory

from opsuite.healer.v1 import incident_service_pb2 as pb
from opsuite_healer.adapters.incidents import tables
from opsuite_kernel.errors import Gone, NotFound


@pytest.fixture(params=["sqlite", "postgresql"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[IncidentStage]:
    url = "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with short_directory() as directory:
        async with incident_stage(Path(directory), database_url=url) as served:
            yield served


async def test_incidents_go_with_all_that_is_about_them_once_they_were_over_for_long(stage: IncidentStage) -> None:
    async with alert_receivers() as receivers:
        await stage.receiver("hook", webhook={"url": f"{receivers.url}/webhook"})
        await stage.policy(["hook"])
        over, opened = await stage.trigger(), await stage.trigger(key="k2")
        for one in (over, opened):
            await stage.until(one.name, "DELIVERED")
        async with aclosing(_watch(stage, over.name)) as answers:
            token = (await anext(answers)).resume_token
        await stage.incidents.AddIncidentNote(pb.AddIncidentNoteRequest(name=over.name, text="hm"))
        await stage.incidents.ResolveIncident(pb.ResolveIncidentRequest(name=over.name))
        await receivers.until("webhook", 3)
        await _until_sent(stage, over.name)
        (tidy,) = stage.part.part.tidy

        await tidy(datetime.now(UTC) + timedelta(days=89))
        assert (await stage.kinds(over.name))[-1] == "RESOLVED"
        await tidy(datetime.now(UTC) + timedelta(days=91))

    with pytest.raises(NotFound):
        await stage.incidents.GetIncident(pb.GetIncidentRequest(name=over.name))
    with pytest.raises((Gone, NotFound)):
        async with aclosing(_watch(stage, over.name, token)) as answers:
            await anext(answers)
    assert (await stage.kinds(opened.name))[-1] == "DELIVERED"
    statement = sa.select(tables.incident_entries.c.incident).distinct()
    left = await stage.stage.house.database.read(lambda connection: connection.execute(statement).scalars().all())
    assert list(left) == [opened.name.removeprefix("incidents/")]


async def _watch(stage: IncidentStage, name: str, token: str = "") -> AsyncGenerator[pb.WatchIncidentsResponse, None]:
    async for answer in stage.incidents.WatchIncidents(pb.WatchIncidentsRequest(name=name, resume_token=token)):
        yield answer


async def _until_sent(stage: IncidentStage, name: str) -> None:
    """Return once nothing about it is under way."""
    async with asyncio.timeout(60):
        while True:
            listed = await stage.incidents.ListMessages(pb.ListMessagesRequest(parent=name))
            if all(one.status == pb.MESSAGE_STATUS_SENT for one in listed.messages):
                return
            await asyncio.sleep(0.02)
