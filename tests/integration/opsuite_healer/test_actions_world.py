"""Actions on real things of this machine: a Redis, an HTTP server, programs, the outbox, runbooks."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from fakes.healer_actions import Actor, an_actor
from metric_servers import PASSWORD, redis_server
from redis.asyncio import Redis
from server_processes import ServerProcess

from opsuite_healer.application.actions import ActionOutcome
from opsuite_healer.application.runbook_runner import RunbookState
from opsuite_healer.domain.actions import ActionSpec
from opsuite_kernel.errors import Conflict

__all__ = ["redis_server"]

DONE, FAILED, REFUSED = ActionOutcome.DONE, ActionOutcome.FAILED, ActionOutcome.REFUSED


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def acting() -> AsyncIterator[Actor]:
    with tempfile.TemporaryDirectory(prefix="opsuite-") as place, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CACHE_PASSWORD", PASSWORD)
        async with an_actor(
            Path(place),
            secret_env=("CACHE_PASSWORD",),
            command_names=("true", "false", "sleep", "pwd", "touch"),
            public_url="https://ops.example.org/",
        ) as made:
            yield made


@pytest.fixture
def actor(acting: Actor) -> Actor:
    """The one of this file, with nothing left of the test before."""
    acting.messages.sent.clear()
    acting.runner.started.clear()
    acting.runner.cancelled.clear()
    acting.runner.state_now = (RunbookState.SUCCEEDED, "")
    return acting


# --- caches ----------------------------------------------------------------------------------------------------------


async def test_keys_are_cleared_within_the_pattern_alone(actor: Actor, redis_server: ServerProcess) -> None:
    async with Redis(port=redis_server.port, password=PASSWORD, db=3) as redis:
        await redis.mset({f"page:{number}": "x" for number in range(1200)} | {"session:1": "keep"})
        call = actor.call("CLEAR_CACHE", **cache(redis_server, pattern="page:*"))

        first = await actor.take(call)
        again = await actor.take(call)
        left = await redis.keys("*")
        await redis.flushdb()

    assert (first.outcome, first.facts["cleared"]) == (DONE, "1200")
    assert (again.outcome, again.facts["cleared"]) == (DONE, "0")
    assert left == [b"session:1"]


async def test_no_more_keys_are_cleared_than_it_may(actor: Actor, redis_server: ServerProcess) -> None:
    async with Redis(port=redis_server.port, password=PASSWORD, db=3) as redis:
        await redis.mset({f"page:{number}": "x" for number in range(30)})

        result = await actor.take(actor.call("CLEAR_CACHE", **cache(redis_server, pattern="page:*", max_keys="10")))
        left = await redis.dbsize()
        await redis.flushdb()

    assert (result.outcome, result.facts["cleared"], left) == (FAILED, "10", 20)


async def test_a_wrong_password_is_refused_and_a_redis_that_is_away_is_a_failure(
    actor: Actor, redis_server: ServerProcess
) -> None:
    nobody = {"cache": "redis", "url": "redis://127.0.0.1:1/0", "pattern": "page:*"}
    without = {name: value for name, value in cache(redis_server, pattern="page:*").items() if name != "password_env"}

    refused = await actor.take(actor.call("CLEAR_CACHE", **without))
    away = await actor.take(actor.call("CLEAR_CACHE", **nobody))

    assert (refused.outcome, refused.facts["reason"]) == (REFUSED, "REDIS_REFUSES")
    assert (away.outcome, away.facts["reason"]) == (FAILED, "REDIS_UNAVAILABLE")


def cache(server: ServerProcess, **params: str) -> dict[str, str]:
    """Parameters for the cache of that server."""
    url = f"redis://127.0.0.1:{server.port}/3"
    return {"cache": "redis", "url": url, "password_env": "CACHE_PASSWORD", **params}


# --- HTTP ------------------------------------------------------------------------------------------------------------


class Site:
    """A web server that keeps what it was asked, and answers as it is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.url = ""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append((request.method, request.path, await request.text()))
        self.headers.append(dict(request.headers))
        return web.Response(status=self.status)


@pytest_asyncio.fixture(loop_scope="module")
async def site() -> AsyncIterator[Site]:
    made = Site()
    server = web.Server(made.answer)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield made
    listening.close()
    await server.shutdown(timeout=0.01)  # connections are kept alive by the actor


async def test_a_request_is_sent_once_with_a_name_that_stays_the_same(actor: Actor, site: Site) -> None:
    call = actor.call("HTTP", url=f"{site.url}/reload", body='{"now": true}', token_env="CACHE_PASSWORD")

    first = await actor.take(call)
    again = await actor.take(call)

    assert (first.outcome, first.facts) == (DONE, {"status": "200"})
    assert (again.outcome, again.facts["reason"]) == (FAILED, "INTERRUPTED")
    assert site.asked == [("POST", "/reload", '{"now": true}')]
    assert site.headers[0]["Idempotency-Key"] == call.key
    assert site.headers[0]["Authorization"] == f"Bearer {PASSWORD}"
    assert PASSWORD not in first.message


