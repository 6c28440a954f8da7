"""One decider for each target of this process, and the search for targets that nobody looks after.

A decider looks at its target every tick of the policy, at moments spread over the tick so that a thousand targets do
not all come at once, and at once when somebody wants something of it. A poll is the safety net under every wake-up.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import OpsuiteError
from opsuite_kernel.tasks import end
from opsuite_runs.port import FencedOut, Lease
from opsuite_runs.signal import Signal
from opsuite_scaler.application.store import Leases, Overtaken, Store, Tx
from opsuite_scaler.application.targets import Targets
from opsuite_schedules.spread import jitter

log = structlog.get_logger(__name__)

AT_ONCE: Final = 64
"""Looks that go on at the same time; most of a look is waiting for others."""
CLAIMED: Final = 500
"""Targets that one look for those without a decider takes."""
RETRY: Final = timedelta(seconds=1)
"""Pause after a look that failed altogether."""
FIRST_SPREAD: Final = timedelta(seconds=15)
"""Targets that come in numbers, as at a start, are looked at for the first time within this."""


class Deciders:
    """All deciders of this process."""

    def __init__(
        self,
        *,
        store: Store,
        targets: Targets,
        leases: Leases,
        clock: Clock,
        poll_every: timedelta,
        alone: bool,
        at_once: int = AT_ONCE,
        retry: timedelta = RETRY,
    ) -> None:
        """`alone`: this process holds the data directory, so whatever has an owner was left by one that is gone."""
        self._store = store
        self._targets = targets
        self._leases = leases
        self._clock = clock
        self._poll_every = poll_every
        self._alone = alone
        self._retry_seconds = retry.total_seconds()
        self._turns = asyncio.Semaphore(at_once)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wishes: dict[str, Signal] = {}
        self._woken = asyncio.Event()
        self._draining = asyncio.Event()

    async def recover(self) -> None:
        """Take over what an earlier process left behind; call once, before anything is served."""
        if self._alone:
            self._keep(await self._store.write(lambda tx: tx.take_over_all()))
        await self.search()

    async def watch_over(self) -> None:
        """Search until cancelled: when woken, and by the poll."""
        while True:
            pause = self._poll_every.total_seconds() * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            self._woken.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            except TimeoutError:
                pass
            try:
                await self.search()
            except OpsuiteError as error:
                log.warning("search_failed", why=error.message)

    async def search(self) -> None:
        """Take targets that nobody looks after, as many as there are."""
        while not self._draining.is_set():
            found = await self._store.write(lambda tx: tx.claim(CLAIMED))
            self._keep(found)
            if len(found) < CLAIMED:
                return

    def wake(self) -> None:
        """Search soon: there may be targets without a decider."""
        self._woken.set()

    def nudge(self, policy: str) -> None:
        """Somebody wants something of a target: look at it now if it is ours, else it may be nobody's."""
        if wishes := self._wishes.get(policy):
            wishes.give()
        else:
            self.wake()

    def lost(self, lease: Lease) -> None:
        """Stop looking at a target that somebody else may own now."""
        if task := self._tasks.get(lease.run):
            task.cancel()

    @property
    def count(self) -> int:
        """Targets that this process looks after."""
        return len(self._tasks)

    async def drain(self) -> None:
        """Begin no look any more, let those under way end, and give every target back."""
        self._draining.set()
        for wishes in self._wishes.values():
            wishes.give()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))
        held = self._leases.held()
        if not held:
            return
        try:
            await self._store.write(lambda tx: _release_all(tx, held))
        except OpsuiteError as error:
            log.warning("targets_not_given_back", why=error.message)

    async def close(self) -> None:
        """End every look, wherever it is."""
        for task in list(self._tasks.values()):
            await end(task)

    def _keep(self, leases: Sequence[Lease]) -> None:
        spread = FIRST_SPREAD if len(leases) > AT_ONCE else timedelta(0)
        for lease in leases:
            self._leases.hold(lease)
            self._wishes[lease.run] = Signal()
            task = asyncio.create_task(self._decide(lease, jitter(lease.run, spread)), name=f"decider-{lease.run}")
            self._tasks[lease.run] = task
            task.add_done_callback(lambda done, lease=lease: self._ended(lease, done))  # type: ignore[misc]  # typed below

    def _ended(self, lease: Lease, task: asyncio.Task[None]) -> None:
        if self._tasks.get(lease.run) is task:
            del self._tasks[lease.run], self._wishes[lease.run]
            self._targets.leave(lease.run)
        if not task.cancelled() and (fault := task.exception()):
            log.error("decider_crashed", policy=lease.run, exc_info=fault)
            self._leases.drop(lease.run)

    async def _decide(self, lease: Lease, delay: timedelta) -> None:
        """Look for ever; ends when the target is no longer ours."""
        wishes, hurries = self._wishes[lease.run], False
        due = self._clock.monotonic() + delay.total_seconds()
        while not self._draining.is_set():
            seen = wishes.count
            if await wishes.wait(seen, max(0.0, due - self._clock.monotonic())):
                seen = wishes.count
            if self._draining.is_set():
                return
            try:
                pause, again = await self._one_look(lease)
            except FencedOut:
                self._leases.drop(lease.run)
                return
            # Once, and then at the usual pace: a target that changes all the time must not keep us busy.
            hurries = again and not hurries
            pause = 0.0 if hurries else pause
            now = self._clock.monotonic()
            due = now if wishes.count != seen else next_due(due, pause, now, lease.run)

    async def _one_look(self, lease: Lease) -> tuple[float, bool]:
        """Look once; seconds until the next time, and whether it should come at once. Raises FencedOut."""
        async with self._turns:
            try:
                looked = await self._targets.look(lease)
            except Overtaken:
                return 0.0, False
            except OpsuiteError as error:
                log.warning("look_failed", policy=lease.run, why=error.message)
                return self._retry_seconds, False
            except FencedOut:
                raise
            except Exception:  # a fault in one policy must not leave its target without a decider
                log.exception("look_crashed", policy=lease.run)
                return self._retry_seconds, False
        return looked.tick.total_seconds(), looked.again_at_once


def next_due(due: float, pause: float, now: float, policy: str) -> float:
    """When to look again: at an even pace, without making up for looks that were missed."""
    if pause <= 0:
        return now
    following = due + pause
    if following > now:
        return min(following, now + pause)
    return now + jitter(policy, timedelta(seconds=pause)).total_seconds()


def _release_all(tx: Tx, leases: Sequence[Lease]) -> None:
    for lease in leases:
        tx.release(lease)
