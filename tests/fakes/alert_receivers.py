"""Receivers of messages on a real socket: they judge what they get by the published schemas, and answer by them.

PagerDuty: Events API v2, `POST /v2/enqueue` (developer.pagerduty.com/api-reference/events-v2). Slack: incoming
webhooks and their attachments (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from aiohttp import web

Body = dict[str, Any]
LARGEST: Final = 512 * 1024
ROUTING_KEY_LENGTH: Final = 32

EVENT: Final[Mapping[str, type]] = {
    "routing_key": str,
    "event_action": str,
    "dedup_key": str,
    "payload": dict,
    "images": list,
    "links": list,
    "client": str,
    "client_url": str,
}
PAYLOAD: Final[Mapping[str, type]] = {
    "summary": str,
    "source": str,
    "severity": str,
    "timestamp": str,
    "component": str,
    "group": str,
    "class": str,
    "custom_details": dict,
}
ATTACHMENT: Final[Mapping[str, type]] = {
    "fallback": str,
    "color": str,
    "title": str,
    "title_link": str,
    "text": str,
    "fields": list,
    "ts": int,
}


def pagerduty_faults(raw: bytes) -> list[str]:
    """What PagerDuty would not take of an event."""
    event: Body = json.loads(raw)
    faults = [*_misfits(event, EVENT), *(["too large"] if len(raw) > LARGEST else [])]
    if len(event.get("routing_key", "")) != ROUTING_KEY_LENGTH:
        faults.append("routing_key is not of 32 characters")
    if event.get("event_action") not in ("trigger", "acknowledge", "resolve"):
        faults.append("event_action is none of trigger, acknowledge, resolve")
    if len(event.get("dedup_key", "")) > 255:
        faults.append("dedup_key is longer than 255 characters")
    if event.get("event_action") != "trigger":
        return faults + ([] if event.get("dedup_key") else ["dedup_key is required"])
    return faults + _payload_faults(event.get("payload", {})) + _link_faults(event.get("links", []))


def _payload_faults(payload: Body) -> list[str]:
    faults = [*_misfits(payload, PAYLOAD)]
    faults += [f"payload.{name} is required" for name in ("summary", "source", "severity") if not payload.get(name)]
    if payload.get("severity") not in ("critical", "error", "warning", "info"):
        faults.append("payload.severity is unknown")
    if len(payload.get("summary", "")) > 1024:
        faults.append("payload.summary is longer than 1024 characters")
    if "timestamp" in payload and datetime.fromisoformat(payload["timestamp"]).tzinfo is None:
        faults.append("payload.timestamp has no zone")
    return faults


def _link_faults(links: Sequence[Body]) -> list[str]:
    return [f"a link has no {name}" for link in links for name in ("href", "text") if not link.get(name)]


def slack_faults(raw: bytes) -> list[str]:
    """What Slack would not take of a message."""
    body: Body = json.loads(raw)
    faults = [*_misfits(body, {"text": str, "attachments": list, "blocks": list})]
    if not body.get("text") and not body.get("attachments"):
        faults.append("no_text")
    for attachment in body.get("attachments", []):
        faults += _misfits(attachment, ATTACHMENT)
        faults += [] if attachment.get("fallback") else ["an attachment has no fallback"]
        for field in attachment.get("fields", []):
            faults += _misfits(field, {"title": str, "value": str, "short": bool})
    return faults


def _misfits(body: Body, shape: Mapping[str, type]) -> list[str]:
    unknown = [f"{name} is not known" for name in body if name not in shape]
    return unknown + [f"{name} is no {kind.__name__}" for name, kind in shape.items() if not _is(body, name, kind)]


def _is(body: Body, name: str, kind: type) -> bool:
    return name not in body or isinstance(body[name], kind)


class Receivers:
    """What each path got, in order, and what was wrong with it."""

    def __init__(self) -> None:
        self.url = ""
        self.got: dict[str, list[Body]] = {"pagerduty": [], "slack": [], "webhook": []}
        self.faults: list[str] = []
        self.statuses: list[int] = []
        """Answers of the webhook, first to last; 200 when there are none left."""
        self.deliveries: list[str] = []
        """Ids of what the webhook got; a repetition has the same one."""
        self._news = asyncio.Condition()

    async def until(self, path: str, count: int) -> Sequence[Body]:
        """What a path got, once that is so much. Only a test that hangs waits for long."""
        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(lambda: len(self.got[path]) >= count)
            return list(self.got[path])

    async def _keep(self, path: str, raw: bytes) -> None:
        async with self._news:
            self.got[path].append(json.loads(raw))
            self._news.notify_all()

    async def pagerduty(self, request: web.Request) -> web.Response:
        """202 for an event of the right shape, else 400."""
        return await self._judged(request, "pagerduty", pagerduty_faults, 202)

    async def slack(self, request: web.Request) -> web.Response:
        """200 for a message of the right shape, else 400."""
        return await self._judged(request, "slack", slack_faults, 200)

    async def webhook(self, request: web.Request) -> web.Response:
        """The next status that a test has set."""
        raw = await request.read()
        status = self.statuses.pop(0) if self.statuses else 200
        self.deliveries.append(request.headers["X-Opsuite-Delivery"])
        await self._keep("webhook", raw)
        return web.Response(status=status)

    async def _judged(
        self, request: web.Request, path: str, judge: Callable[[bytes], list[str]], good: int
    ) -> web.Response:
        raw = await request.read()
        faults = judge(raw)
        self.faults += faults
        await self._keep(path, raw)
        return web.Response(status=400 if faults else good)


@asynccontextmanager
async def alert_receivers() -> AsyncIterator[Receivers]:
    """Receivers that listen on loopback."""
    receivers = Receivers()
    app = web.Application()
    app.router.add_post("/v2/enqueue", receivers.pagerduty)
    app.router.add_post("/slack", receivers.slack)
    app.router.add_post("/webhook", receivers.webhook)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receivers.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receivers
    finally:
        await runner.cleanup()
