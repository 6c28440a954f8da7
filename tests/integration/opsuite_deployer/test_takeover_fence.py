"""The fence under every record of an owner, on both databases: whoever lost a deployment changes nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.clock import NOON
from fakes.deployments import a_deployment, step_key
from fakes.pipelines import a_pipeline

from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.database import SqlStore
from opsuite_deployer.adapters.pipeline_messages import document_of, pipeline_of
from opsuite_deployer.adapters.revisions import RevisionCache
from opsuite_deployer.application.ports import Owned, Revision, Standing
from opsuite_deployer.composition import MIGRATIONS
from opsuite_deployer.domain.deployment import PartRun, Status, StepStatus
from opsuite_deployer.domain.turn import EventKind, Happened
from opsuite_kernel.clock import SystemClock
from opsuite_runs.lease import Leases, new_owner
from opsuite_runs.port import FencedOut
from opsuite_runs.watch import Hub
from opsuite_storage.migrations import migrate
from opsuite_storage.store import Store

WARNING = Happened(EventKind.WARNING, Status.RUNNING, message="late")
DEPLOYMENT = a_deployment(status=Status.RUNNING, started_at=NOON, holds_slot=True)


async def no_events(*_: object) -> list[object]:
    return []


@pytest.fixture
async def replica(store: Store) -> Callable[[], SqlStore]:
    """Makes replicas over one database that holds a running deployment."""
    await migrate(store, MIGRATIONS)

    def make() -> SqlStore:
        clock = SystemClock()
        leases = Leases(tables.deployments, lease=timedelta(seconds=15))
        return SqlStore(store, leases, Hub(no_events, clock), new_owner(), RevisionCache(), clock)  # type: ignore[arg-type]  # nobody follows

    pipeline = a_pipeline("hello")
    revision = Revision(pipeline_of(pipeline), 1, document_of(pipeline), NOON)
    created = [Happened(EventKind.CREATED, Status.QUEUED)]
    await make().write(lambda tx: tx.add_revision(revision))
    await make().write(lambda tx: tx.add(DEPLOYMENT, created))
    return make


async def take(replica: SqlStore) -> Owned:
    """Own the deployment, whoever owned it before."""
    return await replica.write(lambda tx: tx.owned(tx.take_over_all()[0]))


async def standing(replica: SqlStore) -> Standing | None:
    return await replica.read(lambda tx: tx.get(DEPLOYMENT.id))


async def test_an_owner_that_was_taken_over_records_nothing(replica: Callable[[], SqlStore]) -> None:
    one, other = replica(), replica()
    lost = await take(one)
    kept = await take(other)
    before = await standing(other)
    after = replace(lost.deployment, message="late", parts={step_key(): PartRun(StepStatus.RUNNING, 1, NOON)})

    with pytest.raises(FencedOut):
        await one.write(lambda tx: tx.save(lost, after, [WARNING]))

    assert await standing(other) == before
    assert (await other.write(lambda tx: tx.save(kept, after, [WARNING]))).deployment.message == "late"


async def test_a_turn_is_recorded_once(replica: Callable[[], SqlStore]) -> None:
    one = replica()
    owned = await take(one)
    await one.write(lambda tx: tx.save(owned, replace(owned.deployment, message="first"), [WARNING]))
    before = await standing(one)

    with pytest.raises(FencedOut):
        await one.write(lambda tx: tx.save(owned, replace(owned.deployment, message="second"), [WARNING]))

    assert await standing(one) == before


async def test_an_owner_that_was_taken_over_gives_nothing_back(replica: Callable[[], SqlStore]) -> None:
    one, other = replica(), replica()
    lost = await take(one)
    kept = await take(other)

    await one.write(lambda tx: tx.release(lost.lease))

    assert (await other.read(lambda tx: tx.owned(kept.lease))).lease == kept.lease
    assert await one.read(lambda tx: tx.given_back()) == []