@pytest.mark.parametrize(
    ("status", "expect", "outcome"),
    [(204, "", DONE), (500, "", FAILED), (429, "", FAILED), (404, "", REFUSED), (302, "", REFUSED), (409, "409", DONE)],
)
async def test_a_status_says_how_it_went(
    actor: Actor, site: Site, status: int, expect: str, outcome: ActionOutcome
) -> None:
    site.status = status

    result = await actor.take(actor.call("HTTP", url=site.url, method="PUT", expect=expect))

    assert (result.outcome, result.facts["status"]) == (outcome, str(status))


async def test_a_page_of_an_http_cache_is_purged(actor: Actor, site: Site) -> None:
    result = await actor.take(actor.call("CLEAR_CACHE", cache="http", url=f"{site.url}/home"))

    assert (result.outcome, site.asked) == (DONE, [("PURGE", "/home", "")])


async def test_a_secret_that_the_settings_do_not_allow_is_not_sent(actor: Actor, site: Site) -> None:
    result = await actor.take(actor.call("HTTP", url=site.url, token_env="HOME"))

    assert (result.outcome, site.asked) == (REFUSED, [])


# --- programs --------------------------------------------------------------------------------------------------------


async def test_a_program_runs_in_its_directory_and_its_output_is_kept(actor: Actor) -> None:
    result = await actor.take(actor.call("COMMAND", command="pwd"))

    assert (result.outcome, Path(result.facts["output"]).name) == (DONE, "work")


async def test_a_program_that_fails_is_a_failure(actor: Actor) -> None:
    result = await actor.take(actor.call("COMMAND", command="false"))

    assert (result.outcome, result.facts["code"]) == (FAILED, "1")


async def test_a_program_is_ended_when_its_time_is_over(actor: Actor) -> None:
    result = await actor.take(actor.call("COMMAND", command="sleep 600"), timeout=timedelta(seconds=0.2))

    assert (result.outcome, result.facts["reason"]) == (FAILED, "TIMED_OUT")


async def test_a_program_that_was_interrupted_is_not_run_again_unless_it_may(actor: Actor) -> None:
    once = actor.call("COMMAND", command="true")
    may = actor.call("COMMAND", command="true", idempotent="true")

    results = [await actor.take(call) for call in (once, once, may, may)]

    assert [result.outcome for result in results] == [DONE, FAILED, DONE, DONE]
    assert results[1].facts == {"reason": "INTERRUPTED"}


async def test_what_a_template_made_of_a_command_is_judged_before_it_runs(actor: Actor) -> None:
    call = replace(actor.call("COMMAND", command="true"), spec=ActionSpec("COMMAND", {"command": "touch /etc/motd"}))

    result = await actor.take(call)

    assert result.outcome is REFUSED


async def test_a_cache_is_cleared_by_a_command(actor: Actor) -> None:
    call = actor.call("CLEAR_CACHE", cache="command", command="true")

    assert [(await actor.take(call)).outcome for _ in range(2)] == [DONE, DONE]


# --- people and runbooks ---------------------------------------------------------------------------------------------


async def test_people_are_told_once(actor: Actor) -> None:
    call = actor.call("NOTIFY", receivers="receivers/ops, dba", title="Disk full")

    results = [await actor.take(call) for _ in range(2)]

    assert [result.outcome for result in results] == [DONE, DONE]
    assert [(receiver, about) for receiver, _, about in actor.messages.sent] == [
        ("ops", "incidents/1"),
        ("dba", "incidents/1"),
    ]
    message = actor.messages.sent[0][1]
    assert (message.title, message.text) == ("Disk full", "the test wants it")
    assert message.url == "https://ops.example.org/incidents/1"


async def test_a_receiver_that_nobody_knows_is_told_of(actor: Actor) -> None:
    some = await actor.take(actor.call("NOTIFY", receivers="ops,nobody"))
    none = await actor.take(actor.call("NOTIFY", receivers="nobody"))

    assert (some.outcome, some.facts["unknown"]) == (DONE, "nobody")
    assert (none.outcome, none.facts["reason"]) == (REFUSED, "NO_RECEIVER")


async def test_a_runbook_is_begun_once_and_its_end_is_that_of_the_action(actor: Actor) -> None:
    call = actor.call("RUN_RUNBOOK", runbook="runbooks/fix", **{"params.path": "/var"})
    well = [await actor.take(call) for _ in range(2)]
    actor.runner.state_now = (RunbookState.FAILED, "three: never")

    badly = await actor.take(actor.call("RUN_RUNBOOK", runbook="fix"))

    assert [result.outcome for result in well] == [DONE, DONE]
    begun = actor.runner.started[call.key]
    assert (len(actor.runner.started), begun.runbook, begun.params) == (2, "fix", {"path": "/var"})
    assert (badly.outcome, badly.message) == (FAILED, "three: never")


