"""Waking other replicas: PostgreSQL's LISTEN and NOTIFY. A hint only: whoever listens polls as well, more slowly.

On SQLite there is one process, which wakes itself; notifying and listening then do nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
import structlog

from opsuite_kernel.tasks import end
from opsuite_storage.store import Store

if TYPE_CHECKING:
    from opsuite_storage.postgresql import PostgresqlStore

LONGEST_PAUSE_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


def notify(connection: sa.Connection, channel: str, payload: str = "") -> None:
    """Wake the listeners of `channel` when this transaction commits (never when it rolls back).

    Equal notifications of one transaction arrive once. The payload stays below 8,000 bytes: send an id, not a thing.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_notify(channel, payload)))


class Listener:
    """Calls `on_notify(payload)` on the event loop for each notification of a channel, over a connection of its own.

    Whenever the connection has been lost and found again it calls `on_notify("")`: something may have been missed.
    """

    def __init__(self, store: Store, channel: str, on_notify: Callable[[str], None]) -> None:
        self._store = store
        self._channel = channel
        self._on_notify = on_notify
        self._task: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()
        """Set while notifications arrive."""

    async def start(self) -> None:
        """Listen from now on; the first connection may still take its time."""
        if self._store.dialect == "sqlite":
            return
        from opsuite_storage.postgresql import PostgresqlStore  # and its driver, which SQLite does not need

        if isinstance(self._store, PostgresqlStore):
            self._task = asyncio.create_task(self._listen_for_ever(self._store), name=f"listen-{self._channel}")

    async def close(self) -> None:
        """Stop listening. Safe to repeat."""
        if self._task:
            await end(self._task)
            self._task = None

    async def _listen_for_ever(self, store: PostgresqlStore) -> None:
        import psycopg

        loop = asyncio.get_running_loop()
        losses = 0
        while True:
            try:
                async for payload in store.notifications(self._channel, self.connected.set):
                    losses = 0
                    loop.call_soon(self._on_notify, payload)  # what it raises is not the end of listening
            except psycopg.Error:
                losses += 1
            except Exception:  # a replica that no longer hears of the others is worse than a noisy log
                log.exception("listening_crashed", channel=self._channel)
                losses += 1
            self.connected.clear()
            await asyncio.sleep(random.uniform(0, min(LONGEST_PAUSE_SECONDS, 0.05 * 2**losses)))  # noqa: S311 - spreading
