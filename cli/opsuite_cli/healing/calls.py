"""Talks to the healer: one connection for each command, errors printed and turned into the exit status 1."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from opsuite_cli import options
from opsuite_cli.calls import LEFT, run
from opsuite_cli.scaling_calls import refuse, request_id
from opsuite_kernel.errors import OpsuiteError

if TYPE_CHECKING:  # `opsuite --help` must not wait for gRPC
    from opsuite_rpc.channel import Target

T = TypeVar("T")
PACKAGE = "opsuite.healer.v1"


class Client:
    """The methods of the healer by name; what they raise are errors of opsuite_kernel."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def request(self, service: str, method: str, **fields: Any) -> Any:
        """A new request of a method; one that may be repeated gets an id."""
        kind = getattr(import_module(f"{PACKAGE}.{service}_pb2"), f"{method}Request")
        if "request_id" in kind.DESCRIPTOR.fields_by_name:
            fields = {"request_id": request_id(), **fields}
        return kind(**fields)

    async def call(self, service: str, method: str, **fields: Any) -> Any:
        """The answer of a method: `call("incident_service", "GetIncident", name=…)`."""
        return await self.send(service, method, self.request(service, method, **fields))

    async def send(self, service: str, method: str, request: Any) -> Any:
        """The same, for a request that is there already."""
        return await getattr(self._stub(service), method)(request)

    async def every(self, service: str, method: str, field: str, **fields: Any) -> list[Any]:
        """All that the pages of a list hold."""
        request, found = self.request(service, method, page_size=1000, **fields), list[Any]()
        while True:
            page = await self.send(service, method, request)
            found += getattr(page, field)
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def follow(self, service: str, method: str, **fields: Any) -> AsyncIterator[Any]:
        """The answers of a watch, which goes on by itself where it breaks."""
        from opsuite_rpc.watching import watch

        request = self.request(service, method, **fields)
        async for answer in watch(getattr(self._stub(service), method), request):
            yield answer

    def _stub(self, service: str) -> Any:
        name = "".join(part.capitalize() for part in service.split("_"))
        return getattr(import_module(f"{PACKAGE}.{service}_pb2_grpc"), f"{name}Stub")(self._channel)


def target() -> Target:
    """Where the healer is, by the options and the environment."""
    from opsuite_rpc.channel import default_target

    chosen = options.current()
    environ = dict(os.environ)
    if chosen.address:
        environ["OPSUITE_HEALER_ADDRESS"] = chosen.address
    if chosen.token_file:
        environ.pop("OPSUITE_TOKEN", None)
        environ["OPSUITE_TOKEN_FILE"] = str(chosen.token_file)
    return default_target("healer", environ)


def talk(work: Callable[[Client], Awaitable[T]]) -> T:
    """What `work` returns. An error ends the command: it is printed with what to do about it."""
    try:
        return run(connected(work))
    except OpsuiteError as error:
        refuse(error, target().address)
    except KeyboardInterrupt as stop:
        raise typer.Exit(LEFT) from stop


def ask(service: str, method: str, **fields: Any) -> Any:
    """The answer of one call. An error ends the command."""
    return talk(lambda client: client.call(service, method, **fields))


async def connected(work: Callable[[Client], Awaitable[T]]) -> T:
    """What `work` returns. Raises OpsuiteError."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # it would write about every failed handshake to the terminal
    from opsuite_rpc.channel import connect

    async with connect(target()) as connection:
        return await work(Client(connection.channel))
