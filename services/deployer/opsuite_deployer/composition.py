"""Builds the deployer out of its parts: the only place where classes meet."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from opsuite.deployer.v1 import (
    deployment_service_pb2_grpc,
    environment_service_pb2_grpc,
    history_service_pb2_grpc,
    pipeline_service_pb2_grpc,
    traffic_service_pb2_grpc,
    workload_service_pb2_grpc,
)
from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.audit_log import DeployerAuditLog
from opsuite_deployer.adapters.database import SqlStore
from opsuite_deployer.adapters.deployment_api import DeploymentServicer
from opsuite_deployer.adapters.environment_api import EnvironmentServicer
from opsuite_deployer.adapters.history_api import HistoryServicer
from opsuite_deployer.adapters.leftovers import Leftovers
from opsuite_deployer.adapters.log_tail import LogTail
from opsuite_deployer.adapters.machine import LocalMachine, MachinePolicy
from opsuite_deployer.adapters.pipeline_api import PipelineServicer
from opsuite_deployer.adapters.platforms import (
    Cluster,
    ConfiguredPlatforms,
    ConfiguredRouters,
    ProcessSettings,
    workload_processes,
)
from opsuite_deployer.adapters.queries import Queries
from opsuite_deployer.adapters.revisions import RevisionCache
from opsuite_deployer.adapters.route_store import ROUTES, SqlOverrides, SqlRouteStore
from opsuite_deployer.adapters.scaler import NobodyScales, ScalerSizes
from opsuite_deployer.adapters.span_table import SpanTable
from opsuite_deployer.adapters.tidying import Tidying
from opsuite_deployer.adapters.totals import DeploymentMetrics
from opsuite_deployer.adapters.traces import TraceExport, Traces
from opsuite_deployer.adapters.traffic_api import TrafficServicer
from opsuite_deployer.adapters.transaction import EVENTS, WAKE_CHANNEL, WISH
from opsuite_deployer.adapters.watches import Watches
from opsuite_deployer.adapters.workload_api import WorkloadServicer
from opsuite_deployer.application.admission import Rules
from opsuite_deployer.application.checks import Checks
from opsuite_deployer.application.deployments import Deployments
from opsuite_deployer.application.environments import Environments
from opsuite_deployer.application.fleet import Fleet
from opsuite_deployer.application.pipelines import Pipelines
from opsuite_deployer.application.platforms import Sizes
from opsuite_deployer.application.ports import CommandDefaults
from opsuite_deployer.application.preflight import Preflight
from opsuite_deployer.application.retiring import Retiring
from opsuite_deployer.application.rollouts import Rollouts
from opsuite_deployer.application.steps import Steps
from opsuite_deployer.application.traffic import Traffic
from opsuite_deployer.application.upkeep import Upkeep
from opsuite_deployer.application.webhooks import Webhooks
from opsuite_deployer.application.workload_view import Workloads
from opsuite_deployer.domain.turn import Limits
from opsuite_deployer.settings import Settings
from opsuite_kernel.clock import SystemClock
from opsuite_kernel.errors import OpsuiteError
from opsuite_kernel.ids import new_id
from opsuite_kernel.tasks import end
from opsuite_notify.dispatcher import Dispatcher
from opsuite_notify.http_post import HttpPoster
from opsuite_notify.port import EnvSecret
from opsuite_notify.secrets import SecretSource
from opsuite_notify.senders import ChannelSender
from opsuite_notify.smtp import SmtpMailer, SmtpSettings
from opsuite_platforms.docker import DEFAULT_URL, DockerContainers
from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.programs import Keeping
from opsuite_platforms.spawner.client import Spawner
from opsuite_platforms.traffic import ads, messages, stats
from opsuite_platforms.traffic.ads import AdsServer
from opsuite_platforms.traffic.ads import Settings as EdgeSettings
from opsuite_platforms.traffic.envoy import EnvoyRouter
from opsuite_platforms.traffic.stats import EnvoyStats, MetricsServer
from opsuite_platforms.traffic.store import Change
from opsuite_probes.prober import NetworkProber
from opsuite_rpc.channel import default_target
from opsuite_rpc.served import access_control, server_settings
from opsuite_rpc.server import RpcServer, Service, Telemetry
from opsuite_runs import events as event_log
from opsuite_runs.background import repeat, supervised
from opsuite_runs.keeper import LeaseKeeper
from opsuite_runs.lease import Leases, new_owner
from opsuite_runs.outbox import SqlOutbox
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

MIGRATIONS: Final = Path(__file__).parent / "adapters" / "migrations"
TIDY_EVERY: Final = timedelta(minutes=10)
RETIRE_EVERY: Final = timedelta(seconds=1)
REFRESH_EVERY: Final = timedelta(seconds=2)
UPKEEP_EVERY: Final = timedelta(seconds=1)
PORT: Final = 7401


async def serve(settings: Settings) -> None:
    """Run the deployer until SIGTERM or SIGINT, then drain it."""
    logs.configure(
        settings.log_level,
        json=None if settings.log_format == "auto" else settings.log_format == "json",
        service="deployer",
    )
    # The spawner comes first: it has to be started before gRPC brings threads into the process.
    spawner = await Spawner.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(spawner.close)
        deployer = await build(settings, spawner, stack)
        gc.freeze()  # what was built stays as long as the process, so no collection needs to look at it again
        await deployer.server.serve_until_signal()


@dataclass(frozen=True, slots=True)
class Deployer:
    """A deployer that is ready to serve."""

    server: RpcServer
    fleet: Fleet


async def build(settings: Settings, spawner: Spawner, stack: AsyncExitStack) -> Deployer:
    """Open everything and recover what an earlier process left behind; `stack` closes it all again, in order."""
    clock = SystemClock()
    held = lock.hold(settings.data_dir)
    stack.callback(held.release)
    policy = command_policy(settings)
    for root in policy.roots:
        root.mkdir(parents=True, exist_ok=True)

    # state
    store = open_store(
        settings.database_url.get_secret_value(), data_dir=settings.data_dir, name="deployer", clock=clock
    )
    stack.push_async_callback(store.close)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells every start what it found; we say what matters
    log.info("database_ready", dialect=store.dialect, revision=await migrate(store, MIGRATIONS))
    life = await store.read(lambda connection: event_log.life(connection, tables.events))
    draining = asyncio.Event()
    hub = Hub(reader(store, tables.events), clock, draining=draining)
    owner = new_owner()
    leases = Leases(tables.deployments, lease=settings.lease)
    keeper = LeaseKeeper(store, leases, clock, lease=settings.lease, alone=store.dialect == "sqlite")
    revisions = RevisionCache()
    transactions = SqlStore(store, leases, hub, owner, revisions, clock)
    queries = Queries(store, await open_pages(store, clock), revisions)

    # the world
    secrets = SecretSource(env=os.environ, allowed_env=settings.secret_env, directory=settings.secrets_dir)
    machine = LocalMachine(policy, secrets, settings.data_dir)
    containers = DockerContainers(_docker_url(settings), clock=clock)
    stack.push_async_callback(containers.close)
    ports = _port_range(settings.workload_ports)
    own = ProcessSettings(
        settings.data_dir, ports, settings.start_platform, Keeping(settings.start_retries), settings.hosts_file
    )
    processes = workload_processes(own, stack)
    docker = DockerPlatform(settings.data_dir / "docker", _docker_url(settings), ports=ports, clock=clock)
    stack.push_async_callback(docker.close)
    cluster = Cluster(settings.kubeconfig, settings.kubernetes_context, settings.kubernetes_namespace, clock)
    stack.push_async_callback(cluster.close)
    platforms = ConfiguredPlatforms(processes=processes, docker=docker, containers=containers, cluster=cluster)
    prober = await stack.enter_async_context(NetworkProber(clock=clock))
    routes = SqlRouteStore(store)
    edges = AdsServer(routes, settings=EdgeSettings(listen_host=settings.edge_listen_host), clock=clock)
    await edges.start()
    stack.push_async_callback(edges.stop)

    # the work
    audit_log = DeployerAuditLog(store, tables.audit, clock)
    limits = Limits(timeout=timedelta(minutes=settings.deployment_timeout_minutes), starting=settings.starting_timeout)
    rules = Rules(limits, settings.max_concurrent_deployments, new_id)
    router = EnvoyRouter(routes, grace=settings.edge_grace, clock=clock)
    routers = ConfiguredRouters(
        edges=router,
        stats=EnvoyStats(routes, grace=settings.edge_grace, clock=clock),
        cluster=cluster,
    )
    preflight = Preflight(
        machine=machine,
        platforms=platforms,
        routers=routers,
        min_free_bytes=settings.min_free_bytes,
        security=audit_log,
    )
    traffic = Traffic(
        store=transactions,
        routes=routes,
        router=router,
        overrides=SqlOverrides(store),
        platforms=platforms,
        clock=clock,
        grace=settings.edge_grace,
    )
    checks = Checks(prober, clock)
    rollouts = Rollouts(
        store=transactions,
        platforms=platforms,
        routers=routers,
        prober=prober,
        checks=checks,
        machine=machine,
        sizes=_sizes(settings),
        clock=clock,
    )
    retiring = Retiring(transactions, platforms, clock)
    poster = HttpPoster(clock)
    stack.push_async_callback(poster.close)
    steps = Steps(
        commands=spawner,
        platforms=platforms,
        checks=checks,
        rollouts=rollouts,
        webhooks=Webhooks(poster, machine, clock),
        machine=machine,
        clock=clock,
        defaults=_command_defaults(settings),
        security=audit_log,
    )
    fleet = Fleet(
        store=transactions,
        steps=steps,
        preflight=preflight,
        clock=clock,
        rules=rules,
        leases=keeper,
        poll_every=settings.poll_every,
        alone=store.dialect == "sqlite",
    )
    keeper.on_lost = fleet.lost

    # telling of it
    registry = new_registry()
    metrics = DeploymentMetrics(store, settings.metrics_namespace)
    registry.register(metrics)
    span_table = SpanTable(store)
    tracing = Tracing(
        TracingSettings(
            "opsuite-deployer", sampled_share=settings.trace_ratio, endpoint=settings.otlp_endpoint or None
        ),
        sinks=[span_table],
    )
    stack.push_async_callback(asyncio.to_thread, tracing.close)
    traces = Traces(store, queries)
    sender = await stack.enter_async_context(ChannelSender(secrets, clock, smtp=_mailer(settings, secrets)))
    outbox = SqlOutbox(store, tables.notification_outbox)
    if store.dialect == "sqlite":
        await outbox.release_all()  # whoever was sending is dead: this process holds the data directory
    dispatcher = Dispatcher(outbox, sender, clock)

    # the face
    watches = Watches(store, hub, queries, clock, life)
    deployments = Deployments(store=transactions, fleet=fleet, preflight=preflight, clock=clock, rules=rules)
    pipelines = Pipelines(store=transactions, clock=clock, policy=MachinePolicy(policy))
    environments = Environments(transactions, fleet)
    access = access_control(settings, settings.data_dir, clock)
    server = RpcServer(
        [
            Service(
                PipelineServicer(pipelines, queries),
                pipeline_service_pb2_grpc.add_PipelineServiceServicer_to_server,
                "opsuite.deployer.v1.PipelineService",
            ),
            Service(
                DeploymentServicer(deployments, queries, watches, LogTail(queries, draining), traces, access.authorize),
                deployment_service_pb2_grpc.add_DeploymentServiceServicer_to_server,
                "opsuite.deployer.v1.DeploymentService",
            ),
            Service(
                EnvironmentServicer(environments),
                environment_service_pb2_grpc.add_EnvironmentServiceServicer_to_server,
                "opsuite.deployer.v1.EnvironmentService",
            ),
            Service(
                HistoryServicer(store, queries),
                history_service_pb2_grpc.add_HistoryServiceServicer_to_server,
                "opsuite.deployer.v1.HistoryService",
            ),
            Service(
                WorkloadServicer(Workloads(transactions, platforms, router)),
                workload_service_pb2_grpc.add_WorkloadServiceServicer_to_server,
                "opsuite.deployer.v1.WorkloadService",
            ),
            Service(
                TrafficServicer(traffic),
                traffic_service_pb2_grpc.add_TrafficServiceServicer_to_server,
                "opsuite.deployer.v1.TrafficService",
            ),
            *_for_edges(edges, MetricsServer(routes)),
        ],
        access=access,
        settings=server_settings(settings, _addresses(settings)),
        audit=audit_log,
        telemetry=Telemetry(tracing.tracer("opsuite.rpc"), registry, settings.metrics_namespace),
        draining=draining,
        clock=clock,
    )

    # what runs beside it
    transactions.on_outbox = dispatcher.wake
    listener = Listener(store, WAKE_CHANNEL, lambda payload: _wake(fleet, hub, routes, owner, payload))
    await listener.start()
    stack.push_async_callback(listener.close)
    await metrics.refresh()
    leftovers = Leftovers(store, containers, revisions, clock)
    tidying = Tidying(store, clock, keep_spans=settings.keep_spans, keep_history=settings.keep_history)
    background: list[Callable[[], Awaitable[None]]] = [
        lambda: _sweep(docker),
        keeper.run,
        fleet.watch_over,
        dispatcher.run,
        span_table.run,
        lambda: repeat(REFRESH_EVERY, metrics.refresh),
        lambda: repeat(TIDY_EVERY, tidying.run),
        lambda: repeat(TIDY_EVERY, leftovers.run, at_once=True),
        lambda: repeat(RETIRE_EVERY, retiring.run),
        lambda: repeat(RETIRE_EVERY, traffic.expire),
        lambda: repeat(RETIRE_EVERY, environments.expire),
        lambda: repeat(UPKEEP_EVERY, Upkeep(transactions, routes, platforms, prober).run),
        lambda: _end_watches(draining, hub, edges),
    ]
    if store.dialect == "postgresql":
        background.append(lambda: repeat(settings.poll_every, news(store, tables.events, hub)))
    if settings.otlp_endpoint:
        background.append(TraceExport(store, hub, traces, tracing).run)
    for work in background:
        stack.push_async_callback(end, asyncio.create_task(supervised(work)))
    stack.push_async_callback(_flush, span_table)
    stack.push_async_callback(fleet.drain, settings.drain_grace)
    await fleet.recover()
    return Deployer(server, fleet)


def command_policy(settings: Settings) -> CommandPolicy:
    """What command steps may start, and where they may work."""
    return CommandPolicy(
        allowed_names=frozenset(settings.command_names) or ALLOWED_NAMES,
        trusted_directories=settings.trusted_directories,
        roots=tuple(root.absolute() for root in settings.roots) or (settings.data_dir.absolute() / "work",),
    )


def _addresses(settings: Settings) -> Sequence[str]:
    """Where the server listens."""
    return settings.listen or (f"unix://{settings.data_dir.absolute()}/run/deployer.sock", f"127.0.0.1:{PORT}")


def _command_defaults(settings: Settings) -> CommandDefaults:
    return CommandDefaults(
        memory_bytes=settings.command_memory_bytes,
        file_size_bytes=settings.command_file_size_bytes,
        output_bytes=settings.command_output_bytes,
        grace=settings.command_grace,
    )


def _mailer(settings: Settings, secrets: SecretSource) -> SmtpMailer | None:
    if not settings.smtp_host:
        return None
    smtp = SmtpSettings(settings.smtp_host, settings.smtp_port, settings.smtp_sender, settings.smtp_security)
    if settings.smtp_username:
        smtp = replace(smtp, username=settings.smtp_username, password=EnvSecret(settings.smtp_password_env))
    return SmtpMailer(smtp, secrets)


def _sizes(settings: Settings) -> Sizes:
    """Who tells which workloads are sized by a scaler."""
    if not settings.scaler_address:
        return NobodyScales()
    # By its address, since the token of this machine is shown to this machine alone.
    target = default_target("scaler", os.environ | {"OPSUITE_SCALER_ADDRESS": settings.scaler_address})
    own = settings.scaler_token_file or settings.data_dir / "token"
    if settings.scaler_token_file is not None or (target.token_file is None and target.token is None):
        target = replace(target, token=None, token_file=own)
    return ScalerSizes(target)


def _docker_url(settings: Settings) -> str:
    return settings.docker_url or os.environ.get("DOCKER_HOST") or DEFAULT_URL


def _port_range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _wake(fleet: Fleet, hub: Hub, routes: SqlRouteStore, owner: str, payload: str) -> None:
    """Another replica has done something; an empty payload means that nobody knows what."""
    about, _, whose = payload.partition(" ")
    if about == ROUTES:
        routes.changed(Change(whose))
        return
    if not payload:
        routes.changed(Change.ROUTES)
    if about == WISH:
        fleet.nudge(whose)
    elif whose != owner:
        hub.wake()
        if about != EVENTS:
            fleet.wake()


async def _sweep(docker: DockerPlatform) -> None:
    """Remove containers that a crash left behind; where there is no engine there are none."""
    with suppress(OpsuiteError):
        await docker.sweep()


async def _flush(spans: SpanTable) -> None:
    """Write the last spans; a database that is away does not keep the process from stopping in order."""
    try:
        await spans.flush()
    except OpsuiteError as error:
        log.warning("spans_not_kept", why=error.message)


async def _end_watches(draining: asyncio.Event, hub: Hub, edges: AdsServer) -> None:
    await draining.wait()
    hub.end_all()
    await edges.stop()


def _for_edges(edges: AdsServer, metrics: MetricsServer) -> list[Service]:
    """The services that edges call, by contracts of their own."""
    return [
        Service(edges, AdsServer.add_to_server, ads.SERVICE, messages.service(ads.SERVICE)),
        Service(metrics, MetricsServer.add_to_server, stats.SERVICE, messages.service(stats.SERVICE)),
    ]
