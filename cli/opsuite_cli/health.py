"""Whether the server serves; what containers ask."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from opsuite_cli import screen
from opsuite_cli.calls import Client, talk


def health(
    service: Annotated[str, typer.Option(help="Full name of a service; the server as a whole if absent.")] = "",
) -> None:
    """Ask the server whether it serves; exit status 0 only if it does."""
    status = talk(lambda client: status_of(client, service))
    screen.say(status)
    if status != "SERVING":
        raise typer.Exit(1)


async def status_of(client: Client, service: str = "") -> str:
    """`SERVING`, `NOT_SERVING`, or `UNKNOWN`."""
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    stub: Any = HealthStub(client.channel)
    answer = await stub.Check(HealthCheckRequest(service=service), timeout=5)
    return str(HealthCheckResponse.ServingStatus.Name(answer.status))
