"""Listens to servers that say by themselves when there is something to do (KEDA's triggers of type external-push).

A stream that ends or cannot be had is asked for again after 2 s, then after twice as long each time, up to 60 s; what a
stream says starts that anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from typing import Final

import grpc
import grpc.aio
import structlog

from opsuite_kernel.errors import Unavailable
from opsuite_scaler.adapters.keda.client import KedaClient, scaled_object
from opsuite_scaler.application.keda_query import KedaQuery
from opsuite_scaler.domain.policy import TargetRef

log = structlog.get_logger(__name__)

FIRST_PAUSE: Final = timedelta(seconds=2)
LONGEST_PAUSE: Final = timedelta(seconds=60)

Sleep = Callable[[float], Awaitable[None]]


class KedaPush:
    """Follows what servers say."""

    def __init__(self, client: KedaClient, *, sleep: Sleep = asyncio.sleep) -> None:
        self._client = client
        self._sleep = sleep

    async def follow(self, ref: TargetRef, query: KedaQuery) -> AsyncGenerator[bool, None]:
        """Whether there is something to do, as often as the server says it, over all its streams.

        Ends only when the server does not have such streams at all.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                async for is_active in self._stream(ref, query):
                    pause = FIRST_PAUSE
                    yield is_active
                why = "it ended the stream"
            except grpc.aio.AioRpcError as fault:
                if fault.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return
                why = fault.code().name
            except Unavailable as fault:
                why = fault.message
            log.info("keda_push_interrupted", address=query.address, why=why, again_in=pause.total_seconds())
            await self._sleep(pause.total_seconds())
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _stream(self, ref: TargetRef, query: KedaQuery) -> AsyncGenerator[bool, None]:
        call = self._client.server(query).StreamIsActive(scaled_object(query, ref))
        try:
            async for told in call:
                yield told.result
        finally:
            call.cancel()
