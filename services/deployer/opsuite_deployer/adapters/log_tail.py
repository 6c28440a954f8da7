"""Follows the lines that the steps of one deployment write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from opsuite.deployer.v1 import deployment_pb2
from opsuite_deployer.adapters.queries import Queries
from opsuite_deployer.application.deployments import Reference
from opsuite_kernel.errors import Unavailable

BATCH: Final = 256
PAUSE_SECONDS: Final = 0.25
"""Time between two looks while nothing is new: lines reach the database every 0.2 s."""


class LogTail:
    """Tails logs from the database, so that any replica can, and a slow reader costs nothing but its own time."""

    def __init__(self, queries: Queries, draining: asyncio.Event) -> None:
        self._queries = queries
        self._draining = draining

    async def follow(
        self, reference: Reference, *, stage: str, step: str, after: int
    ) -> AsyncIterator[list[deployment_pb2.LogLine]]:
        """Batches of lines after a sequence, until the deployment has ended and its last line was told.

        Raises DeploymentNotFound; Unavailable (SERVER_DRAINING) when the server stops: go on with the last sequence.
        """
        while True:
            lines, ended = await self._queries.lines_after(reference, stage=stage, step=step, after=after, size=BATCH)
            if lines:
                after = lines[-1].sequence
                yield lines
            elif ended:
                return
            elif self._draining.is_set():
                raise Unavailable("the server is stopping; resume with the last sequence", reason="SERVER_DRAINING")
            else:
                await asyncio.sleep(PAUSE_SECONDS)
