"""Keeps the leases of one process alive, and knows when they can no longer be trusted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import OpsuiteError
from opsuite_runs.lease import Leases
from opsuite_runs.port import Lease
from opsuite_storage.store import Store

log = structlog.get_logger(__name__)


class LeaseKeeper:
    """Renews every lease that is held, in one statement for all.

    Whoever could not renew for two thirds of the lease, by the monotonic clock, stops acting: the last third is what a
    stopped process has to notice before somebody else may take over.
    """

    def __init__(
        self,
        store: Store,
        leases: Leases,
        clock: Clock,
        *,
        lease: timedelta = timedelta(seconds=15),
        on_lost: Callable[[Lease], None] = lambda _: None,
        alone: bool = False,
    ) -> None:
        """`alone`: no other process can claim anything, so what is held stays good, however late it is renewed."""
        self._store = store
        self._leases = leases
        self._clock = clock
        self._renew_every = lease / 3
        self._trusted_for = lease * 2 / 3
        self._alone = alone
        self.on_lost = on_lost
        self._held: dict[str, Lease] = {}
        self._renewed: dict[str, float] = {}

    def hold(self, lease: Lease) -> None:
        """Renew it from now on."""
        self._held[lease.run] = lease
        self._renewed[lease.run] = self._clock.monotonic()

    def drop(self, run: str) -> None:
        """Renew it no longer."""
        self._held.pop(run, None)
        self._renewed.pop(run, None)

    def held(self) -> Sequence[Lease]:
        """Those that are renewed."""
        return list(self._held.values())

    def may_act(self, run: str) -> bool:
        """Whether it was renewed so lately that nobody else can own the run."""
        if self._alone:
            return run in self._held
        renewed = self._renewed.get(run)
        return renewed is not None and self._clock.monotonic() - renewed < self._trusted_for.total_seconds()

    async def run(self) -> None:
        """Renew, and stop what can no longer be trusted, until cancelled."""
        watching = asyncio.create_task(self._watch())
        try:
            await self._keep_renewing()
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        """Beside the renewal, which may hang for as long as the database does."""
        while True:
            await asyncio.sleep(self._renew_every.total_seconds() / 5)
            for lease in self.held():
                if not self.may_act(lease.run):
                    log.warning("lease_not_trusted", run=lease.run, epoch=lease.epoch)
                    self.drop(lease.run)
                    self.on_lost(lease)

    async def _keep_renewing(self) -> None:
        pause = self._renew_every
        while True:
            await asyncio.sleep(pause.total_seconds())
            try:
                await self.renew()
                pause = self._renew_every
            except OpsuiteError as error:
                log.warning("leases_not_renewed", why=error.message, held=len(self._held))
                pause = self._renew_every / 5  # there is time for some more tries before the leases lose our trust

    async def renew(self) -> None:
        """Renew all once. What is no longer ours is dropped and told. Raises Unavailable."""
        asked = list(self._held.values())
        if not asked:
            return
        before = self._clock.monotonic()  # the lease counts from before the question, never from after the answer
        kept = await self._store.write(
            lambda connection: self._leases.renew(connection, asked, now=self._store.now(connection))
        )
        for lease in asked:
            if self._held.get(lease.run) != lease:
                continue  # dropped or claimed anew meanwhile
            if lease.run in kept:
                self._renewed[lease.run] = before
            else:
                self.drop(lease.run)
                self.on_lost(lease)
