"""RabbitMQ: how many messages of a queue are ready to be taken. The query is the queue's name.

Asked over AMQP by a passive declaration, which changes nothing and needs no management plug-in. Messages that a
consumer holds and has not acknowledged are not counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

import aio_pika
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import AMQPError, ChannelNotFoundEntity
from yarl import URL

from opsuite_kernel.errors import Unavailable
from opsuite_scaler.adapters.sources.credentials import Credential, revealed
from opsuite_scaler.adapters.sources.source import a_value, missing
from opsuite_scaler.domain.policy import MetricSpec, TargetRef
from opsuite_scaler.domain.snapshot import Member, Reading


class RabbitmqSource:
    """One virtual host of one RabbitMQ, which is the path of the address."""

    kind = "rabbitmq"
    description = "the name of a queue: its messages that are ready to be taken"

    def __init__(self, url: str, *, username: str | None = None, password: Credential | None = None) -> None:
        self._url = URL(url)
        self._username = username
        self._password = password
        self._connecting = asyncio.Lock()
        self._connection: AbstractConnection | None = None

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(AMQPError, OSError, RuntimeError):  # it may be broken already
                await connection.close()

    def problem(self, metric: MetricSpec) -> str:
        """Whether there is a name."""
        return "" if metric.query.strip() else "the name of a queue is missing"

    async def read(self, ref: TargetRef, metric: MetricSpec, members: Sequence[Member], now: datetime) -> Reading:
        """The length now."""
        try:
            return a_value(await self._ready_messages(metric.query), now)
        except ChannelNotFoundEntity:
            return missing(f"there is no queue {metric.query}")
        except (AMQPError, OSError, RuntimeError) as fault:  # RuntimeError: over a connection that was lost
            await self.close()
            raise Unavailable(f"RabbitMQ does not answer: {fault!r}", reason="SOURCE_UNAVAILABLE") from fault

    async def _ready_messages(self, queue: str) -> float:
        connection = await self._connect()
        channel = await connection.channel(publisher_confirms=False)
        try:
            declared = await channel.declare_queue(queue, passive=True)
        finally:
            await channel.close()
        return float(declared.declaration_result.message_count or 0)

    async def _connect(self) -> AbstractConnection:
        """The connection: one for all, made anew when it was lost."""
        async with self._connecting:
            if self._connection is None or self._connection.is_closed:
                self._connection = await aio_pika.connect(self._address())
            return self._connection

    def _address(self) -> URL:
        url = self._url if self._username is None else self._url.with_user(self._username)
        return url if self._password is None else url.with_password(revealed(self._password))
