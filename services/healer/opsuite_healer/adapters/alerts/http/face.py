"""Alertmanager's HTTP API, version 2, and a place for the webhooks of other Alertmanagers.

Prometheus and amtool speak to it as to an Alertmanager. A bearer token is asked for, the one that gRPC takes too;
without TLS only loopback is listened on.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp import web

from opsuite_healer.adapters.alerts.http import bodies
from opsuite_healer.adapters.alerts.http.configuration import configuration, receiver_names
from opsuite_healer.adapters.alerts.http.guard import Caller, Guard, Handler
from opsuite_healer.adapters.alerts.queries import Listed, Queries, receiver_name
from opsuite_healer.application.alerts.alerts import Alerting
from opsuite_healer.application.alerts.silencing import Silencing
from opsuite_healer.domain.alerts.labels import asked_of
from opsuite_healer.domain.alerts.matching import Matcher, Operator, all_match, parse
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.limits import CallClass
from opsuite_rpc.settings import CannotServe, TlsFiles, is_loopback

LARGEST_BODY: Final = 4 * 1024 * 1024
READ: Final = "alerts.read"
PUSH: Final = "alerts.push"
CONTROL: Final = "alerts.control"


class AlertsFace:
    """Serves it."""

    def __init__(
        self, alerting: Alerting, silencing: Silencing, queries: Queries, guard: Guard, clock: Clock, version: str
    ) -> None:
        self._alerting = alerting
        self._silencing = silencing
        self._queries = queries
        self._clock = clock
        self._version = version
        self._started_at = clock.now()
        app = web.Application(client_max_size=LARGEST_BODY)
        app.add_routes([web.get("/-/healthy", _fine), web.get("/-/ready", _fine)])
        for method, path, permission, handler in self._handlers():
            kind = CallClass.READ if permission == READ else CallClass.WRITE
            app.router.add_route(method, path, guard.wrap(permission, kind, handler))
        self._runner = web.AppRunner(app, access_log=None)
        self.address = ""
        """Where it listens, with the real port; empty before `start`."""

    def _handlers(self) -> Sequence[tuple[str, str, str, Handler]]:
        return (
            ("GET", "/api/v2/status", READ, self._status),
            ("GET", "/api/v2/receivers", READ, self._receivers),
            ("GET", "/api/v2/alerts", READ, self._alerts),
            ("POST", "/api/v2/alerts", PUSH, self._push),
            ("GET", "/api/v2/alerts/groups", READ, self._groups),
            ("GET", "/api/v2/silences", READ, self._silences),
            ("POST", "/api/v2/silences", CONTROL, self._put_silence),
            ("GET", "/api/v2/silence/{id}", READ, self._silence),
            ("DELETE", "/api/v2/silence/{id}", CONTROL, self._expire),
            ("POST", "/webhook", PUSH, self._webhook),
        )

    async def start(self, address: str, tls: TlsFiles | None) -> None:
        """Listen at "host:port". Raises CannotServe."""
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise CannotServe([Violation("alerts_listen", f"{address} must be host:port")])
        if tls is None and not is_loopback(address):
            told = f"{address} can be reached from other machines and needs TLS"
            raise CannotServe([Violation("alerts_listen", told)])
        await self._runner.setup()
        site = web.TCPSite(
            self._runner,
            host.strip("[]"),
            int(port),
            ssl_context=_context(tls) if tls else None,
            shutdown_timeout=1,
            reuse_port=False,
        )
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            told = f"{address} cannot be bound: {error.strerror}"
            raise CannotServe([Violation("alerts_listen", told)]) from error
        self.address = f"{host}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    # about the server

    async def _status(self, _request: web.Request, _caller: Caller) -> web.Response:
        record = await self._alerting.routing()
        return web.json_response(
            {
                "cluster": {"name": "", "peers": [], "status": "disabled"},
                "config": {"original": configuration(record.router)},
                "uptime": bodies.time_text(self._started_at),
                "versionInfo": {
                    "branch": "",
                    "buildDate": "",
                    "buildUser": "",
                    "goVersion": "",
                    "revision": "",
                    "version": f"opsuite {self._version}".strip(),
                },
            }
        )

    async def _receivers(self, _request: web.Request, _caller: Caller) -> web.Response:
        record = await self._alerting.routing()
        return web.json_response([{"name": name} for name in receiver_names(record.router)])

    # alerts

    async def _push(self, request: web.Request, caller: Caller) -> web.Response:
        alerts = bodies.alerts_in(bodies.parsed(await request.read()))
        if alerts:
            await self._alerting.push(alerts, caller.quiet_call, caller.traceparent)
        return web.json_response({})

    async def _webhook(self, request: web.Request, caller: Caller) -> web.Response:
        alerts = bodies.webhook_alerts(bodies.parsed(await request.read()), self._clock.now())
        if alerts:
            await self._alerting.push(alerts, caller.quiet_call, caller.traceparent)
        return web.json_response({})

    async def _alerts(self, request: web.Request, _caller: Caller) -> web.Response:
        matchers, wanted, receiver = _filters(request), _wanted(request), _receiver(request)
        found = await self._queries.all_firing()

        def render() -> list[Any]:
            shown = [
                bodies.alert_out(one, receivers)
                for one, receivers in found
                if _is_shown(one, matchers, wanted) and _has(receiver, receivers)
            ]
            return sorted(shown, key=lambda one: str(one["fingerprint"]))

        return await _rendered(render)

    async def _groups(self, request: web.Request, _caller: Caller) -> web.Response:
        matchers, wanted, receiver = _filters(request), _wanted(request), _receiver(request)
        groups = await self._queries.all_groups()

        def render() -> list[Any]:
            found = []
            for group in groups:
                shown = [one for one in group.alerts if one.known.is_firing and _is_shown(one, matchers, wanted)]
                if shown and _has(receiver, [receiver_name(group.receivers)]):
                    found.append(bodies.group_out(group, shown))
            return found

        return await _rendered(render)

    # silences

    async def _silences(self, request: web.Request, _caller: Caller) -> web.Response:
        matchers = _filters(request)
        silences, now = await self._queries.all_silences()
        shown = [one for one in silences if _is_about(one.matchers, matchers)]
        return web.json_response([bodies.silence_out(one, now) for one in shown])

    async def _silence(self, request: web.Request, _caller: Caller) -> web.Response:
        silence = await self._silencing.get(request.match_info["id"])
        return web.json_response(bodies.silence_out(silence, await self._queries.now()))

    async def _put_silence(self, request: web.Request, caller: Caller) -> web.Response:
        name, wanted = bodies.silence_in(bodies.parsed(await request.read()))
        silence = await self._silencing.put(name, lambda now: bodies.drafted(wanted, now), caller.call())
        return web.json_response({"silenceID": silence.id})

    async def _expire(self, request: web.Request, caller: Caller) -> web.Response:
        name = request.match_info["id"]
        await self._silencing.expire(name, "", "", caller.call(f"silences/{name}"))
        return web.json_response({})


async def _rendered(render: Callable[[], Any]) -> web.Response:
    """Its JSON, made on a thread: there may be a hundred thousand alerts, and others have calls too."""
    return web.Response(text=await asyncio.to_thread(lambda: json.dumps(render())), content_type="application/json")


async def _fine(_request: web.Request) -> web.Response:
    return web.Response(text="OK")


def _filters(request: web.Request) -> list[Matcher]:
    """What is asked of labels. Raises InvalidInput."""
    found: list[Matcher] = []
    violations: list[Violation] = []
    for index, text in enumerate(request.query.getall("filter", [])):
        try:
            found.append(parse(text))
        except ValueError as error:
            violations.append(Violation(f"filter[{index}]", str(error), "SYNTAX"))
    if violations:
        raise InvalidInput(violations)
    return found


def _wanted(request: web.Request) -> dict[str, bool]:
    """Which states are shown: all, unless a parameter says no. Raises InvalidInput."""
    found: dict[str, bool] = {}
    violations: list[Violation] = []
    for name in ("active", "silenced", "inhibited", "unprocessed"):
        text = request.query.get(name, "true")
        found[name] = text == "true"
        if text not in {"true", "false"}:
            violations.append(Violation(name, "is neither true nor false", "TYPE"))
    if violations:
        raise InvalidInput(violations)
    return found


def _receiver(request: web.Request) -> Matcher | None:
    """An expression that the receiver's name matches. Raises InvalidInput."""
    text = request.query.get("receiver", "")
    matcher = Matcher("receiver", Operator.MATCHES, text)
    if problem := matcher.problem():
        raise InvalidInput([Violation("receiver", problem, "PATTERN")])
    return matcher if text else None


def _has(receiver: Matcher | None, names: Sequence[str]) -> bool:
    return receiver is None or any(receiver.matches({"receiver": name}) for name in names)


def _is_shown(listed: Listed, matchers: Sequence[Matcher], wanted: dict[str, bool]) -> bool:
    silenced = any(one.scope.covers_notifications for one in listed.quiet.silences)
    inhibited = any(one.scope.covers_notifications for one in listed.quiet.explained)
    if not wanted["active"] and not silenced and not inhibited:
        return False
    if (silenced and not wanted["silenced"]) or (inhibited and not wanted["inhibited"]):
        return False
    return all_match(matchers, asked_of(listed.known.alert.labels))


def _is_about(own: Sequence[Matcher], asked: Sequence[Matcher]) -> bool:
    """Whether a silence is about what is asked: its matchers are taken as labels, as Alertmanager does."""
    return all_match(asked, {matcher.label: matcher.value for matcher in own})


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.certificate, files.key)
    if files.client_ca is not None:
        context.load_verify_locations(files.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
