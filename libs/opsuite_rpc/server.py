"""The one way to build a server: every service gets the same interceptors, health, reflection, limits and drain."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import structlog
from aiohttp import web
from grpc_health.v1 import health, health_pb2
from opentelemetry import trace
from prometheus_client import CollectorRegistry

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Unavailable, Violation
from opsuite_kernel.tasks import end
from opsuite_rpc import listen
from opsuite_rpc.access import AccessControl
from opsuite_rpc.audit import AuditSink
from opsuite_rpc.gate import Gate
from opsuite_rpc.interceptors import Method, guarded
from opsuite_rpc.observe import Observer
from opsuite_rpc.registration import Service, registered, standard_services
from opsuite_rpc.settings import UNIX, CannotServe, ServerSettings, is_unix
from opsuite_rpc.side_port import SidePort
from opsuite_rpc.tls import ReloadingCertificates
from opsuite_rpc.trail import AuditTrail
from opsuite_telemetry.metrics import DEFAULT_NAMESPACE, RpcMetrics
from opsuite_telemetry.tracing import RpcSpans

SIDE_PORT_OFFSET: Final = 100
NEVER_SECONDS: Final = 86_400.0
LAST_WORDS_SECONDS: Final = 0.25
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger("opsuite.rpc")

__all__ = ["RpcServer", "Service", "Telemetry"]


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where spans and metrics of the server go."""

    tracer: trace.Tracer
    registry: CollectorRegistry | None = None
    namespace: str = DEFAULT_NAMESPACE


