"""Builds the healer out of its parts, and serves it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

import opsuite_healer
from opsuite_healer.adapters import tables
from opsuite_healer.adapters.feeds import Feeds
from opsuite_healer.adapters.platforms import PlatformSettings, platforms
from opsuite_healer.adapters.unit import EVENTS, WAKE_CHANNEL, SqlStore
from opsuite_healer.composition.actions import actions
from opsuite_healer.composition.alerts import alerts
from opsuite_healer.composition.checks import checks
from opsuite_healer.composition.house import House, Part
from opsuite_healer.composition.incidents import incidents
from opsuite_healer.composition.remediation import remediation
from opsuite_healer.composition.runbooks import runbooks
from opsuite_healer.settings import Settings
from opsuite_kernel.clock import SystemClock
from opsuite_kernel.tasks import end
from opsuite_notify.secrets import SecretSource
from opsuite_platforms.docker import DEFAULT_URL
from opsuite_platforms.kubernetes_api import KubernetesApi
from opsuite_platforms.spawner.client import Spawner
from opsuite_rpc.served import access_control, server_settings
from opsuite_rpc.server import RpcServer, Telemetry
from opsuite_runs import events as event_log
from opsuite_runs import idempotency
from opsuite_runs.audit_log import SqlAuditLog
from opsuite_runs.background import repeat, supervised
from opsuite_runs.lease import new_owner
from opsuite_runs.reading import news, reader
from opsuite_runs.watch import Hub
from opsuite_storage import lock
from opsuite_storage.listen import Listener
from opsuite_storage.migrations import migrate
from opsuite_storage.pages import open_pages
from opsuite_storage.store import open_store
from opsuite_telemetry import logs
from opsuite_telemetry.metrics import new_registry
from opsuite_telemetry.tracing import Tracing, TracingSettings
from opsuite_validation.commands import ALLOWED_NAMES, CommandPolicy

log = structlog.get_logger(__name__)

MIGRATIONS: Final = Path(opsuite_healer.__file__).parent / "adapters" / "migrations"
TIDY_EVERY: Final = timedelta(minutes=10)
KEEP_REQUESTS: Final = timedelta(days=1)
PORT: Final = 7402


async def serve(settings: Settings) -> None:
    """Run the healer until SIGTERM or SIGINT, then drain it."""
    logs.configure(
        settings.log_level,
        json=None if settings.log_format == "auto" else settings.log_format == "json",
        service="healer",
    )
    # The spawner comes first: it has to be started before gRPC brings threads into the process.
    spawner = await Spawner.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(spawner.close)
        server = await build(settings, spawner, stack)
        gc.freeze()  # what was built stays as long as the process, so no collection needs to look at it again
        await server.serve_until_signal()


async def build(settings: Settings, spawner: Spawner, stack: AsyncExitStack) -> RpcServer:
    """Open everything and recover what an earlier process left behind; `stack` closes it all again, in order."""
    registry = new_registry()
    tracing = Tracing(
        TracingSettings("opsuite-healer", sampled_share=settings.trace_ratio, endpoint=settings.otlp_endpoint or None)
    )
    stack.push_async_callback(asyncio.to_thread, tracing.close)
    house = await open_house(settings, spawner, registry, tracing, stack)
    parts = _parts(house)
    audit_log = SqlAuditLog(house.database, tables.audit, house.clock)
    server = RpcServer(
        [service for part in parts for service in part.services],
        access=access_control(settings, settings.data_dir, house.clock),
        settings=server_settings(settings, _addresses(settings)),
        audit=audit_log,
        telemetry=Telemetry(tracing.tracer("opsuite.rpc"), registry, settings.metrics_namespace),
        draining=house.draining,
        clock=house.clock,
    )
    await run_beside(house, parts, stack)
    return server


def _parts(house: House) -> Sequence[Part]:
    """Every part, on those before it; where two need one another, one asks for the other when it needs it first."""
    opened = incidents(house, lambda: told.quiet)
    told = alerts(house, opened)
    checked = checks(house, told.troubles_of)
    doing = actions(house, opened.messages_of, lambda: written.runner)
    written = runbooks(house, doing.actions, opened.book_of)
    mending = remediation(
        house,
        doing=doing,
        health=checked.health,
        quiet=told.quiet,
        book_of=opened.book_of,
        messages_of=opened.messages_of,
    )
    return [opened.part, told.part, checked.part, written.part, mending]


async def open_house(
    settings: Settings, spawner: Spawner, registry: CollectorRegistry, tracing: Tracing, stack: AsyncExitStack
) -> House:
    """Everything that the parts stand on; `stack` closes it again."""
    clock = SystemClock()
    held = lock.hold(settings.data_dir)
    stack.callback(held.release)
    commands = command_policy(settings)
    for root in commands.roots:
        root.mkdir(parents=True, exist_ok=True)
    database = open_store(
        settings.database_url.get_secret_value(), data_dir=settings.data_dir, name="healer", clock=clock
    )
    stack.push_async_callback(database.close)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells every start what it found; we say what matters
    log.info("database_ready", dialect=database.dialect, revision=await migrate(database, MIGRATIONS))
    life = await database.read(lambda connection: event_log.life(connection, tables.events))
    draining = asyncio.Event()
    hub = Hub(reader(database, tables.events), clock, draining=draining)
    owner = new_owner()
    cluster = KubernetesApi(settings.kubeconfig, context=settings.kubernetes_context or None)
    stack.push_async_callback(cluster.close)
    return House(
        settings=settings,
        clock=clock,
        stack=stack,
        database=database,
        pages=await open_pages(database, clock),
        store=SqlStore(database, hub, owner, clock),
        hub=hub,
        feeds=Feeds(hub, life),
        owner=owner,
        is_alone=database.dialect == "sqlite",
        draining=draining,
        platforms=platforms(_platform_settings(settings), cluster, clock, stack),
        cluster=cluster,
        secrets=SecretSource(env=os.environ, allowed_env=settings.secret_env, directory=settings.secrets_dir),
        spawner=spawner,
        commands=commands,
        registry=registry,
        tracer=tracing.tracer("opsuite.healer"),
    )


async def run_beside(house: House, parts: Sequence[Part], stack: AsyncExitStack) -> None:
    """Start what runs beside the server, and recover."""
    listener = Listener(house.database, WAKE_CHANNEL, lambda payload: _heard(house, payload))
    await listener.start()
    stack.push_async_callback(listener.close)
    background: list[Callable[[], Awaitable[None]]] = [
        *(work for part in parts for work in part.background),
        lambda: repeat(TIDY_EVERY, lambda: _tidy(house, parts)),
        lambda: _end_watches(house),
    ]
    if not house.is_alone:
        background.append(lambda: repeat(house.settings.poll_every, news(house.database, tables.events, house.hub)))
    for work in background:
        stack.push_async_callback(end, asyncio.create_task(supervised(work)))
    for part in parts:
        for drain in reversed(part.drain):
            stack.push_async_callback(drain)
    for part in parts:
        for recover in part.recover:
            await recover()


def _heard(house: House, payload: str) -> None:
    """Another replica has done something; an empty payload means that nobody knows what."""
    if not payload:
        house.hub.wake()
        house.store.heard_nothing()
        return
    about, whose, run = payload.split(" ", 2)
    if whose == house.owner:
        return
    if about == EVENTS:
        house.hub.wake()
    else:
        house.store.heard(about, run)


async def _tidy(house: House, parts: Sequence[Part]) -> None:
    now = house.clock.now()
    await house.database.write(
        lambda connection: idempotency.forget_before(connection, tables.requests, now - KEEP_REQUESTS)
    )
    for part in parts:
        for tidy in part.tidy:
            await tidy(now)


def command_policy(settings: Settings) -> CommandPolicy:
    """What checks and runbooks may start, and where it may work."""
    return CommandPolicy(
        allowed_names=frozenset(settings.command_names) or ALLOWED_NAMES,
        trusted_directories=settings.trusted_directories,
        roots=tuple(root.absolute() for root in settings.roots) or (settings.data_dir.absolute() / "work",),
    )


def _addresses(settings: Settings) -> Sequence[str]:
    """Where the server listens."""
    return settings.listen or (f"unix://{settings.data_dir.absolute()}/run/healer.sock", f"127.0.0.1:{PORT}")


def _platform_settings(settings: Settings) -> PlatformSettings:
    first, _, last = settings.workload_ports.partition("-")
    return PlatformSettings(
        directory=settings.platform_dir.absolute(),
        ports=range(int(first), int(last or first) + 1),
        docker_url=settings.docker_url or os.environ.get("DOCKER_HOST") or DEFAULT_URL,
        namespace=settings.kubernetes_namespace,
    )


async def _end_watches(house: House) -> None:
    await house.draining.wait()
    house.hub.end_all()
