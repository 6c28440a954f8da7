"""The HTTP port beside the gRPC one: /health for probers, /metrics for Prometheus, foreign protocols of a service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry

from opsuite_kernel.errors import Violation
from opsuite_rpc.settings import CannotServe
from opsuite_telemetry.metrics import render

LIMIT_BYTES = 4 * 1024 * 1024


class SidePort:
    """Serves plain HTTP. It knows no callers: what changes something has to check its sender itself (a signature)."""

    def __init__(
        self,
        serving: Callable[[], Mapping[str, bool]],
        registry: CollectorRegistry | None,
        routes: Iterable[web.RouteDef] = (),
    ) -> None:
        """`serving`: whether each service is, by name; `""` stands for the server as a whole."""
        self._serving = serving
        self._registry = registry
        app = web.Application(client_max_size=LIMIT_BYTES)
        app.add_routes([web.get("/health", self._health), web.get("/metrics", self._metrics), *routes])
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that was bound. Raises CannotServe."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port, shutdown_timeout=1).start()
        except OSError as error:
            await self._runner.cleanup()
            raise CannotServe([Violation("side", f"{host}:{port} cannot be bound: {error.strerror}")]) from error
        bound: int = self._runner.addresses[0][1]
        return bound

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _health(self, _request: web.Request) -> web.Response:
        serving = self._serving()
        services = {name: told(state) for name, state in sorted(serving.items()) if name}
        whole = serving.get("", False)
        return web.json_response({"status": told(whole), "services": services}, status=200 if whole else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        if self._registry is None:
            raise web.HTTPNotFound
        page, content_type = render(self._registry)
        return web.Response(body=page, headers={"Content-Type": content_type})


def told(serving: bool) -> str:
    """In the words of grpc.health.v1."""
    return "SERVING" if serving else "NOT_SERVING"
