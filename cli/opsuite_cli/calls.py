"""Talks to the deployer: one connection for each command, errors printed and turned into the exit status 1."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from opsuite_cli import options, screen
from opsuite_cli.explaining import explained
from opsuite_kernel.errors import OpsuiteError

if TYPE_CHECKING:  # `opsuite --help` must not wait for gRPC
    from opsuite.deployer.v1.deployment_service_pb2_grpc import DeploymentServiceAsyncStub
    from opsuite.deployer.v1.history_service_pb2_grpc import HistoryServiceAsyncStub
    from opsuite.deployer.v1.pipeline_service_pb2_grpc import PipelineServiceAsyncStub
    from opsuite_rpc.channel import Target

T = TypeVar("T")
REFUSED = 1
LEFT = 130
"""Exit status after Ctrl-C, as shells have it."""


@dataclass(frozen=True, slots=True)
class Client:
    """Stubs of the deployer; what they raise are errors of opsuite_kernel."""

    pipelines: PipelineServiceAsyncStub
    deployments: DeploymentServiceAsyncStub
    history: HistoryServiceAsyncStub
    channel: Any


def target() -> Target:
    """Where the deployer is, by the options and the environment."""
    from opsuite_rpc.channel import default_target

    chosen = options.current()
    environ = dict(os.environ)
    if chosen.address:
        environ["OPSUITE_DEPLOYER_ADDRESS"] = chosen.address
    if chosen.token_file:
        environ.pop("OPSUITE_TOKEN", None)
        environ["OPSUITE_TOKEN_FILE"] = str(chosen.token_file)
    return default_target("deployer", environ)


def talk(work: Callable[[Client], Awaitable[T]]) -> T:
    """What `work` returns. An error ends the command: it is printed with what to do about it."""
    try:
        return run(connected(work))
    except OpsuiteError as error:
        address = target().address
        screen.complain(explained(error, address, accepts=lambda: _accepts(address)))
        raise typer.Exit(REFUSED) from error
    except KeyboardInterrupt as stop:
        raise typer.Exit(LEFT) from stop


def run(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns, on an event loop of its own."""
    import asyncio  # here, because help needs none, and loading it takes a tenth of the time that help takes

    return asyncio.run(work)


def _accepts(address: str) -> bool:
    """Whether anybody takes connections there."""
    import socket

    try:
        if address.startswith("unix://"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(address.removeprefix("unix://"))
        else:
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except OSError:
        return False
    return True


async def connected(work: Callable[[Client], Awaitable[T]]) -> T:
    """What `work` returns. Raises OpsuiteError."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # it would write about every failed handshake to the terminal
    from opsuite.deployer.v1.deployment_service_pb2_grpc import DeploymentServiceStub
    from opsuite.deployer.v1.history_service_pb2_grpc import HistoryServiceStub
    from opsuite.deployer.v1.pipeline_service_pb2_grpc import PipelineServiceStub
    from opsuite_rpc.channel import connect

    async with connect(target()) as connection:
        channel = connection.channel
        return await work(
            Client(PipelineServiceStub(channel), DeploymentServiceStub(channel), HistoryServiceStub(channel), channel)
        )
