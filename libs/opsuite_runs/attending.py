"""One task for each run that this process looks after, and the search for runs that nobody looks after.

A run is a row with a lease. Whoever claims it attends to it until it is over or the lease is lost; a poll is the safety
net under every wake-up, so that a run whose process died is found by another.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final, Protocol

import structlog

from opsuite_kernel.errors import OpsuiteError
from opsuite_kernel.tasks import end
from opsuite_runs.port import FencedOut, Lease
from opsuite_runs.signal import Signal

log = structlog.get_logger(__name__)

CLAIMED: Final = 500
"""Runs that one search takes at once."""


class Claims(Protocol):
    """Takes runs and gives them back; each call is a transaction of its own. Raises Unavailable."""

    async def claim(self, limit: int) -> Sequence[Lease]:
        """Take runs that nobody looks after, at most so many."""

    async def take_over_all(self) -> Sequence[Lease]:
        """Take every run, whoever has it: only for the one process of a data directory, at its start."""

    async def release(self, leases: Sequence[Lease]) -> None:
        """Let anybody claim them at once."""


class HeldLeases(Protocol):
    """Keeps leases alive; `opsuite_runs.keeper.LeaseKeeper` fits."""

    def hold(self, lease: Lease) -> None:
        """Renew it from now on."""

    def drop(self, run: str) -> None:
        """Renew it no longer."""

    def held(self) -> Sequence[Lease]:
        """Those that are renewed."""


class Attendants:
    """All attendants of this process for one kind of run."""

    def __init__(
        self,
        attend: Callable[[Lease, Signal], Awaitable[None]],
        *,
        claims: Claims,
        leases: HeldLeases,
        poll_every: timedelta,
        alone: bool,
    ) -> None:
        """`attend` returns when the run is over, or when it is told to by a cancellation; it may raise FencedOut.

        Its signal is given whenever somebody nudges the run, and once when the process drains (`is_draining`).
        `alone`: this process holds the data directory, so whatever has an owner was left by one that is gone.
        """
        self._attend = attend
        self._claims = claims
        self._leases = leases
        self._poll_every = poll_every
        self._alone = alone
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._signals: dict[str, Signal] = {}
        self._woken = asyncio.Event()
        self._draining = asyncio.Event()

    @property
    def is_draining(self) -> bool:
        """Whether attendants are to return at the next place where they may."""
        return self._draining.is_set()

    @property
    def count(self) -> int:
        """Runs that this process looks after."""
        return len(self._tasks)

    async def recover(self) -> None:
        """Take over what an earlier process left behind; call once, before anything is served."""
        if self._alone:
            self._keep(await self._claims.take_over_all())
        await self.search()

    async def watch_over(self) -> None:
        """Search until cancelled: when woken, and by the poll."""
        while True:
            pause = self._poll_every.total_seconds() * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            try:
                await self.search()
            except OpsuiteError as error:
                log.warning("search_failed", why=error.message)

    async def search(self) -> None:
        """Take runs that nobody looks after, as many as there are."""
        while not self._draining.is_set():
            found = await self._claims.claim(CLAIMED)
            self._keep(found)
            if len(found) < CLAIMED:
                return

    def wake(self) -> None:
        """Search soon: there may be runs without an attendant."""
        self._woken.set()

    def nudge(self, run: str) -> None:
        """Somebody wants something of a run: its attendant looks now if it is here, else it may be nobody's."""
        if signal := self._signals.get(run):
            signal.give()
        else:
            self.wake()

    def lost(self, lease: Lease) -> None:
        """Stop attending to a run that somebody else may own now."""
        if task := self._tasks.get(lease.run):
            task.cancel()

    async def drain(self) -> None:
        """Let attendants come to a place where they may stop, and give every run back."""
        self._draining.set()
        for signal in self._signals.values():
            signal.give()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))
        held = self._leases.held()
        if not held:
            return
        try:
            await self._claims.release(held)
        except OpsuiteError as error:
            log.warning("runs_not_given_back", why=error.message)

    async def close(self) -> None:
        """End every task, wherever it is."""
        for task in list(self._tasks.values()):
            await end(task)

    def _keep(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            self._leases.hold(lease)
            signal = self._signals[lease.run] = Signal()
            task = asyncio.create_task(self._guarded(lease, signal), name=f"attendant-{lease.run}")
            self._tasks[lease.run] = task
            task.add_done_callback(lambda done, run=lease.run: self._ended(run, done))  # type: ignore[misc]  # typed below

    async def _guarded(self, lease: Lease, signal: Signal) -> None:
        try:
            await self._attend(lease, signal)
        except FencedOut:
            self._leases.drop(lease.run)
        except OpsuiteError as error:
            # Nobody renews it now, so that it is found again, here or elsewhere, when the lease has run out.
            log.warning("run_left", run=lease.run, why=error.message)
            self._leases.drop(lease.run)
        except Exception:
            log.exception("attendant_crashed", run=lease.run)
            self._leases.drop(lease.run)
        else:
            if not self.is_draining:
                self._leases.drop(lease.run)

    def _ended(self, run: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(run) is task:
            del self._tasks[run], self._signals[run]
