"""Talks to the scaler: one connection for each command, errors printed and turned into the exit status 1."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

from opsuite_cli import options, screen
from opsuite_cli.calls import LEFT, REFUSED, run
from opsuite_cli.explaining import explained
from opsuite_kernel.errors import OpsuiteError

if TYPE_CHECKING:  # `opsuite --help` must not wait for gRPC
    from opsuite.scaler.v1.forecast_service_pb2_grpc import ForecastServiceAsyncStub
    from opsuite.scaler.v1.scaler_service_pb2_grpc import ScalerServiceAsyncStub
    from opsuite.scaler.v1.simulation_service_pb2_grpc import SimulationServiceAsyncStub
    from opsuite_rpc.channel import Target

T = TypeVar("T")
POLICIES = "scalingPolicies/"


@dataclass(frozen=True, slots=True)
class Client:
    """Stubs of the scaler; what they raise are errors of opsuite_kernel."""

    scaler: ScalerServiceAsyncStub
    simulations: SimulationServiceAsyncStub
    forecasts: ForecastServiceAsyncStub
    channel: Any


def target() -> Target:
    """Where the scaler is, by the options and the environment."""
    from opsuite_rpc.channel import default_target

    chosen = options.current()
    environ = dict(os.environ)
    if chosen.address:
        environ["OPSUITE_SCALER_ADDRESS"] = chosen.address
    if chosen.token_file:
        environ.pop("OPSUITE_TOKEN", None)
        environ["OPSUITE_TOKEN_FILE"] = str(chosen.token_file)
    return default_target("scaler", environ)


def talk(work: Callable[[Client], Awaitable[T]]) -> T:
    """What `work` returns. An error ends the command: it is printed with what to do about it."""
    try:
        return run(connected(work))
    except OpsuiteError as error:
        refuse(error, target().address)
    except KeyboardInterrupt as stop:
        raise typer.Exit(LEFT) from stop


def refuse(error: OpsuiteError, address: str = "") -> NoReturn:
    """End the command with an error."""
    screen.complain(explained(error, address) if address else explained(error))
    raise typer.Exit(REFUSED) from error


async def connected(work: Callable[[Client], Awaitable[T]]) -> T:
    """What `work` returns. Raises OpsuiteError."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # it would write about every failed handshake to the terminal
    from opsuite.scaler.v1.forecast_service_pb2_grpc import ForecastServiceStub
    from opsuite.scaler.v1.scaler_service_pb2_grpc import ScalerServiceStub
    from opsuite.scaler.v1.simulation_service_pb2_grpc import SimulationServiceStub
    from opsuite_rpc.channel import connect

    async with connect(target()) as connection:
        channel = connection.channel
        return await work(
            Client(ScalerServiceStub(channel), SimulationServiceStub(channel), ForecastServiceStub(channel), channel)
        )


def full(policy: str) -> str:
    """The resource name of a policy."""
    return POLICIES + policy.removeprefix(POLICIES)


def short(name: str) -> str:
    """A name without its collection."""
    return name.rpartition("/")[2]


def request_id() -> str:
    """A new id, so that a repeated call does nothing twice."""
    import uuid

    return str(uuid.uuid4())
