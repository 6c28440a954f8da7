"""A deployment that is read again and again: rendered once, and never shown as it no longer is."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from fakes.deployments import a_deployment

from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.glance import glance_at
from opsuite_deployer.adapters.queries import Queries
from opsuite_deployer.adapters.revisions import RevisionCache
from opsuite_deployer.adapters.rows import changing_columns, fixed_columns
from opsuite_deployer.application.deployments import Reference
from opsuite_deployer.composition import MIGRATIONS
from opsuite_deployer.domain.deployment import Deployment, Status
from opsuite_deployer.domain.errors import DeploymentNotFound
from opsuite_kernel.clock import SystemClock
from opsuite_storage.migrations import migrate
from opsuite_storage.pages import open_pages
from opsuite_storage.prepared import Prepared
from opsuite_storage.store import Store, open_store

RUNNING = a_deployment(status=Status.RUNNING)
WHERE = Reference(RUNNING.pipeline, RUNNING.environment, RUNNING.id)


async def queries_of(store: Store, *deployments: Deployment) -> Queries:
    await migrate(store, MIGRATIONS)
    no_stages = {"pipeline": RUNNING.pipeline, "number": 1, "document": b"", "created_by": "anna"}
    counts = {"revision": 1, "turn": 1, "epoch": 1}

    def add(connection: sa.Connection) -> None:
        connection.execute(sa.insert(tables.pipelines).values(id=RUNNING.pipeline, latest=1, deleted=False))
        connection.execute(sa.insert(tables.pipeline_revisions).values(**no_stages, created_at=RUNNING.created_at))
        for each in deployments:
            columns = {**fixed_columns(each), **changing_columns(each), **counts}
            connection.execute(sa.insert(tables.deployments).values(columns))

    await store.write(add)
    return Queries(store, await open_pages(store, SystemClock()), RevisionCache())


async def change(store: Store, uid: str, **values: object) -> None:
    statement = sa.update(tables.deployments).where(tables.deployments.c.id == uid).values(**values)
    await store.write(lambda connection: connection.execute(statement).rowcount)


async def test_what_has_not_changed_is_not_rendered_again(store: Store) -> None:
    queries = await queries_of(store, RUNNING)

    first = await queries.deployment(WHERE)

    assert await queries.deployment(WHERE) is first


@pytest.mark.parametrize(
    ("values", "field"),
    [
        pytest.param({"status": "FAILED", "turn": 2, "revision": 2}, "status", id="a turn"),
        pytest.param({"rolled_back_by": "another"}, "rolled_back_by", id="a change without an event"),
    ],
)
async def test_a_change_is_shown_at_once(store: Store, values: dict[str, object], field: str) -> None:
    queries = await queries_of(store, RUNNING)
    before = (await queries.deployment(WHERE)).message

    await change(store, RUNNING.id, **values)

    now = (await queries.deployment(WHERE)).message
    assert getattr(now, field) != getattr(before, field)


async def test_the_place_in_the_queue_follows_those_before(store: Store) -> None:
    first = a_deployment(id="0000000000000000000000001")
    second = a_deployment(id="0000000000000000000000002")
    where = Reference(second.pipeline, second.environment, second.id)
    queries = await queries_of(store, first, second)
    assert (await queries.deployment(where)).message.queue_position == 2

    await change(store, first.id, status="CANCELLED")

    assert (await queries.deployment(where)).message.queue_position == 1


async def test_what_was_read_before_is_found_under_its_own_name_only(store: Store) -> None:
    queries = await queries_of(store, RUNNING)
    await queries.deployment(WHERE)

    with pytest.raises(DeploymentNotFound):
        await queries.deployment(Reference(WHERE.pipeline, "production", WHERE.uid))


async def test_a_glance_that_fails_sees_nothing(tmp_path: Path) -> None:
    store = open_store("sqlite", data_dir=tmp_path, name="deployer")
    glance = await glance_at(store)

    assert glance is not None
    assert glance.row(Prepared(sa.select(tables.deployments)), {}) is None  # the table is not there yet
    await store.close()
