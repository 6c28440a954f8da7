"""Builds the scaler out of its parts: the only place where classes meet."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from opsuite.externalscaler import externalscaler_pb2_grpc
from opsuite.scaler.v1 import (
    metrics_service_pb2_grpc,
    pool_service_pb2_grpc,
    scaler_service_pb2_grpc,
    target_service_pb2_grpc,
)
from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import Violation
from opsuite_kernel.tasks import end
from opsuite_platforms.docker import DEFAULT_URL
from opsuite_rpc.channel import default_target
from opsuite_rpc.served import access_control, server_settings
from opsuite_rpc.server import RpcServer, Service, Telemetry
from opsuite_runs import events as event_log
from opsuite_runs.audit_log import SqlAuditLog
from opsuite_runs.background import repeat, supervised
from opsuite_runs.keeper import LeaseKeeper
from opsuite_runs.lease import Leases, new_owner
from opsuite_runs.reading import news, reader
from opsuite_runs.watch import Hub
from opsuite_scaler.adapters import tables
from opsuite_scaler.adapters.database import SqlStore
from opsuite_scaler.adapters.formulas import CelFormulas
from opsuite_scaler.adapters.keda.external_scaler_api import ExternalScalerServicer
from opsuite_scaler.adapters.keda.push import KedaPush
from opsuite_scaler.adapters.keda.waking import PushWaking
from opsuite_scaler.adapters.metrics_api import MetricsServicer
from opsuite_scaler.adapters.observing import Observing
from opsuite_scaler.adapters.points import Points
from opsuite_scaler.adapters.policy_states import PolicyStates
from opsuite_scaler.adapters.pool_api import PoolServicer
from opsuite_scaler.adapters.queries import Queries
from opsuite_scaler.adapters.rehearsing import rehearsing
from opsuite_scaler.adapters.rollouts import DeployerRollouts
from opsuite_scaler.adapters.scaler_api import ScalerServicer
from opsuite_scaler.adapters.target_api import TargetServicer
from opsuite_scaler.adapters.tidying import Keeping, Tidying
from opsuite_scaler.adapters.transaction import EVENTS, WAKE_CHANNEL, WISH
from opsuite_scaler.adapters.watches import Watches
from opsuite_scaler.adapters.world import WorldSettings, build_world
from opsuite_scaler.application.deciders import Deciders
from opsuite_scaler.application.looking import Looking
from opsuite_scaler.application.policies import Policies
from opsuite_scaler.application.pools import Pools
from opsuite_scaler.application.sizes import Sizes
from opsuite_scaler.application.targets import Targets
from opsuite_scaler.domain.policy import ScalingPolicy
from opsuite_scaler.domain.rules import violations
from opsuite_scaler.settings import Settings
from opsuite_storage import lock
from opsuite_storage.listen import Listener
from opsuite_storage.migrations import migrate
from opsuite_storage.pages import open_pages
from opsuite_storage.store import open_store
from opsuite_telemetry import logs
from opsuite_telemetry.metrics import new_registry
from opsuite_telemetry.tracing import Tracing, TracingSettings

log = structlog.get_logger(__name__)

MIGRATIONS: Final = Path(__file__).parent / "adapters" / "migrations"
TIDY_EVERY: Final = timedelta(minutes=10)
REFRESH_EVERY: Final = timedelta(seconds=2)
PORT: Final = 7403


async def serve(settings: Settings) -> None:
    """Run the scaler until SIGTERM or SIGINT, then drain it."""
    logs.configure(
        settings.log_level,
        json=None if settings.log_format == "auto" else settings.log_format == "json",
        service="scaler",
    )
    async with AsyncExitStack() as stack:
        scaler = await build(settings, stack)
        gc.freeze()  # what was built stays as long as the process, so no collection needs to look at it again
        await scaler.server.serve_until_signal()


@dataclass(frozen=True, slots=True)
class Scaler:
    """A scaler that is ready to serve."""

    server: RpcServer
    deciders: Deciders


async def build(settings: Settings, stack: AsyncExitStack) -> Scaler:
    """Open everything and recover what an earlier process left behind; `stack` closes it all again, in order."""
    clock = SystemClock()
    held = lock.hold(settings.data_dir)
    stack.callback(held.release)

    # state
    store = open_store(settings.database_url.get_secret_value(), data_dir=settings.data_dir, name="scaler", clock=clock)
    stack.push_async_callback(store.close)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells every start what it found; we say what matters
    log.info("database_ready", dialect=store.dialect, revision=await migrate(store, MIGRATIONS))
    life = await store.read(lambda connection: event_log.life(connection, tables.events))
    draining = asyncio.Event()
    hub = Hub(reader(store, tables.events), clock, draining=draining)
    owner = new_owner()
    leases = Leases(tables.targets, lease=settings.lease)
    alone = store.dialect == "sqlite"
    keeper = LeaseKeeper(store, leases, clock, lease=settings.lease, alone=alone)
    transactions = SqlStore(store, leases, hub, owner, clock)
    queries = Queries(store, await open_pages(store, clock))

    # the world
    points = Points(store)
    world = build_world(_world_settings(settings), points, clock, stack)
    rollouts = _rollouts(settings, clock)
    if rollouts is not None:
        stack.push_async_callback(rollouts.close)
    rehearsals = rehearsing(store, transactions, clock, ranges=world.ranges)
    stack.push_async_callback(rehearsals.close)
    formulas = CelFormulas()

    # telling of it
    registry = new_registry()
    tracing = Tracing(
        TracingSettings("opsuite-scaler", sampled_share=settings.trace_ratio, endpoint=settings.otlp_endpoint or None)
    )
    stack.push_async_callback(asyncio.to_thread, tracing.close)
    observing = Observing(tracing.tracer("opsuite.scaler"), registry, settings.metrics_namespace)
    audit_log = SqlAuditLog(store, tables.audit, clock)

    # the work
    looking = Looking(
        targets=world.targets, sources=world.sources, rollouts=rollouts, foresight=rehearsals.forecasts, clock=clock
    )
    pushes = PushWaking(KedaPush(world.keda), lambda policy: deciders.nudge(policy))
    stack.push_async_callback(pushes.close)
    deciders = Deciders(
        store=transactions,
        targets=Targets(
            store=transactions,
            looking=looking,
            leases=keeper,
            clock=clock,
            formulas=formulas,
            watcher=observing,
            pushes=pushes,
        ),
        leases=keeper,
        clock=clock,
        poll_every=settings.poll_every,
        alone=alone,
        at_once=settings.looks_at_once,
    )
    keeper.on_lost = deciders.lost
    transactions.on_wish = deciders.nudge
    observing.attended.set_function(lambda: deciders.count)

    # the face
    policies = Policies(
        store=transactions,
        looking=looking,
        sources=world.sources,
        judge=_judge(formulas),
        clock=clock,
        formulas=formulas,
    )
    states = PolicyStates(policies)
    observing.on_look = states.changed
    access = access_control(settings, settings.data_dir, clock)
    server = RpcServer(
        [
            Service(
                ScalerServicer(policies, queries, Watches(transactions, hub, clock, life), formulas, clock),
                scaler_service_pb2_grpc.add_ScalerServiceServicer_to_server,
                "opsuite.scaler.v1.ScalerService",
            ),
            Service(
                TargetServicer(Sizes(transactions, world.targets, clock)),
                target_service_pb2_grpc.add_ScalableTargetServiceServicer_to_server,
                "opsuite.scaler.v1.ScalableTargetService",
            ),
            Service(
                MetricsServicer(points, queries, world.sources, world.targets, clock),
                metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server,
                "opsuite.scaler.v1.MetricsService",
            ),
            Service(
                PoolServicer(Pools(transactions), queries),
                pool_service_pb2_grpc.add_CapacityPoolServiceServicer_to_server,
                "opsuite.scaler.v1.CapacityPoolService",
            ),
            Service(
                ExternalScalerServicer(states, draining=draining),
                externalscaler_pb2_grpc.add_ExternalScalerServicer_to_server,
                "externalscaler.ExternalScaler",
            ),
            *rehearsals.services,
        ],
        access=access,
        settings=server_settings(settings, _addresses(settings)),
        audit=audit_log,
        telemetry=Telemetry(tracing.tracer("opsuite.rpc"), registry, settings.metrics_namespace),
        draining=draining,
        clock=clock,
    )

    # what runs beside it
    listener = Listener(store, WAKE_CHANNEL, lambda payload: _wake(deciders, hub, states, owner, payload))
    await listener.start()
    stack.push_async_callback(listener.close)
    keeping = Keeping(settings.keep_activities, settings.keep_observations, settings.keep_points)
    background: list[Callable[[], Awaitable[None]]] = [
        keeper.run,
        deciders.watch_over,
        lambda: repeat(TIDY_EVERY, Tidying(store, clock, keeping).run),
        lambda: _end_watches(draining, hub),
    ]
    if not alone:
        background.append(lambda: repeat(settings.poll_every, news(store, tables.events, hub)))
    for work in background:
        stack.push_async_callback(end, asyncio.create_task(supervised(work)))
    stack.push_async_callback(deciders.close)
    stack.push_async_callback(deciders.drain)
    await deciders.recover()
    return Scaler(server, deciders)


def _addresses(settings: Settings) -> Sequence[str]:
    """Where the server listens."""
    return settings.listen or (f"unix://{settings.data_dir.absolute()}/run/scaler.sock", f"127.0.0.1:{PORT}")


def _world_settings(settings: Settings) -> WorldSettings:
    first, _, last = settings.workload_ports.partition("-")
    return WorldSettings(
        platform_dir=settings.platform_dir.absolute(),
        ports=range(int(first), int(last or first) + 1),
        docker_url=settings.docker_url or os.environ.get("DOCKER_HOST") or DEFAULT_URL,
        kubeconfig=settings.kubeconfig,
        kubernetes_context=settings.kubernetes_context,
        kubernetes_namespace=settings.kubernetes_namespace,
        sources_file=settings.sources_file,
        secrets_dir=settings.secrets_dir,
        secret_env=settings.secret_env,
        peer_ca=settings.peer_ca_file,
        peer_certificate=settings.peer_cert_file,
        peer_key=settings.peer_key_file,
        target_token=settings.target_token_file,
    )


def _rollouts(settings: Settings, clock: Clock) -> DeployerRollouts | None:
    """Who tells what is being rolled out."""
    if not settings.deployer_address:
        return None
    # By its address, since the token of this machine is shown to this machine alone.
    target = default_target("deployer", os.environ | {"OPSUITE_DEPLOYER_ADDRESS": settings.deployer_address})
    if settings.deployer_token_file is not None:
        target = replace(target, token=None, token_file=settings.deployer_token_file)
    return DeployerRollouts(target, clock)


def _judge(formulas: CelFormulas) -> Callable[[ScalingPolicy], Sequence[Violation]]:
    return lambda policy: violations(policy, formulas.names)


def _wake(deciders: Deciders, hub: Hub, states: PolicyStates, owner: str, payload: str) -> None:
    """Another replica has done something; an empty payload means that nobody knows what."""
    about, _, whose = payload.partition(" ")
    if about == WISH:
        deciders.nudge(whose)
    elif about != EVENTS or whose != owner:
        hub.wake()
        states.all_changed()
        if not payload:
            deciders.wake()


async def _end_watches(draining: asyncio.Event, hub: Hub) -> None:
    await draining.wait()
    hub.end_all()
