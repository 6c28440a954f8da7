"""Two replicas on one PostgreSQL: each step of a runbook is done once, whatever becomes of the one that began it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fakes.healer_runbook_process import RunbookProcess, done_in
from fakes.healer_runbooks import stand, step
from google.protobuf import json_format

from opsuite.healer.v1 import runbook_pb2
from opsuite.healer.v1 import runbook_service_pb2 as pb

PATIENCE_SECONDS = 120.0
"""Only what will never come takes so long."""
MANY = 12


@pytest.fixture
async def team(postgres_url: str) -> AsyncIterator[tuple[RunbookProcess, RunbookProcess, Path]]:
    """Two replicas with a lease of two seconds, and the world that both act on."""
    with tempfile.TemporaryDirectory(prefix="opsuite-") as place:
        world = Path(place) / "world"
        first, second = (
            RunbookProcess(Path(place) / name, world, postgres_url, lease="2", poll_every="0.3")
            for name in ("one", "two")
        )
        try:
            await first.start()
            await second.start()
            yield first, second, world
        finally:
            await first.kill()
            await second.kill()


async def create(stub: Any, *steps: dict[str, Any]) -> None:
    form = {"runbook": {"name": "runbooks/fix", "parameters": [{"name": "id"}], "steps": list(steps)}}
    await stub.CreateRunbook(json_format.ParseDict(form, pb.CreateRunbookRequest()))


def numbered(name: str) -> dict[str, Any]:
    """A step that does something with the number of its execution."""
    return {"name": name, "action": {"kind": "STAGE", "params": {"name": f"{name} ${{params.id}}"}}}


async def begin(stub: Any, number: int = 0) -> str:
    begun = await stub.ExecuteRunbook(pb.ExecuteRunbookRequest(name="runbooks/fix", params={"id": str(number)}))
    name: str = begun.execution.name
    return name


async def ended(stub: Any, name: str) -> runbook_pb2.Execution:
    """The execution once it is over; the test's own time limit is the limit."""
    while True:
        found = (await stub.GetExecution(pb.GetExecutionRequest(name=name))).execution
        if found.HasField("end_time"):
            execution: runbook_pb2.Execution = found
            return execution
        await asyncio.sleep(0.05)


async def waits(stub: Any, name: str) -> None:
    """Return when it waits for an answer."""
    while stand((await stub.GetExecution(pb.GetExecutionRequest(name=name))).execution) != "WAITING":  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.05)


async def test_executions_begun_at_both_replicas_do_each_thing_once(
    team: tuple[RunbookProcess, RunbookProcess, Path],
) -> None:
    first, second, world = team
    async with asyncio.timeout(PATIENCE_SECONDS), first.client() as one, second.client() as two:
        await create(one, numbered("a"), numbered("b"))
        names = await asyncio.gather(*(begin((one, two)[number % 2], number) for number in range(MANY)))
        over = await asyncio.gather(*(ended((two, one)[number % 2], name) for number, name in enumerate(names)))

    assert {stand(execution) for execution in over} == {"SUCCEEDED"}
    assert sorted(done_in(world)) == sorted(f"{name} {number}" for name in "ab" for number in range(MANY))


async def test_when_the_owner_dies_the_other_one_goes_on_with_what_people_answer(
    team: tuple[RunbookProcess, RunbookProcess, Path], postgres_url: str
) -> None:
    first, second, world = team
    question = {"name": "ask", "inquiry": {"question": "Sure?"}}
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with first.client() as stub:
            await create(stub, step("before"), question, step("after"))
            name = await begin(stub)
            await waits(stub, name)
        await first.kill()  # whether it was the owner or not: now the other one has it, or takes it over
        async with second.client() as stub:
            await stub.RespondInquiry(pb.RespondInquiryRequest(name=name, step="ask", approved=True))
            over = await ended(stub, name)

    assert (stand(over), done_in(world)) == ("SUCCEEDED", ["before", "after"])
    assert _revisions(postgres_url, name) == list(range(1, len(_revisions(postgres_url, name)) + 1))


async def test_a_wish_at_one_replica_reaches_the_owner_at_the_other(
    team: tuple[RunbookProcess, RunbookProcess, Path],
) -> None:
    first, second, _ = team
    question = {"name": "ask", "inquiry": {"question": "Sure?"}}
    async with asyncio.timeout(PATIENCE_SECONDS), first.client() as one, second.client() as two:
        await create(one, question)
        names = [await begin(one), await begin(two)]
        for name in names:
            await waits(one, name)
        await two.CancelExecution(pb.CancelExecutionRequest(name=names[0]))
        await one.CancelExecution(pb.CancelExecutionRequest(name=names[1]))
        over = [await ended(one, name) for name in names]

    assert [stand(execution) for execution in over] == ["CANCELLED", "CANCELLED"]


def _revisions(url: str, name: str) -> list[int]:
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")) as connection:
        rows = connection.execute(
            "SELECT revision FROM events WHERE resource = %s ORDER BY position", (name,)
        ).fetchall()
        return [revision for (revision,) in rows]
