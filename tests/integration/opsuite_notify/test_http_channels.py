"""Webhooks and Slack against a real HTTP server."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from fakes.clock import NOON, FakeClock
from fakes.notify import FakeOutbox

from opsuite_notify.dispatcher import Dispatcher
from opsuite_notify.http_post import HttpPoster
from opsuite_notify.outbox import DeliveryStatus, deliveries_of
from opsuite_notify.port import (
    EnvSecret,
    Message,
    NotNow,
    PagerDutyChannel,
    Refused,
    SendResult,
    Sent,
    SlackChannel,
    WebhookChannel,
)
from opsuite_notify.secrets import SecretSource
from opsuite_notify.senders import ChannelSender

MESSAGE = Message(event="DEPLOYMENT_FAILED", title="läuft nicht", text="", time=NOON, key="deployments/1")


class Receiver:
    """Answers with a script of statuses, then with 200; keeps what it was sent."""

    def __init__(self) -> None:
        self.requests: list[tuple[web.Request, bytes]] = []
        self.script: list[tuple[int, dict[str, str]]] = []
        self.url = ""
        self.is_silent = False

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((request, await request.read()))
        if self.is_silent:
            await asyncio.Event().wait()
        status, headers = self.script.pop(0) if self.script else (200, {})
        return web.Response(status=status, headers=headers, text="hunter2 is what I was told")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    await runner.cleanup()


def a_sender(receiver: Receiver, clock: FakeClock | None = None, **options: Any) -> ChannelSender:
    env = {"KEY": "hunter2", "CHAT_URL": receiver.url}
    return ChannelSender(SecretSource(env=env, allowed_env=env), clock or FakeClock(), **options)


async def send(
    receiver: Receiver, channel: WebhookChannel | SlackChannel | PagerDutyChannel, **options: Any
) -> SendResult:
    async with a_sender(receiver, **options) as sender:
        return await sender.send("01abc", channel, MESSAGE)


async def test_a_webhook_is_signed_over_its_time_and_body(receiver: Receiver) -> None:
    assert await send(receiver, WebhookChannel(receiver.url, EnvSecret("KEY"))) == Sent()

    ((request, body),) = receiver.requests
    signed = request.headers["X-Opsuite-Timestamp"].encode() + b"." + body
    assert request.headers["X-Opsuite-Signature"] == "sha256=" + hmac.digest(b"hunter2", signed, hashlib.sha256).hex()
    assert request.headers["X-Opsuite-Timestamp"] == str(int(NOON.timestamp()))
    assert request.headers["X-Opsuite-Delivery"] == "01abc"
    assert request.headers["X-Opsuite-Event"] == "DEPLOYMENT_FAILED"
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(body)["title"] == "läuft nicht"


async def test_a_webhook_without_a_secret_is_not_signed(receiver: Receiver) -> None:
    assert await send(receiver, WebhookChannel(receiver.url)) == Sent()

    ((request, _),) = receiver.requests
    assert "X-Opsuite-Signature" not in request.headers


async def test_slack_is_posted_to_the_url_that_the_secret_holds(receiver: Receiver) -> None:
    assert await send(receiver, SlackChannel(EnvSecret("CHAT_URL"))) == Sent()

    ((_, body),) = receiver.requests
    assert json.loads(body)["text"] == "läuft nicht"


@pytest.mark.parametrize(
    ("status", "result"),
    [(202, Sent()), (400, Refused("HTTP 400")), (429, NotNow("HTTP 429")), (500, NotNow("HTTP 500"))],
)
async def test_pagerduty_gets_events_with_the_key_that_the_secret_holds(
    receiver: Receiver, status: int, result: SendResult
) -> None:
    receiver.script = [(status, {})]

    assert await send(receiver, PagerDutyChannel(EnvSecret("KEY"), receiver.url)) == result

    ((request, body),) = receiver.requests
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(body)["routing_key"] == "hunter2"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 599])
async def test_statuses_that_pass_are_worth_another_try(receiver: Receiver, status: int) -> None:
    receiver.script = [(status, {"Retry-After": "7"})]

    assert await send(receiver, WebhookChannel(receiver.url)) == NotNow(f"HTTP {status}", timedelta(seconds=7))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
async def test_statuses_that_stay_are_final_and_the_answer_is_not_quoted(receiver: Receiver, status: int) -> None:
    receiver.script = [(status, {})]

    assert await send(receiver, WebhookChannel(receiver.url)) == Refused(f"HTTP {status}")


async def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.script = [(307, {"Location": receiver.url})]

    assert await send(receiver, WebhookChannel(receiver.url)) == Refused("HTTP 307")
    assert len(receiver.requests) == 1


async def test_a_receiver_that_never_answers_is_left_at_the_timeout(receiver: Receiver) -> None:
    receiver.is_silent = True

    result = await send(receiver, WebhookChannel(receiver.url), timeout=timedelta(milliseconds=50))

    assert result == NotNow("no answer within 0.05 s")


async def test_a_refused_connection_is_worth_another_try(receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]

    assert isinstance(await send(receiver, WebhookChannel(f"http://127.0.0.1:{port}/hook")), NotNow)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://127.0.0.1/", "", "http://", "http://[::1", "//127.0.0.1/", "http://a\r\nb/"]
)
async def test_a_url_that_is_not_of_http_is_final(receiver: Receiver, url: str) -> None:
    assert isinstance(await send(receiver, WebhookChannel(url)), Refused)


async def test_hosts_outside_of_the_list_are_refused_before_anything_is_sent(receiver: Receiver) -> None:
    disguised = f"http://hooks.example.org@{receiver.url.removeprefix('http://')}"
    elsewhere = HttpPoster(FakeClock(), allowed_hosts=frozenset({"hooks.example.org"}))
    here = HttpPoster(FakeClock(), allowed_hosts=frozenset({"127.0.0.1"}))

    assert isinstance(await send(receiver, WebhookChannel(receiver.url), http=elsewhere), Refused)
    assert isinstance(await send(receiver, WebhookChannel(disguised), http=elsewhere), Refused)
    assert receiver.requests == []
    assert await send(receiver, WebhookChannel(receiver.url), http=here) == Sent()


async def test_a_missing_secret_is_worth_another_try_and_a_forbidden_one_is_not(
    receiver: Receiver,
) -> None:
    missing = SecretSource(env={}, allowed_env=["KEY"])
    async with ChannelSender(missing, FakeClock()) as sender:
        assert isinstance(await sender.send("1", WebhookChannel(receiver.url, EnvSecret("KEY")), MESSAGE), NotNow)
        assert isinstance(await sender.send("1", WebhookChannel(receiver.url, EnvSecret("HOME")), MESSAGE), Refused)
    assert receiver.requests == []


async def test_a_delivery_that_met_an_error_arrives_later_under_the_same_id(receiver: Receiver) -> None:
    receiver.script = [(500, {"Retry-After": "30"})]
    clock, outbox = FakeClock(), FakeOutbox()
    outbox.add_deliveries(deliveries_of(MESSAGE, {"hook": WebhookChannel(receiver.url)}, NOON), NOON)

    async with a_sender(receiver, clock) as sender:
        dispatcher = Dispatcher(outbox, sender, clock)
        await dispatcher.send_due()
        clock.advance(timedelta(seconds=29))
        assert await dispatcher.send_due() == 0, "the receiver asked for 30 s"
        clock.advance(timedelta(seconds=1))
        await dispatcher.send_due()

    (row,) = outbox.rows.values()
    assert row.status is DeliveryStatus.SENT
    assert {request.headers["X-Opsuite-Delivery"] for request, _ in receiver.requests} == {row.delivery.id}
    assert len(receiver.requests) == 2
