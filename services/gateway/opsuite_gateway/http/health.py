"""Whether the gateway and the services behind it serve."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

import grpc
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc

from opsuite_gateway.http.answers import json_answer
from opsuite_gateway.upstreams import Upstream
from opsuite_kernel.errors import OpsuiteError

SECONDS: Final = 2.0
"""How long a service may take to say that it serves."""


class Health:
    """Handler of /health: 200 while the gateway serves, with what each service says."""

    def __init__(self, upstreams: Mapping[str, Upstream]) -> None:
        self._upstreams = upstreams

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """What can be reached. A service that cannot does not make the gateway unhealthy: others go on through it."""
        said = await asyncio.gather(*(_asked(one) for one in self._upstreams.values()))
        services = dict(zip(self._upstreams, said, strict=True))
        status = "healthy" if all(one == "SERVING" for one in said) else "degraded"
        return json_answer(json.dumps({"status": status, "services": services}).encode())


async def _asked(upstream: Upstream) -> str:
    stub: Any = health_pb2_grpc.HealthStub(upstream.channel)
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
    except (OpsuiteError, grpc.RpcError):
        return "UNREACHABLE"
    name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return name
