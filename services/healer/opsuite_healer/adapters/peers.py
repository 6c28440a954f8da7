"""Connections to the deployer and the scaler, opened when they are needed first."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from opsuite_kernel.errors import OpsuiteError, Unavailable
from opsuite_rpc.channel import Target, connect, default_target

T = TypeVar("T")


class Peer:
    """One service of the suite. `close` it at the end."""

    def __init__(self, name: str, target: Target) -> None:
        """`name` is how people call it: "the deployer"."""
        self.name = name
        self._target = target
        self._channel: Any = None
        self._connections = AsyncExitStack()

    async def close(self) -> None:
        """Close the connection; no call may be under way."""
        self._channel = None
        await self._connections.aclose()

    async def channel(self) -> Any:
        """A channel for stubs. Raises Unavailable (a token or certificate that is not there yet)."""
        if self._channel is None:
            # The token is read here, so that a service that is set up later is found.
            try:
                connection = await self._connections.enter_async_context(connect(self._target))
            except OpsuiteError as error:
                why = f"{self.name} at {self._target.address} cannot be asked: {error.message}"
                raise Unavailable(why, reason="PEER_UNAVAILABLE") from error
            self._channel = connection.channel
        return self._channel

    async def ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        """The answer to a question over the channel. Raises what the peer says; Unavailable names the peer."""
        channel = await self.channel()
        try:
            return await question(channel)
        except Unavailable as error:
            why = f"{self.name} at {self._target.address} does not answer: {error.message}"
            raise Unavailable(why, retry_after=error.retry_after, reason=error.reason) from error


def peer_of(service: str, address: str, token_file: Path | None) -> Peer:
    """The service ("deployer") at an address of the settings."""
    # By its address, since the token of this machine is shown to this machine alone.
    target = default_target(service, os.environ | {f"OPSUITE_{service.upper()}_ADDRESS": address})
    if token_file is not None:
        target = replace(target, token=None, token_file=token_file)
    return Peer(f"the {service}", target)
