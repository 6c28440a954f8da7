"""Checks as callers write, change, read and watch them, on both databases."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from fakes.healer_checks import HEALTHY, UNHEALTHY, CheckStage, a_check, a_closed_port, check_stage
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from opsuite.healer.v1 import check_pb2
from opsuite.healer.v1 import health_check_service_pb2 as pb
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, Stale

PATIENCE_SECONDS = 120.0
NAME = "healthChecks/shop"
RARELY = {"interval": "3600s", "timeout": "1s"}


@pytest.fixture(params=["sqlite", "postgresql"])
async def checks(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CheckStage]:
    url = "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with asyncio.timeout(PATIENCE_SECONDS), check_stage(tmp_path, database_url=url) as stage:
        yield stage


def down(name: str = "shop", **fields: Any) -> dict[str, Any]:
    """A check of a port that nobody listens on, asked once."""
    return a_check(name, tcp={"address": f"127.0.0.1:{a_closed_port()}"}, **(RARELY | fields))


def as_message(form: dict[str, Any]) -> check_pb2.Check:
    return json_format.ParseDict(form, check_pb2.Check())


async def update(checks: CheckStage, form: dict[str, Any], *paths: str, **fields: Any) -> check_pb2.Check:
    mask = FieldMask(paths=paths) if paths else None
    request = pb.UpdateCheckRequest(check=as_message(form), update_mask=mask, **fields)
    answer: pb.UpdateCheckResponse = await checks.stub.UpdateCheck(request)
    return answer.check


async def test_a_check_lives_from_its_creation_to_its_end(checks: CheckStage) -> None:
    form = down(description="the shop", labels={"team": "shop"}, group="fleet")
    created = await checks.create(form)

    assert (created.etag, created.created_by, created.labels["team"]) == ("1", "local", "shop")
    await checks.until(NAME, UNHEALTHY)
    assert checks.troubles.open_issues == ["UNHEALTHY -/shop"]

    changed = await update(checks, form | {"description": "still the shop", "group": "other"}, "description")
    assert (changed.etag, changed.description, changed.group) == ("2", "still the shop", "fleet")
    assert changed.health.outcome == UNHEALTHY  # what was counted stays

    await checks.stub.DeleteCheck(pb.DeleteCheckRequest(name=NAME))
    assert checks.troubles.open_issues == []
    assert checks.troubles.gone_ones[0][1] == "the check was deleted"
    with pytest.raises(NotFound):
        await checks.get(NAME)


async def test_asking_something_else_counts_from_nothing(checks: CheckStage) -> None:
    form = down()
    await checks.create(form)
    await checks.until(NAME, UNHEALTHY)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

        await update(checks, form | {"tcp": {"address": address}}, "tcp")

        await checks.until(NAME, HEALTHY)
    assert checks.troubles.open_issues == []


async def test_another_kind_of_probe_takes_the_place_of_the_old_one(checks: CheckStage) -> None:
    form = down()
    await checks.create(form)
    del form["tcp"]

    changed = await update(checks, form | {"disk": {"path": "/"}}, "disk")

    assert changed.WhichOneof("probe") == "disk"


async def test_a_paused_check_knows_nothing_and_has_nobody_in_trouble(checks: CheckStage) -> None:
    form = down()
    await checks.create(form)
    await checks.until(NAME, UNHEALTHY)

    await update(checks, form | {"paused": True}, "paused")
    await checks.next_events(NAME, check_pb2.CHECK_EVENT_KIND_RESET)

    assert checks.troubles.open_issues == []
    assert not (await checks.get(NAME)).health.subjects
    await update(checks, form | {"paused": False}, "paused")
    await checks.until(NAME, UNHEALTHY)


async def test_a_repeated_call_is_answered_as_the_first_time(checks: CheckStage) -> None:
    request = pb.CreateCheckRequest(request_id=str(uuid.uuid4()), check=as_message(down()))

    first = await checks.stub.CreateCheck(request)
    again = await checks.stub.CreateCheck(request)

    assert (again.check.etag, again.check.create_time) == (first.check.etag, first.check.create_time)
    request.check.description = "another"
    with pytest.raises(InvalidInput) as refused:
        await checks.stub.CreateCheck(request)
    assert refused.value.reason == "REQUEST_ID_REUSED"


async def test_a_name_is_taken_once(checks: CheckStage) -> None:
    await checks.create(down())

    with pytest.raises(Conflict) as refused:
        await checks.create(down())

    assert refused.value.reason == "CHECK_EXISTS"


async def test_what_was_changed_meanwhile_is_not_changed_blindly(checks: CheckStage) -> None:
    form = down()
    await checks.create(form)
    await update(checks, form | {"description": "changed"})

    with pytest.raises(Stale):
        await update(checks, form | {"description": "mine", "etag": "1"})
    with pytest.raises(Stale):
        await checks.stub.DeleteCheck(pb.DeleteCheckRequest(name=NAME, etag="1"))
    assert (await checks.get(NAME)).description == "changed"


async def test_a_check_that_is_only_validated_is_not_there(checks: CheckStage) -> None:
    answer = await checks.stub.CreateCheck(pb.CreateCheckRequest(check=as_message(down()), validate_only=True))

    assert answer.check.name == NAME
    with pytest.raises(NotFound):
        await checks.get(NAME)


async def test_checks_are_listed_in_pages_and_by_filter(checks: CheckStage) -> None:
    for name in ("a", "b", "c"):
        await checks.create(down(name, group="even" if name == "b" else "odd"))
    await checks.until("healthChecks/a", UNHEALTHY)

    first = await checks.stub.ListChecks(pb.ListChecksRequest(page_size=2))
    rest = await checks.stub.ListChecks(pb.ListChecksRequest(page_size=2, page_token=first.next_page_token))
    odd = await checks.stub.ListChecks(pb.ListChecksRequest(filter='group = "odd"'))

    assert [one.name for one in first.checks] == ["healthChecks/a", "healthChecks/b"]
    assert first.checks[0].health.outcome == UNHEALTHY
    assert [one.name for one in rest.checks] == ["healthChecks/c"]
    assert not rest.next_page_token
    assert [one.name for one in odd.checks] == ["healthChecks/a", "healthChecks/c"]


async def test_a_watch_tells_everything_once_and_goes_on_where_it_was_left(checks: CheckStage) -> None:
    await checks.create(down())
    await checks.until(NAME, UNHEALTHY)
    async with aclosing(_watch(checks, pb.WatchHealthRequest(name=NAME))) as watched:
        snapshot = await anext(watched)
    await checks.stub.DeleteCheck(pb.DeleteCheckRequest(name=NAME))

    request = pb.WatchHealthRequest(name=NAME, resume_token=snapshot.resume_token)
    seen: list[check_pb2.CheckEvent] = []
    async for answer in _watch(checks, request):
        seen += answer.events

    after = snapshot.snapshot.statuses[0].revision
    assert [(one.revision, one.kind) for one in seen] == [(after + 1, check_pb2.CHECK_EVENT_KIND_DELETED)]
    again = await checks.create(down())
    assert again.health.revision == after + 2  # whoever watched the old one goes on with the new one


async def test_a_watch_of_all_hears_of_every_check(checks: CheckStage) -> None:
    await checks.create(down("one"))
    async with aclosing(_watch(checks, pb.WatchHealthRequest(name="healthChecks/-"))) as watched:
        snapshot = await anext(watched)
        await checks.create(down("two"))
        names = {status.name for status in snapshot.snapshot.statuses}
        async for answer in watched:
            names |= {event.name for event in answer.events}
            if len(names) == 2:
                break

    assert names == {"healthChecks/one", "healthChecks/two"}


async def test_a_quiet_watch_says_that_it_lives(checks: CheckStage) -> None:
    await checks.create(down(paused=True))
    request = pb.WatchHealthRequest(name=NAME, heartbeat=Duration(nanos=100_000_000))
    async with aclosing(_watch(checks, request)) as watched:
        async for answer in watched:
            if answer.WhichOneof("marker") == "bookmark":
                return


async def test_the_answers_behind_flapping_are_told(checks: CheckStage) -> None:
    await checks.create(down())
    await checks.until(NAME, UNHEALTHY)

    answer = await checks.stub.GetFlapState(pb.GetFlapStateRequest(name=NAME))

    assert (answer.high_percent, answer.low_percent) == (30, 20)
    assert [(list(one.history), one.percent, one.is_flapping) for one in answer.states] == [([UNHEALTHY], 0, False)]


async def test_a_check_that_flaps_is_told_as_that_alone(checks: CheckStage) -> None:
    turn = 0

    async def answer_in_turns(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        turn += 1
        await reader.readuntil(b"\r\n\r\n")
        status = b"200 OK" if turn % 2 else b"500 No"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer_in_turns, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        form = a_check("shop", http={"url": f"http://127.0.0.1:{port}/"}, interval="0.1s", timeout="0.1s")
        await checks.create(form)
        await checks.next_events(NAME, check_pb2.CHECK_EVENT_KIND_FLAPPING_STARTED)

        assert checks.troubles.open_issues == ["FLAPPING -/shop"]
        assert (await checks.health.of(TargetRef("", "shop"))).is_flapping


async def test_a_series_of_answers_is_played_without_touching_anything(checks: CheckStage) -> None:
    request = pb.EvaluateFlappingRequest(
        answers=[HEALTHY, UNHEALTHY] * 4,
        success_threshold=1,
        failure_threshold=1,
        flapping=check_pb2.Flapping(high_percent=35),
    )

    answer: pb.EvaluateFlappingResponse = await checks.stub.EvaluateFlapping(request)

    assert [step.is_flapping for step in answer.steps] == [False] * 6 + [True, True]
    assert answer.steps[-1].verdict == UNHEALTHY
    assert not (await checks.stub.ListChecks(pb.ListChecksRequest())).checks


async def _watch(checks: CheckStage, request: pb.WatchHealthRequest) -> AsyncGenerator[pb.WatchHealthResponse, None]:
    call = checks.stub.WatchHealth(request)
    try:
        async for answer in call:
            yield answer
    finally:
        call.cancel()