async def test_a_runbook_that_takes_too_long_is_stopped(actor: Actor) -> None:
    actor.runner.state_now = (RunbookState.GOING_ON, "")
    call = actor.call("RUN_RUNBOOK", runbook="fix")

    result = await actor.take(call, timeout=timedelta(seconds=0.1))

    assert (result.outcome, result.facts["reason"]) == (FAILED, "TIMED_OUT")
    assert actor.runner.cancelled == [f"runbooks/fix/executions/{call.key}"]


# --- what is refused before ------------------------------------------------------------------------------------------

WRONG: list[tuple[str, dict[str, str], dict[str, str]]] = [
    ("SCALE_UP", {}, {"max": "REQUIRED"}),
    ("SCALE_UP", {"max": "0", "by": "x"}, {"max": "RANGE", "by": "RANGE"}),
    ("CLEAR_CACHE", {"cache": "memcached"}, {"cache": "ONE_OF"}),
    ("CLEAR_CACHE", {"cache": "redis"}, {"url": "REQUIRED", "pattern": "REQUIRED"}),
    (
        "CLEAR_CACHE",
        {"cache": "redis", "url": "redis://u:p@h:6379/0", "pattern": "*", "password_env": "1"},
        {"url": "FORMAT_URL", "pattern": "SCOPE", "password_env": "FORMAT_ENV_NAME"},
    ),
    ("CLEAR_CACHE", {"cache": "redis", "url": "http://h/", "pattern": "a*"}, {"url": "FORMAT_URL"}),
    ("CLEAR_CACHE", {"cache": "http"}, {"url": "REQUIRED"}),
    ("CLEAR_CACHE", {"cache": "command", "command": "rm x"}, {"command": "COMMAND_NOT_ALLOWED"}),
    ("REBALANCE_LOAD", {"mode": "shuffle", "max_share": "0"}, {"mode": "ONE_OF", "max_share": "RANGE"}),
    ("REBALANCE_LOAD", {"mode": "drain"}, {"mode": "NO_DEPLOYER"}),
    ("REBALANCE_LOAD", {"mode": "evict", "weights": "a=50"}, {"weights": "WEIGHTS"}),
    ("ROLL_BACK_DEPLOYMENT", {"deployment": "x", "within": "1y"}, {"deployment": "PATTERN", "within": "DURATION"}),
    ("RUN_RUNBOOK", {"runbook": "Fix!", "params.": "x"}, {"runbook": "DNS_LABEL", "params.": "UNKNOWN_PARAMETER"}),
    ("NOTIFY", {"receivers": ",", "severity": "loud"}, {"receivers": "REQUIRED", "severity": "ONE_OF"}),
    ("NOTIFY", {"receivers": "ops", "title": "a\nb"}, {"title": "TITLE"}),
    ("COMMAND", {"command": "true 'x", "idempotent": "maybe"}, {"command": "COMMAND_LINE", "idempotent": "ONE_OF"}),
    (
        "HTTP",
        {"url": "ftp://x", "method": "TRACE", "expect": "9", "content_type": "a\nb"},
        {"url": "FORMAT_URL", "method": "ONE_OF", "expect": "RANGE", "content_type": "NOT_PRINTABLE"},
    ),
    ("HTTP", {"url": "http://h/", "body": "x" * 9000}, {"body": "TOO_LONG"}),
]


async def test_what_is_wrong_with_parameters_is_told_all_at_once(actor: Actor) -> None:
    for kind, params, wrong in WRONG:
        assert actor.wrong(kind, params) == {f'params["{name}"]': reason for name, reason in wrong.items()}, kind


async def test_every_kind_is_told_with_what_is_missing_for_it(actor: Actor) -> None:
    kinds = {kind.name: kind for kind in actor.doing.actions.kinds()}

    assert sorted(kinds) == [
        "CLEAR_CACHE", "COMMAND", "HTTP", "NOTIFY", "REBALANCE_LOAD", "RESTART_SERVICE", "ROLL_BACK_DEPLOYMENT",
        "RUN_RUNBOOK", "SCALE_BACK", "SCALE_UP",
    ]  # fmt: skip
    assert {name for name, kind in kinds.items() if not kind.is_available} == {
        "SCALE_UP",
        "SCALE_BACK",
        "ROLL_BACK_DEPLOYMENT",
    }
    with pytest.raises(Conflict, match="HEALER_DEPLOYER_ADDRESS"):
        await actor.prepare(actor.call("ROLL_BACK_DEPLOYMENT"))
