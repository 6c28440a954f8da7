"""Builds the gateway out of its parts: the only place where classes meet."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import structlog
from aiohttp import web

from opsuite_gateway.http.answers import answered
from opsuite_gateway.http.api import Api
from opsuite_gateway.http.contract import Contract
from opsuite_gateway.http.health import Health
from opsuite_gateway.http.oidc import Oidc, OidcSettings
from opsuite_gateway.http.sessions import Sessions, session_key
from opsuite_gateway.http.short_paths import ShortPaths
from opsuite_gateway.http.signing_in import SigningIn
from opsuite_gateway.settings import Settings
from opsuite_gateway.upstreams import SERVICES, open_upstreams
from opsuite_gateway.watching import SharedWatches
from opsuite_kernel.clock import SystemClock
from opsuite_kernel.errors import InvalidInput, NotFound, Violation
from opsuite_rpc.channel import Target, Tls, default_target
from opsuite_storage import lock
from opsuite_telemetry import logs

log = structlog.get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Run the gateway until SIGTERM or SIGINT, then let requests under way end."""
    logs.configure(
        settings.log_level,
        json=None if settings.log_format == "auto" else settings.log_format == "json",
        service="gateway",
    )
    async with AsyncExitStack() as stack:
        addresses = await start(settings, stack)
        log.info("gateway_started", addresses=addresses)
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        await stopped.wait()
        log.info("gateway_stopping")


async def start(settings: Settings, stack: AsyncExitStack) -> list[str]:
    """Open everything and listen; where, is given back, with the ports that were chosen for those asked as 0.

    Raises InvalidInput with all that is wrong with the settings.
    """
    tls = _tls(settings)
    _refuse_open_ports(settings, tls)
    held = lock.hold(settings.data_dir)
    stack.callback(held.release)
    upstreams = await open_upstreams(targets(settings), stack)
    is_secure = settings.public_url.startswith("https:") or tls is not None
    key = session_key(settings.data_dir)
    sessions = Sessions(key, SystemClock(), lasts=settings.session, is_secure=is_secure)
    signing_in = SigningIn(sessions, upstreams)
    watches = SharedWatches()
    stack.push_async_callback(watches.close)
    api = Api(upstreams, sessions.caller_of, watches, most_streams=settings.streams)
    application = web.Application(middlewares=[answered], client_max_size=settings.body_bytes)
    oidc = _oidc(settings, key, sessions, is_secure=is_secure)
    application.add_routes(
        [
            *(oidc.routes() if oidc else []),
            web.get("/health", Health(upstreams).handle),
            web.get("/openapi.json", Contract().handle),
            web.post("/session", signing_in.sign_in),
            web.get("/session", signing_in.session),
            web.delete("/session", signing_in.sign_out),
            *(ShortPaths(upstreams["deployer"], sessions.caller_of).routes() if "deployer" in upstreams else []),
            web.route("*", "/{path:.*}", api.handle),
        ]
    )
    application.on_shutdown.append(lambda _: api.end_streams())
    runner = web.AppRunner(
        application, handle_signals=False, access_log=None, shutdown_timeout=settings.drain_grace.total_seconds()
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    for address in settings.listen:
        host, _, port = address.rpartition(":")
        await web.TCPSite(runner, host.strip("[]"), int(port), ssl_context=tls).start()
    return [f"{one[0]}:{one[1]}" for one in runner.addresses]


def targets(settings: Settings) -> Mapping[str, Target]:
    """Where the services are: those that the settings name, and those whose sockets are in the suite's directory."""
    given = {
        "deployer": settings.deployer_address,
        "scaler": settings.scaler_address,
        "healer": settings.healer_address,
    }
    tls = Tls(settings.peer_ca_file, settings.peer_cert_file, settings.peer_key_file)
    chosen = {}
    for name in SERVICES:
        target = default_target(name)
        if given[name]:
            target = replace(target, address=given[name], tls=tls if tls != Tls() else None)
        elif not Path(target.address.removeprefix("unix://")).exists():
            continue
        chosen[name] = target
    return chosen


def _oidc(settings: Settings, key: bytes, sessions: Sessions, *, is_secure: bool) -> Oidc | None:
    """Signing in at an OpenID provider, if there is one. Raises InvalidInput, NotFound."""
    if not settings.oidc_issuer:
        return None
    if not settings.oidc_client_id or not settings.public_url:
        wanted = [name for name in ("oidc_client_id", "public_url") if not getattr(settings, name)]
        raise InvalidInput([Violation(name, "is wanted where there is an oidc_issuer", "REQUIRED") for name in wanted])
    secret = ""
    if settings.oidc_client_secret_file is not None:
        try:
            secret = settings.oidc_client_secret_file.read_text().strip()
        except OSError as error:
            raise NotFound("file", str(settings.oidc_client_secret_file)) from error
    provider = OidcSettings(
        settings.oidc_issuer, settings.oidc_client_id, secret, settings.public_url, settings.oidc_scopes
    )
    return Oidc(provider, key, sessions, SystemClock(), is_secure=is_secure)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput([Violation("tls_cert_file", f"cannot be used: {error}")]) from error
    return context


def _refuse_open_ports(settings: Settings, tls: ssl.SSLContext | None) -> None:
    """Tokens travel here: over TLS, or on this machine alone."""
    violations = []
    for address in settings.listen:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            violations.append(Violation("listen", f"{address} is not host:port"))
        elif tls is None and host not in {"127.0.0.1", "[::1]", "localhost"}:
            violations.append(Violation("listen", f"{address} is open to other machines and wants a certificate"))
    if violations:
        raise InvalidInput(violations)