class RpcServer:
    """A server, from its services to its end: `start`, then `drain`; or `serve_until_signal` for both."""

    def __init__(
        self,
        services: Iterable[Service],
        *,
        access: AccessControl,
        settings: ServerSettings,
        audit: AuditSink | None = None,
        telemetry: Telemetry | None = None,
        routes: Iterable[web.RouteDef] = (),
        draining: asyncio.Event | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Check everything and open nothing. Raises CannotServe with all that is wrong.

        `routes` join the side port. `draining` is set when watches have to end; pass one in to share it with a hub
        that is built before the server.
        """
        self.draining = draining or asyncio.Event()
        self.started = asyncio.Event()
        """Set when calls are answered."""
        self.addresses: tuple[str, ...] = ()
        """What is listened on, with the real ports; empty before `start`."""
        self.side_address: str | None = None
        self._settings = settings
        self._access = access
        self._telemetry = telemetry or Telemetry(trace.get_tracer("opsuite.rpc"))
        registry = self._telemetry.registry
        self._metrics = RpcMetrics(registry, self._telemetry.namespace) if registry else None
        self._gate = Gate(
            access, AuditTrail(audit, clock), settings.limits, settings.deadline_cap.total_seconds(), clock
        )
        self._health = health.aio.HealthServicer()
        services = list(services)
        services += standard_services(self._health, services, version=settings.version, debug=settings.debug)
        violations = listen.problems(settings, guards_tcp=access.guards_tcp)
        self._handlers = {service.full_name: self._guarded(service, violations) for service in services}
        self._serving = dict.fromkeys(("", *self._handlers), False)
        self._is_leaving = False
        if violations:
            raise CannotServe(violations)
        self._certificates = None if settings.tls is None else ReloadingCertificates(settings.tls)
        self._side = SidePort(lambda: self._serving, registry, routes)
        self._locks: list[listen.SocketLock] = []
        self._server: grpc.aio.Server | None = None
        self._reloading: asyncio.Task[None] | None = None

    def _guarded(self, service: Service, violations: list[Violation]) -> dict[str, Any]:
        """Handlers by method, each behind the interceptors; what is wrong is added to `violations`."""
        found, wrong = registered(service)
        violations += wrong
        return {
            each.method.name: guarded(each.handler, each.method, self._observer(each.method), self._gate)
            for each in found
        }

    def _observer(self, method: Method) -> Observer:
        timed = not method.response_streaming
        return Observer(
            method.full_name,
            RpcSpans(self._telemetry.tracer, method.full_name),
            self._metrics.of(method.service, method.name, timed=timed) if self._metrics else None,
            slow_seconds=self._settings.slow_call.total_seconds() if timed else None,
            logged_share=self._settings.logged_share,
        )

    async def start(self) -> None:
        """Listen and serve. Raises CannotServe, and then nothing is left open."""
        try:
            await self._open()
        except BaseException:
            await self.stop()
            raise
        self.started.set()
        log.info("server_started", addresses=self.addresses, side=self.side_address)

    async def _open(self) -> None:
        self._locks = [
            listen.SocketLock(Path(address.removeprefix(UNIX))) for address in self._settings.listen if is_unix(address)
        ]
        self._server = grpc.aio.server(options=options(self._settings))
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(name, handlers) for name, handlers in self._handlers.items()]
        )
        self.addresses = tuple(
            listen.open_address(self._server, address, self._certificates) for address in self._settings.listen
        )
        await self._open_side()
        for name in self._serving:
            await self.set_serving(name, serving=True)
        await self._server.start()
        self._reloading = asyncio.create_task(self._reload_forever())

    async def _open_side(self) -> None:
        side, tcp = self._settings.side, [address for address in self.addresses if not is_unix(address)]
        if side is None or (side.port is None and not tcp):
            return
        port = int(tcp[0].rpartition(":")[2]) + SIDE_PORT_OFFSET if side.port is None else side.port
        self.side_address = f"{side.host}:{await self._side.start(side.host, port)}"

    async def set_serving(self, service: str, *, serving: bool) -> None:
        """Say whether `service` can be used (`""`: the server as a whole). No effect once it is draining."""
        if self._is_leaving:
            return
        self._serving[service] = serving
        await self._health.set(service, _health_status(serving=serving))

    async def serve_until_signal(self) -> None:
        """Start, serve until SIGTERM or SIGINT, drain; a second signal cuts the drain short."""
        loop, signals = asyncio.get_running_loop(), asyncio.Queue[signal.Signals]()
        for number in SIGNALS:
            loop.add_signal_handler(number, signals.put_nowait, number)
        try:
            await self.start()
            log.info("server_draining", signal=(await signals.get()).name)
            drain, impatience = asyncio.create_task(self.drain()), asyncio.create_task(signals.get())
            await asyncio.wait((drain, impatience), return_when=asyncio.FIRST_COMPLETED)
            impatience.cancel()
            drain.cancel()
            with suppress(asyncio.CancelledError):
                await drain
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
            await self.stop()

    async def wait_until_idle(self) -> None:
        """Return when no call is open but health watches: every status sent, every metric and log line written."""
        await self._gate.wait_until_idle()

    async def drain(self) -> None:
        """Say NOT_SERVING, end watches, let calls end within `drain_grace`, stop."""
        self._is_leaving = True
        await self._health.enter_graceful_shutdown()
        self._serving = dict.fromkeys(self._serving, False)
        await asyncio.sleep(self._settings.drain_delay.total_seconds())
        self.draining.set()
        await self._finish_calls()
        await self.stop()

    async def _finish_calls(self) -> None:
        """Wait for our own calls. `stop(grace)` alone would wait for health watches as well, and they never end.

        Two stops must never be under way at once: the one that is late asks a server that the other has destroyed to
        cancel its calls, which is the end of the process. So the first one is given more time than there is, and is
        called off before the second one begins.
        """
        if self._server is None:
            return
        grace = self._settings.drain_grace.total_seconds()
        end_at = asyncio.get_running_loop().time() + grace
        stopping = asyncio.create_task(self._server.stop(grace + NEVER_SECONDS))
        idle = asyncio.create_task(self.wait_until_idle())
        try:
            await asyncio.wait((idle,), timeout=min(grace, self._settings.watch_grace.total_seconds()))
            has_ended_some = self._gate.end_streams(Unavailable("the server is going away", reason="SERVER_DRAINING"))
            left = max(0.0, end_at - asyncio.get_running_loop().time())
            await asyncio.wait((stopping, idle), timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if has_ended_some:  # their last words are on the way
                await asyncio.wait((stopping,), timeout=LAST_WORDS_SECONDS)
        finally:
            await end(idle)
            await end(stopping)
            await self._server.stop(0)

    async def stop(self) -> None:
        """End at once whatever still runs; safe to repeat."""
        self.draining.set()
        if self._reloading is not None:
            self._reloading.cancel()
        if self._server is not None:
            await self._server.stop(0)
        if self.side_address is not None:
            await self._side.close()
        await self._gate.close()
        for lock in self._locks:
            lock.release()
        self._server, self._reloading, self.side_address, self._locks = None, None, None, []

    async def _reload_forever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.reload_every.total_seconds())
            await self.reload()

    async def reload(self) -> None:
        """Look at certificates, policy file and open streams now; a bad file is logged and the old one stays."""
        await asyncio.to_thread(self._access.reload)
        if self._certificates is not None:
            await asyncio.to_thread(self._certificates.reload)
        self._gate.recheck_streams()


def _health_status(*, serving: bool) -> Any:
    states = health_pb2.HealthCheckResponse
    return states.SERVING if serving else states.NOT_SERVING


def options(settings: ServerSettings) -> list[tuple[str, Any]]:
    """Arguments of the gRPC core: pings find dead clients, ages spread living ones over replicas."""
    return [
        ("grpc.so_reuseport", 0),  # two servers on one port would share its calls without a word
        ("grpc.max_receive_message_length", settings.max_receive_bytes),
        ("grpc.max_send_message_length", settings.max_send_bytes),
        # A mass reconnect of 5,000 watches meets the default limit, and refused calls end as bare CANCELLED.
        ("grpc.server.max_pending_requests", 20_000),
        ("grpc.server.max_pending_requests_hard_limit", 40_000),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
        ("grpc.max_connection_age_ms", int(settings.max_connection_age.total_seconds() * 1000)),
        ("grpc.max_connection_age_grace_ms", 120_000),
    ]
