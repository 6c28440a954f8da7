"""Takes down the replicas of revisions whose time has come, and forgets revisions that nobody goes back to any more."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import structlog

from opsuite_deployer.application.platforms import Platforms
from opsuite_deployer.application.ports import Store, Tx
from opsuite_deployer.application.rollout_records import HISTORY_LIMIT
from opsuite_deployer.application.workload_ports import RevisionRecord
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import NotFound, OpsuiteError

log = structlog.get_logger(__name__)


class Retiring:
    """Any replica of the deployer may do it: it is safe to repeat, and what a rollout needs again it asks for again."""

    def __init__(self, store: Store, platforms: Platforms, clock: Clock) -> None:
        self._store = store
        self._platforms = platforms
        self._clock = clock

    async def run(self) -> None:
        """Take down what may go by now."""
        now = self._clock.now()
        for revision in await self._store.read(lambda tx: tx.retirable(now)):
            try:
                await self._retire(revision)
            except OpsuiteError as error:
                log.warning("revision_not_retired", revision=revision.name, why=error.message)

    async def _retire(self, revision: RevisionRecord) -> None:
        if not await self._store.read(partial(_is_due, revision=revision)):
            return  # while the ones before it went, a rollout has found use for it
        platform = self._platforms.workloads(revision.platform, revision.namespace)
        with suppress(NotFound):
            await platform.scale(revision.name, 0)
        for surplus in await self._store.write(lambda tx: _retired(tx, revision)):
            await platform.remove(surplus.name)
            await self._store.write(partial(_forget, revision=surplus))
        log.info("revision_retired", revision=revision.name, version=revision.spec.version)


def _is_due(tx: Tx, *, revision: RevisionRecord) -> bool:
    standing = {one.name: one.retire_at for one in tx.workload_revisions(revision.workload)}
    return standing.get(revision.name) == revision.retire_at


def _forget(tx: Tx, *, revision: RevisionRecord) -> None:
    tx.forget_revision(revision)


def _retired(tx: Tx, revision: RevisionRecord) -> list[RevisionRecord]:
    """Record that its replicas are gone, and return the revisions beyond those that are kept."""
    tx.retired(revision)
    workload = tx.workload(revision.workload)
    idle = [
        one
        for one in tx.workload_revisions(revision.workload)
        if one.idle and workload is not None and one.name != workload.stable and not workload.rollout_of
    ]
    return idle[HISTORY_LIMIT:]
