"""Things with a size behind a real gRPC server, which remembers every change that it accepted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from opsuite.scaler.v1 import external_target_service_pb2 as pb
from opsuite.scaler.v1 import external_target_service_pb2_grpc as stubs


@dataclass
class Sizes:
    """What the server has."""

    address: str = ""
    now: dict[str, int] = field(default_factory=dict)
    changes: list[tuple[str, int, int]] = field(default_factory=list)
    """Name, size before, size after; in order."""
    calls: list[tuple[str, int]] = field(default_factory=list)
    """What was asked for, accepted or not."""
    is_away: bool = False
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, name: str, size: int) -> None:
        """Return when a thing has a size."""
        async with self.news:
            await self.news.wait_for(lambda: self.now[name] == size)


class _Servicer(stubs.ExternalTargetServiceServicer):
    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes

    async def GetSize(self, request: pb.GetSizeRequest, context: Any) -> pb.GetSizeResponse:
        await self._reach(context, request.name)
        return pb.GetSizeResponse(spec_replicas=self._sizes.now[request.name])

    async def SetSize(self, request: pb.SetSizeRequest, context: Any) -> pb.SetSizeResponse:
        await self._reach(context, request.name)
        sizes, name = self._sizes, request.name
        sizes.calls.append((name, request.replicas))
        if sizes.now[name] != request.expected_replicas:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"the size is {sizes.now[name]}")
        if sizes.now[name] != request.replicas:
            sizes.changes.append((name, sizes.now[name], request.replicas))
        async with sizes.news:
            sizes.now[name] = request.replicas
            sizes.news.notify_all()
        return pb.SetSizeResponse()

    async def _reach(self, context: Any, name: str) -> None:
        if self._sizes.is_away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        if name not in self._sizes.now:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no {name}")


@asynccontextmanager
async def an_external_target(**sizes: int) -> AsyncIterator[Sizes]:
    """A server with these sizes, by name."""
    kept = Sizes(now=dict(sizes))
    server = grpc.aio.server()
    stubs.add_ExternalTargetServiceServicer_to_server(_Servicer(kept), server)
    kept.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield kept
    finally:
        await server.stop(0)
