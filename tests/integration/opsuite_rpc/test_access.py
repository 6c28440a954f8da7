"""Who is let in by a real server, who is refused, and what the audit log hears of both."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes.rpc_service import OPERATOR, POLICY, SERVICE, VIEWER, RecordingAudit, Response, call, detail, serving, watch
from google.rpc import error_details_pb2

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.audit import COMMAND_REJECTED, AuditEntry
from opsuite_rpc.calls import audited_as
from opsuite_rpc.trail import REFUSAL_RATE

STAGING, PRODUCTION = "pipelines/shop/environments/staging/things/1", "pipelines/shop/environments/production/things/1"
EVERYWHERE = "pipelines/-/environments/-"


async def code_of(calling: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calling
    return caught.value.code()


@pytest.mark.parametrize("token", [None, "wrong", ""])
@pytest.mark.parametrize("method", ["Get", "Change"])
async def test_without_a_good_token_a_call_is_unauthenticated_and_audited(
    tmp_path: Path, token: str | None, method: str
) -> None:
    async with serving(tmp_path) as running, running.channel() as channel:
        code = await code_of(call(channel, method, token, name=STAGING, environment="staging"))

    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert running.servicer.calls == []
    assert running.audit.told == [("anonymous", method, "", "UNAUTHENTICATED")]


@pytest.mark.parametrize("method", ["Watch", "Tail"])
async def test_streams_are_guarded_like_single_answers(tmp_path: Path, method: str) -> None:
    async with serving(tmp_path) as running, running.channel() as channel:
        nobody = await code_of(watch(channel, method, None, name=STAGING).read())
        elsewhere = await code_of(watch(channel, method, OPERATOR, name=PRODUCTION).read())

    assert (nobody, elsewhere) == (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
    assert running.servicer.calls == []


async def test_a_viewer_who_wants_to_change_something_is_denied_told_what_is_lacking_and_audited(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as running, running.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "Change", VIEWER, environment="staging")

    wanted = {"principal": "vera", "permission": "things.start", "environment": "staging"}
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert dict(detail(caught.value, error_details_pb2.ErrorInfo).metadata) == wanted
    assert running.servicer.calls == []
    assert running.audit.told == [("vera", "Change", "staging", "PERMISSION_DENIED")]


async def test_a_role_holds_in_its_environments_only(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, running.channel() as channel:
        await call(channel, "Change", OPERATOR, environment="staging")
        await call(channel, "Get", OPERATOR, name=STAGING)
        refused = [
            await code_of(call(channel, "Change", OPERATOR, environment="production")),
            await code_of(call(channel, "Change", OPERATOR, environment="")),
            await code_of(call(channel, "Get", OPERATOR, name=PRODUCTION)),
            await code_of(call(channel, "Get", OPERATOR, name=EVERYWHERE)),
        ]
        await call(channel, "Get", VIEWER, name=EVERYWHERE)

    assert set(refused) == {grpc.StatusCode.PERMISSION_DENIED}


async def test_whoever_reads_the_data_directory_is_local_and_may_do_everything(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, running.channel() as channel:
        await call(channel, "Change", running.local, environment="production")
        await call(channel, "Register", running.local)

    assert [entry.actor for entry in running.audit.entries] == ["local", "local"]


async def test_acts_are_audited_with_what_the_handler_says_of_them_and_reads_are_not(tmp_path: Path) -> None:
    async def handler(_request: Any, _context: Any) -> Any:
        audited_as("pipelines/shop", revision="3")
        return Response()

    async with serving(tmp_path) as running, running.channel() as channel:
        running.servicer.on["Register"] = handler
        await call(channel, "Register", running.local)
        await call(channel, "Get", VIEWER, name=STAGING)

    (entry,) = running.audit.entries
    assert (entry.action, entry.resource, entry.outcome) == (f"{SERVICE}/Register", "pipelines/shop", "OK")
    assert entry.details == {"revision": "3"}


async def test_an_act_that_cannot_be_audited_is_not_acknowledged(tmp_path: Path) -> None:
    audit = RecordingAudit(fault=OSError("disk full"))
    async with serving(tmp_path, audit=audit) as running, running.channel() as channel:
        act = await code_of(call(channel, "Change", running.local, environment="staging"))
        refusal = await code_of(call(channel, "Change", VIEWER, environment="staging"))
        await call(channel, "Get", VIEWER, name=STAGING)

    assert (act, refusal) == (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED)


async def test_a_caller_who_gives_up_while_the_act_is_audited_does_not_undo_the_record(tmp_path: Path) -> None:
    auditing, release = asyncio.Event(), asyncio.Event()

    class Slow(RecordingAudit):
        async def record(self, entry: AuditEntry) -> None:
            auditing.set()
            await release.wait()
            await super().record(entry)

    audit = Slow()
    async with serving(tmp_path, audit=audit) as running, running.channel() as channel:
        calling = asyncio.create_task(call(channel, "Change", running.local, environment="staging"))
        await auditing.wait()
        calling.cancel()
        await running.server.wait_until_idle()
        release.set()

    assert audit.told == [("local", "Change", "staging", "OK")]


@pytest.mark.parametrize("reason", ["COMMAND_NOT_ALLOWED", "ARGUMENT_REFUSED"])
async def test_a_command_that_the_policy_rejects_is_a_security_event(tmp_path: Path, reason: str) -> None:
    async def handler(_request: Any, _context: Any) -> Any:
        raise InvalidInput([Violation("text", "too long"), Violation("stages[0].steps[1].command", "rm", reason)])

    async with serving(tmp_path) as running, running.channel() as channel:
        running.servicer.on["Get"] = handler
        await code_of(call(channel, "Get", VIEWER, name=STAGING))

    (entry,) = running.audit.entries
    assert (entry.actor, entry.action, entry.outcome) == ("vera", COMMAND_REJECTED, "INVALID_ARGUMENT")
    assert entry.details["field"] == "stages[0].steps[1].command"
    assert entry.details["reason"] == reason
    assert entry.details["method"] == f"{SERVICE}/Get"


async def test_a_flood_of_refusals_is_counted_rather_than_written(tmp_path: Path) -> None:
    flood = REFUSAL_RATE.burst + 50
    async with serving(tmp_path) as running, running.channel() as channel:
        for _ in range(flood):
            await code_of(call(channel, "Get", "wrong", name=STAGING))

    told = sum(1 for entry in running.audit.entries if entry.action == f"{SERVICE}/Get")
    suppressed = sum(int(entry.details.get("suppressed", 0)) for entry in running.audit.entries)
    assert told < flood
    assert told + suppressed == flood


async def test_a_changed_policy_holds_from_the_next_look_and_ends_streams_that_lost_their_right(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as running, running.channel() as channel:
        lost = watch(channel, "Watch", VIEWER, name=STAGING)
        kept = watch(channel, "Tail", OPERATOR, name=STAGING)
        await lost.read()
        await lost.read()
        await kept.read()
        running.policy.write_text(POLICY.replace('viewer: ["*"]', "viewer: [production]"))
        await running.server.reload()
        ended = await code_of(lost.read())
        single = await code_of(call(channel, "Get", VIEWER, name=STAGING))
        await call(channel, "Get", VIEWER, name=PRODUCTION)
        kept_is_open = not kept.done()
        kept.cancel()

    assert (ended, single) == (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.PERMISSION_DENIED)
    assert kept_is_open


async def test_a_token_that_is_struck_off_the_policy_is_unknown_and_its_streams_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, running.channel() as channel:
        stream = watch(channel, "Tail", VIEWER, name=STAGING)
        await stream.read()
        running.policy.write_text("principals: []")
        await running.server.reload()

        assert await code_of(stream.read()) is grpc.StatusCode.UNAUTHENTICATED
        assert await code_of(call(channel, "Get", VIEWER, name=STAGING)) is grpc.StatusCode.UNAUTHENTICATED


async def test_a_bad_policy_leaves_the_old_one_in_force(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, running.channel() as channel:
        running.policy.write_text("principals: [{name: eve, roles: {admin: ['*']}}]")
        await running.server.reload()
        await call(channel, "Get", VIEWER, name=STAGING)
