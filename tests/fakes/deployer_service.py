"""The deployer's contract on a bare gRPC server that does what a test tells it, for tests of the client half."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_status import rpc_status

from opsuite.deployer.v1 import deployment_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite.deployer.v1 import deployment_service_pb2_grpc as pb_grpc
from opsuite_kernel.errors import OpsuiteError
from opsuite_rpc.status import to_status

NAME = "pipelines/web/environments/staging/deployments/d1"


@dataclass
class Seen:
    """One call as it arrived."""

    method: str
    request: Any
    metadata: dict[str, Any]
    remaining: float | None


Unary = Callable[[Any, Any], Awaitable[Any]]
Stream = Callable[[Any, Any], AsyncIterator[Any]]


@dataclass
class FakeDeployer:
    """`get`, `deploy` and `watch` say what happens; an OpsuiteError becomes its status, as on a real server."""

    get: Unary | None = None
    deploy: Unary | None = None
    watch: Stream | None = None
    seen: list[Seen] = field(default_factory=list)

    def _note(self, method: str, request: Any, context: Any) -> None:
        metadata = dict(context.invocation_metadata() or ())
        remaining = context.time_remaining()
        self.seen.append(Seen(method, request, metadata, remaining))

    async def _answer(self, behaviour: Unary | None, otherwise: Any, request: Any, context: Any) -> Any:
        if behaviour is None:
            return otherwise
        try:
            return await behaviour(request, context)
        except OpsuiteError as error:
            await context.abort_with_status(rpc_status.to_status(to_status(error)))

    async def GetDeployment(self, request: Any, context: Any) -> Any:
        self._note("GetDeployment", request, context)
        return await self._answer(self.get, pb.GetDeploymentResponse(), request, context)

    async def Deploy(self, request: Any, context: Any) -> Any:
        self._note("Deploy", request, context)
        return await self._answer(self.deploy, pb.DeployResponse(), request, context)

    async def WatchDeployment(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self._note("WatchDeployment", request, context)
        try:
            if self.watch is not None:
                async for response in self.watch(request, context):
                    yield response
        except OpsuiteError as error:
            await context.abort_with_status(rpc_status.to_status(to_status(error)))


class _Servicer(pb_grpc.DeploymentServiceServicer):
    """Lends the methods that a test does not speak of."""


@asynccontextmanager
async def serving(
    fake: FakeDeployer, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    """The address of a server with `fake` behind it; loopback TCP unless told otherwise."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    servicer: Any = type("Servicer", (FakeDeployer, _Servicer), {})()
    servicer.__dict__ = fake.__dict__  # one state: what is changed on the fake holds for the server
    pb_grpc.add_DeploymentServiceServicer_to_server(servicer, server)
    kind = grpc.LocalConnectionType
    unix = address.startswith("unix:")
    port = server.add_secure_port(
        address.replace("unix://", "unix:"),
        credentials or grpc.local_server_credentials(kind.UDS if unix else kind.LOCAL_TCP),
    )
    await server.start()
    try:
        yield address if unix else f"{address.rpartition(':')[0]}:{port}"
    finally:
        await server.stop(0)


def a_batch(*revisions: int, deployment: str = NAME) -> Any:
    """A response with these events and the token that covers them."""
    events = [
        deployment_pb2.DeploymentEvent(deployment=deployment, revision=each, event_id=f"e{each}") for each in revisions
    ]
    return pb.WatchDeploymentResponse(events=events, resume_token=str(max(revisions)))
