"""A revision that was not committed is forgotten, also by the cache of pipelines."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes.clock import NOON
from fakes.pipelines import a_pipeline

from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.database import SqlStore, SqlTx
from opsuite_deployer.adapters.pipeline_messages import document_of, pipeline_of
from opsuite_deployer.adapters.revisions import RevisionCache
from opsuite_deployer.application.ports import Revision
from opsuite_deployer.composition import MIGRATIONS
from opsuite_kernel.clock import SystemClock
from opsuite_runs.lease import Leases, new_owner
from opsuite_runs.watch import Hub
from opsuite_storage.migrations import migrate
from opsuite_storage.store import Store


async def no_events(*_: object) -> list[object]:
    return []


def a_revision(environment: str) -> Revision:
    message = a_pipeline("hello", environments=[environment])
    return Revision(pipeline_of(message), 1, document_of(message), NOON)


def environments_after_adding(tx: SqlTx, revision: Revision) -> tuple[str, ...]:
    tx.add_revision(revision)
    found = tx.revision_of("hello")
    assert found is not None
    return found.pipeline.environments


async def test_a_pipeline_is_kept_only_once_its_revision_is_committed(store: Store) -> None:
    await migrate(store, MIGRATIONS)
    clock, cache = SystemClock(), RevisionCache()
    leases = Leases(tables.deployments, lease=timedelta(seconds=15))
    transactions = SqlStore(store, leases, Hub(no_events, clock), new_owner(), cache, clock)  # type: ignore[arg-type]  # nobody follows

    def taken_back(tx: SqlTx) -> None:
        assert environments_after_adding(tx, a_revision("moon")) == ("moon",)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await transactions.write(taken_back)
    assert cache.known("hello", 1) is None

    assert await transactions.write(lambda tx: environments_after_adding(tx, a_revision("earth"))) == ("earth",)
    await transactions.read(lambda tx: tx.revision_of("hello"))
    kept = cache.known("hello", 1)
    assert kept is not None
    assert kept.environments == ("earth",)
