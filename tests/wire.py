"""A wire between a client and a real server on loopback, which a test can cut and mend, or let nothing through."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Wire:
    """Passes bytes on in both directions, as long as it is whole."""

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self._server_port = server_port
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._tasks = set[asyncio.Task[None]]()

    async def mend(self) -> None:
        """Take connections, on the same port as before."""
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Take none, and end those that there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def cut_meanwhile(self) -> AsyncIterator[None]:
        """Connections are refused meanwhile."""
        await self.cut()
        yield
        await self.mend()

    @asynccontextmanager
    async def silent(self) -> AsyncIterator[None]:
        """Connections are taken meanwhile, and nothing comes through."""
        self._open.clear()
        yield
        self._open.set()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there = await asyncio.open_connection("127.0.0.1", self._server_port)
            try:
                await asyncio.gather(self._copy(reader, there[1]), self._copy(there[0], writer))
            finally:
                there[1].close()
        except (OSError, asyncio.CancelledError):
            pass  # one of both ends has gone
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            await self._open.wait()
            target.write(data)
            await target.drain()
        with contextlib.suppress(OSError):
            target.write_eof()


@asynccontextmanager
async def a_wire(server_port: int) -> AsyncIterator[Wire]:
    """A wire to that port, whole at first."""
    wire = Wire(server_port)
    await wire.mend()
    try:
        yield wire
    finally:
        await wire.cut()
