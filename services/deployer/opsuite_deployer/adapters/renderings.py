"""Deployments as they were rendered last, given again for as long as their row in the database is the same.

The row is the judge, whoever wrote it, here or in another replica: each turn changes it, and what else is shown, its
parts and its pipeline revision, changes only in a turn.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property

from opsuite.deployer.v1 import deployment_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite_deployer.adapters.rows import Row
from opsuite_deployer.domain.deployment import Status


@dataclass(frozen=True)
class Rendering:
    """One deployment as its row says; shared by all who ask, so nobody may change the message."""

    row: Row
    message: deployment_pb2.Deployment

    @cached_property
    def answer(self) -> bytes:
        """The answer of GetDeployment."""
        return pb.GetDeploymentResponse(deployment=self.message).SerializeToString()


class RenderingCache:
    """The last renderings, by id. Threads share it."""

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._known: dict[str, Rendering] = {}
        self._lock = threading.Lock()

    def of(self, row: Row) -> Rendering | None:
        """The rendering of exactly this row."""
        known = self._known.get(row["id"])
        return known if known is not None and known.row == row else None

    def keep(self, rendering: Rendering) -> Rendering:
        """Remember a rendering, but not of one that waits: its place in the queue is decided by other rows."""
        if rendering.row["status"] != Status.QUEUED.value:
            with self._lock:
                self._known.pop(rendering.row["id"], None)
                while len(self._known) >= self._size:
                    del self._known[next(iter(self._known))]
                self._known[rendering.row["id"]] = rendering
        return rendering
