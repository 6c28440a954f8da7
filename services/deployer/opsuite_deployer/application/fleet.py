"""Keeps a runner for every deployment that this process owns, and finds those that nobody owns.

A poll is the safety net under every wake-up: a lost notification costs a poll interval, never a deployment.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from opsuite_deployer.application.admission import Rules, Started, admit
from opsuite_deployer.application.ports import Leases, Owned, Store, Tx
from opsuite_deployer.application.preflight import Preflight
from opsuite_deployer.application.runner import Runner
from opsuite_deployer.application.steps import Steps
from opsuite_deployer.domain.turn import Adopted, Turn
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import OpsuiteError
from opsuite_runs.port import Lease

log = structlog.get_logger(__name__)


class Fleet:
    """All runners of this process."""

    def __init__(
        self,
        *,
        store: Store,
        steps: Steps,
        preflight: Preflight,
        clock: Clock,
        rules: Rules,
        leases: Leases,
        poll_every: timedelta,
        alone: bool,
    ) -> None:
        """`alone`: this process holds the data directory, so whatever is at work was left by one that is gone."""
        self._store = store
        self._steps = steps
        self._preflight = preflight
        self._clock = clock
        self._rules = rules
        self._leases = leases
        self._poll_every = poll_every
        self._alone = alone
        self._runners: dict[str, Runner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._draining = False

    async def recover(self) -> None:
        """Take over what an earlier process left behind; call once, before anything is served."""
        if self._alone:
            self._adopt(await self._store.write(lambda tx: _orphans(tx, tx.take_over_all)))
        await self.look()

    async def watch_over(self) -> None:
        """Look for work until cancelled: when woken, and by the poll."""
        while True:
            pause = self._poll_every.total_seconds() * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            self._woken.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            except TimeoutError:
                pass
            try:
                await self.look()
            except OpsuiteError as error:
                log.warning("look_failed", why=error.message)

    async def look(self) -> None:
        """Take what nobody owns, admit what may start, and hand wishes to their runners."""
        if self._draining:
            return
        now = self._clock.now()

        def body(tx: Tx) -> tuple[Sequence[_Orphan], tuple[Started, ...], Sequence[str]]:
            tx.serialise_admission()  # first, as everywhere: locks are always taken in the same order
            orphans = _orphans(tx, lambda: tx.claim_orphans(100, but=list(self._runners)))
            return orphans, admit(tx, self._rules, now), tx.with_wishes(list(self._runners))

        orphans, started, wished = await self._store.write(body)
        self._adopt(orphans)
        self.launch(started)
        for uid in wished:
            self.nudge(uid)

    def wake(self) -> None:
        """Look soon: another process has changed something."""
        self._woken.set()

    def nudge(self, uid: str) -> None:
        """Let the runner of a deployment look for wishes, if it is one of ours."""
        if runner := self._runners.get(uid):
            runner.nudge()

    def launch(self, started: Sequence[Started]) -> None:
        """Run deployments that this process has just begun to own."""
        for one in started:
            self._run(one.owned, one.turn)

    def lost(self, lease: Lease) -> None:
        """Stop the runner of a deployment that somebody else owns now."""
        if task := self._tasks.get(lease.run):
            task.cancel()

    @property
    def running(self) -> int:
        """Deployments that this process is running."""
        return len(self._runners)

    async def drain(self, grace: timedelta) -> None:
        """Start nothing more, let local programs end for at most `grace`, and give every deployment back."""
        self._draining = True
        for runner in self._runners.values():
            runner.drain()
        give_up_at = self._clock.monotonic() + grace.total_seconds()
        while (left := give_up_at - self._clock.monotonic()) > 0 and self._tasks:
            # One by one: what waits for nothing here must not wait for the programs of others.
            await asyncio.wait(list(self._tasks.values()), timeout=left, return_when=asyncio.FIRST_COMPLETED)
            await self._give_back()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._give_back()

    async def _give_back(self) -> None:
        """Let go of what nothing here runs any more."""
        idle = [lease for lease in self._leases.held() if lease.run not in self._runners]
        if idle:
            try:
                await self._store.write(lambda tx: _release_all(tx, idle))
            except OpsuiteError as error:  # they run out by themselves; stopping goes on
                log.warning("leases_not_given_back", why=error.message, count=len(idle))
        for lease in idle:
            self._leases.drop(lease.run)

    def _adopt(self, orphans: Sequence[_Orphan]) -> None:
        for orphan in orphans:
            log.info("deployment_adopted", deployment=orphan.owned.deployment.id, epoch=orphan.owned.lease.epoch)
            self._run(orphan.owned, orphan.how)

    def _run(self, owned: Owned, first: Turn | Adopted) -> None:
        uid = owned.deployment.id
        self._leases.hold(owned.lease)
        runner = Runner(
            owned,
            first,
            store=self._store,
            steps=self._steps,
            preflight=self._preflight,
            clock=self._clock,
            rules=self._rules,
            may_act=lambda: self._leases.may_act(uid),
            on_started=self.launch,
        )
        if earlier := self._tasks.get(uid):
            earlier.cancel()  # we lost it and got it back: what the earlier runner knows is old
        if self._draining:
            runner.drain()
        self._runners[uid] = runner
        task = asyncio.create_task(runner.run(), name=f"deployment {uid}")
        self._tasks[uid] = task
        task.add_done_callback(lambda done: self._finished(uid, done))

    def _finished(self, uid: str, done: asyncio.Task[None]) -> None:
        if self._tasks.get(uid) is not done:
            return
        del self._tasks[uid], self._runners[uid]
        if not self._draining:
            self._leases.drop(uid)
        if not done.cancelled() and (error := done.exception()):
            log.error("runner_crashed", deployment=uid, exc_info=error)
            self.wake()


@dataclass(frozen=True, slots=True)
class _Orphan:
    """A deployment that was taken over, and from what kind of owner."""

    owned: Owned
    how: Adopted


def _orphans(tx: Tx, take: Callable[[], Sequence[Lease]]) -> Sequence[_Orphan]:
    given_back = set(tx.given_back())  # before they are taken
    return [_Orphan(tx.owned(lease), Adopted(lease.run in given_back)) for lease in take()]


def _release_all(tx: Tx, leases: Sequence[Lease]) -> None:
    for lease in leases:
        tx.release(lease)
