"""One part of the healer, or all of it, served in this process: a real database, a real gRPC server on a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from opsuite_healer.adapters import tables
from opsuite_healer.composition.house import House, Part
from opsuite_healer.composition.service import open_house, run_beside
from opsuite_healer.settings import Settings
from opsuite_platforms.spawner.client import Spawner
from opsuite_rpc.channel import connect
from opsuite_rpc.served import access_control, server_settings
from opsuite_rpc.server import RpcServer, Telemetry
from opsuite_runs.audit_log import SqlAuditLog
from opsuite_telemetry.metrics import new_registry
from opsuite_telemetry.tracing import Tracing, TracingSettings


@dataclass(frozen=True)
class Stage:
    """A healer under test."""

    house: House
    channel: grpc.aio.Channel
    """Opened with the local token."""


@asynccontextmanager
async def healer_stage(
    directory: Path, build: Callable[[House], Sequence[Part]], *, database_url: str = "sqlite", **settings: object
) -> AsyncIterator[Stage]:
    """Serve the parts that `build` makes; other fields of the settings by name."""
    anywhere: dict[str, object] = {"alerts_listen": "127.0.0.1:0"}  # stages run side by side
    chosen = Settings.model_validate({"data_dir": directory, "database_url": database_url, **anywhere, **settings})
    socket = f"unix://{directory}/run/healer.sock"
    async with AsyncExitStack() as stack:
        spawner = await Spawner.start()
        stack.push_async_callback(spawner.close)
        registry, tracing = new_registry(), Tracing(TracingSettings("opsuite-healer"))
        house = await open_house(chosen, spawner, registry, tracing, stack)
        parts = build(house)
        server = RpcServer(
            [service for part in parts for service in part.services],
            access=access_control(chosen, directory, house.clock),
            settings=server_settings(chosen, [socket]),
            audit=SqlAuditLog(house.database, tables.audit, house.clock),
            telemetry=Telemetry(house.tracer, registry, chosen.metrics_namespace),
            draining=house.draining,
            clock=house.clock,
        )
        await run_beside(house, parts, stack)
        await server.start()
        stack.push_async_callback(server.stop)
        connection = await stack.enter_async_context(connect(socket, token_file=directory / "token"))
        yield Stage(house, connection.channel)
