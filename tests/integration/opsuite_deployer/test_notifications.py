"""People and programs that are told of deployments: signed, again if need be, and never in the way."""

import asyncio
import email
import email.message
import email.policy
import hashlib
import hmac
import itertools
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session
from deployer import DeployerProcess, a_deployer, deploy, ended, free_port, register
from fakes.black_hole import black_hole
from fakes.calls import cancel, pause, resume, run, until
from fakes.held_steps import HeldSteps
from fakes.pipelines import Form, a_pipeline, a_stage, false

KEY = "signing-key"


@dataclass
class Receiver:
    """An HTTP server that keeps what it gets, and answers as it is told."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    """Answers to come; then 200."""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        async with self.arrived:
            self.got.append((dict(request.headers), body))
            self.arrived.notify_all()
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    async def wait_for(self, number: int) -> list[dict[str, Any]]:
        """The first messages, once there are that many."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.got) >= number)
        return [json.loads(body) for _, body in self.got]

    def events(self) -> list[str]:
        return [json.loads(body)["event"] for _, body in self.got]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of webhooks."""
    async with serving() as made:
        yield made


class serving:  # noqa: N801 - used like a function
    """A receiver on a port that may be given."""

    def __init__(self, port: int = 0) -> None:
        self._port = port

    async def __aenter__(self) -> Receiver:
        made = Receiver()
        application = web.Application()
        application.router.add_post("/hook", made.take)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        made.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"
        return made

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


@pytest.fixture(scope="module")
def mail_port() -> int:
    """Where the deployer of this file sends its mail."""
    return free_port()


@pytest.fixture(scope="module")
def secretive(mail_port: int) -> Iterator[DeployerProcess]:
    """A deployer that knows a secret and a mail server."""
    with a_deployer(
        DEPLOYER_SECRET_ENV="HOOK_KEY,SLACK_URL",
        HOOK_KEY=KEY,
        DEPLOYER_SMTP_HOST="127.0.0.1",
        DEPLOYER_SMTP_PORT=str(mail_port),
        DEPLOYER_SMTP_SENDER="deployer@example.org",
        DEPLOYER_SMTP_SECURITY="none",
    ) as running:
        yield running


def a_hook(url: str, name: str = "hook", **fields: Any) -> Form:
    """A signed webhook."""
    return {"name": name, "webhook": {"url": url, "secret": {"env": "HOOK_KEY"}}} | fields


async def test_each_moment_is_told_and_signed(secretive: DeployerProcess, receiver: Receiver) -> None:
    held = HeldSteps(secretive.work)
    async with secretive.client() as client:
        hooks = [a_hook(receiver.url)]
        await register(client, a_pipeline("told", a_stage("work", held.step("told")), notifications=hooks))
        first = await deploy(client, "told", "1")
        await held.started("told")
        await pause(client, first.name)
        await until(client, first.name, "PAUSED")
        await receiver.wait_for(2)
        await resume(client, first.name)
        held.end("told")
        await ended(client, first.name)
        await receiver.wait_for(3)

        await register(client, a_pipeline("told", a_stage("work", false()), notifications=hooks))
        await ended(client, (await deploy(client, "told", "2")).name)
        told = await receiver.wait_for(7)
    assert [one["event"].removeprefix("DEPLOYMENT_") for one in told[:3]] == ["STARTED", "PAUSED", "SUCCEEDED"]
    # The failed one starts, its rollback starts and succeeds, and then it has been rolled back.
    words = sorted(one["event"].removeprefix("DEPLOYMENT_") for one in told[3:])
    assert words == ["ROLLED_BACK", "STARTED", "STARTED", "SUCCEEDED"]
    assert told[0]["key"] == first.name
    assert told[0]["fields"]["status"] == "RUNNING"
    for headers, body in receiver.got:
        signed = b"%s.%b" % (headers["X-Opsuite-Timestamp"].encode(), body)
        expected = "sha256=" + hmac.new(KEY.encode(), signed, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(headers["X-Opsuite-Signature"], expected)
    ids = [headers["X-Opsuite-Delivery"] for headers, _ in receiver.got]
    assert len(set(ids)) == len(ids)


async def test_failures_are_told_to_those_who_asked_for_failures(
    secretive: DeployerProcess, receiver: Receiver
) -> None:
    held = HeldSteps(secretive.work)
    async with secretive.client() as client:
        hooks = [a_hook(receiver.url, events=["NOTIFICATION_EVENT_FAILED"])]
        await run(client, "failing", a_stage("work", false()), notifications=hooks, rollbackEnabled=False)
        await register(client, a_pipeline("failing", a_stage("work", held.step("failing")), notifications=hooks))
        cancelled = await deploy(client, "failing")
        await held.started("failing")
        await cancel(client, cancelled.name)
        told = await receiver.wait_for(2)
    assert [one["fields"]["status"] for one in told] == ["FAILED", "CANCELLED"]
    assert "exited with status" in told[0]["text"]


async def test_an_answer_that_says_not_now_is_followed_by_another_try(
    secretive: DeployerProcess, receiver: Receiver
) -> None:
    receiver.statuses = [503]
    async with secretive.client() as client:
        hooks = [a_hook(receiver.url, events=["NOTIFICATION_EVENT_SUCCEEDED"])]
        await run(client, "again", a_stage(), notifications=hooks)
        first, second = await receiver.wait_for(2)
    assert first == second
    assert len({headers["X-Opsuite-Delivery"] for headers, _ in receiver.got}) == 1
    assert [row["status"] for row in await recorded(secretive, "again")] == ["sent"]


async def test_a_dead_receiver_delays_no_deployment(secretive: DeployerProcess) -> None:
    with black_hole() as address:
        async with secretive.client() as client:
            hooks = [a_hook(f"http://{address}/", name=f"hook-{number}") for number in range(5)]
            hooks.append(a_hook(f"http://127.0.0.1:{free_port()}/", name="nobody"))
            for number in range(3):
                done = await run(client, f"unheard-{number}", a_stage(), notifications=hooks)
                assert done.stable
            rows = outbox(secretive, "unheard-0")
    assert len(rows) == 12
    assert all(row["status"] == "pending" for row in rows), "a deployment ended before anybody was told"


async def test_what_was_not_told_is_told_after_a_restart(start_deployer: Callable[..., DeployerProcess]) -> None:
    port = free_port()
    deployer = start_deployer(DEPLOYER_SECRET_ENV="HOOK_KEY", HOOK_KEY=KEY)
    async with deployer.client() as client:
        hooks = [a_hook(f"http://127.0.0.1:{port}/hook", events=["NOTIFICATION_EVENT_SUCCEEDED"])]
        done = await run(client, "survivor", a_stage(), notifications=hooks)
    [row] = await tried(deployer, "survivor")
    assert row["status"] == "pending"
    deployer.kill()
    async with serving(port) as receiver:
        deployer.start()
        [told] = await receiver.wait_for(1)
    assert (told["event"], told["key"]) == ("DEPLOYMENT_SUCCEEDED", done.name)


async def test_what_was_being_sent_at_a_crash_is_sent_at_the_next_start(
    start_deployer: Callable[..., DeployerProcess],
) -> None:
    port = free_port()
    deployer = start_deployer(DEPLOYER_SECRET_ENV="HOOK_KEY", HOOK_KEY=KEY)
    async with deployer.client() as client:
        hooks = [a_hook(f"http://127.0.0.1:{port}/hook", events=["NOTIFICATION_EVENT_SUCCEEDED"])]
        await run(client, "cut-off", a_stage(), notifications=hooks)
    await tried(deployer, "cut-off")
    deployer.kill()
    with closing(sqlite3.connect(f"{deployer.data_dir}/deployer.db")) as database, database:
        database.execute("UPDATE notification_outbox SET claimed_until = '2999-01-01 00:00:00.000000'")
    async with serving(port) as receiver:
        deployer.start()
        [told] = await receiver.wait_for(1)
    assert told["event"] == "DEPLOYMENT_SUCCEEDED"


async def test_a_mail_is_sent_over_smtp(secretive: DeployerProcess, mail_port: int) -> None:
    mailbox: asyncio.Queue[tuple[list[str], email.message.EmailMessage]] = asyncio.Queue()

    class Handler:
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            content: Any = envelope.content
            mail: Any = email.message_from_bytes(content, policy=email.policy.default)
            await mailbox.put((envelope.rcpt_tos, mail))
            return "250 OK"

    server = await asyncio.get_running_loop().create_server(lambda: SMTP(Handler()), "127.0.0.1", mail_port)
    async with server, secretive.client() as client:
        channel = {"name": "mail", "email": {"to": ["ops@example.org"]}, "events": ["NOTIFICATION_EVENT_SUCCEEDED"]}
        await run(client, "mailed", a_stage(), notifications=[channel])
        recipients, mail = await mailbox.get()
    assert recipients == ["ops@example.org"]
    assert "mailed 1.0.0 in staging succeeded" in mail["Subject"]
    assert mail["From"] == "deployer@example.org"


def outbox(deployer: DeployerProcess, pipeline: str) -> list[sqlite3.Row]:
    """Rows of the outbox about deployments of a pipeline."""
    query = (
        "SELECT o.* FROM notification_outbox o JOIN deployments d ON d.id = o.deployment"
        " WHERE d.pipeline = ? ORDER BY o.created_at"
    )
    with closing(sqlite3.connect(f"file:{deployer.data_dir}/deployer.db?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(query, (pipeline,)).fetchall()


async def recorded(deployer: DeployerProcess, pipeline: str) -> list[sqlite3.Row]:
    """The same, once nothing of it is pending."""
    return await _once(deployer, pipeline, lambda row: row["status"] != "pending")


async def tried(deployer: DeployerProcess, pipeline: str) -> list[sqlite3.Row]:
    """The same, once each was tried and what came of it is known."""
    return await _once(deployer, pipeline, lambda row: row["attempts"] > 0 and row["claimed_until"] is None)


async def _once(deployer: DeployerProcess, pipeline: str, wanted: Callable[[sqlite3.Row], bool]) -> list[sqlite3.Row]:
    for _ in itertools.count():
        rows = outbox(deployer, pipeline)
        if all(wanted(row) for row in rows):
            return rows
        await asyncio.sleep(0.02)
    raise AssertionError
