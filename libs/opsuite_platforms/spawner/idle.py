"""Workers that wait for the next step.

Making one costs more than a short step. Many deployments at once let go of many workers and want them again at once,
so those beyond the few that are always kept go only once nobody has wanted them for a while.
"""

from __future__ import annotations

import asyncio

from opsuite_platforms.spawner.link import Worker

KEPT = 16
"""Workers that stay however long nothing is to be done; each takes 1.4 MB."""
UNWANTED_SECONDS = 5.0


class IdleWorkers:
    """The one that was used last is taken first, so those that nobody needs stay at the front."""

    def __init__(self) -> None:
        self._workers: list[Worker] = []
        self._unwanted = 0
        """How many were never taken since the last look."""
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._workers)

    def take(self) -> Worker | None:
        """A worker that lives, if there is one."""
        while self._workers:
            worker = self._workers.pop()
            self._unwanted = min(self._unwanted, len(self._workers))
            if not worker.is_closed:
                return worker
        return None

    def keep(self, worker: Worker) -> None:
        """Let it wait."""
        self._workers.append(worker)
        if self._timer is None and len(self._workers) > KEPT:
            self._look_later()

    def close(self) -> None:
        """Let go of all."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._workers:
            self._workers.pop().close()

    def _look_later(self) -> None:
        self._unwanted = len(self._workers)
        self._timer = asyncio.get_running_loop().call_later(UNWANTED_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        for _ in range(min(self._unwanted, len(self._workers) - KEPT)):
            self._workers.pop(0).close()
        if len(self._workers) > KEPT:
            self._look_later()
