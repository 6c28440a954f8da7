"""What is kept for a while only is cleared away after it, and nothing else is."""

from __future__ import annotations

from datetime import timedelta

from fakes.clock import FakeClock
from fakes.scaler_stage import ADA, Stage
from scaler import a_policy

from opsuite_kernel.clock import SystemClock
from opsuite_scaler.adapters import tables
from opsuite_scaler.adapters.tidying import Keeping, Tidying
from opsuite_scaler.composition import MIGRATIONS
from opsuite_storage.migrations import migrate
from opsuite_storage.store import Store

DAY = timedelta(days=1)
KEEPING = Keeping(activities=30 * DAY, observations=30 * DAY, points=DAY)


async def test_old_activities_go_but_for_the_last_one_of_each_policy(store: Store) -> None:
    await migrate(store, MIGRATIONS)
    stage = Stage(store)
    await stage.create(a_policy("shop"), size=1)
    stage.sources.values["jobs"] = 35
    for jobs in (35, 5, 35):
        stage.sources.values["jobs"] = jobs
        await stage.look()
    before = await stage.activities()

    await Tidying(store, FakeClock(SystemClock().now() + 31 * DAY), KEEPING).run()

    assert [one.id for one in await stage.activities()] == [before[-1].id]
    assert (await stage.standing()).last == before[-1]
    assert await _count(store, "observations") == 0


async def test_what_is_young_stays(store: Store) -> None:
    await migrate(store, MIGRATIONS)
    stage = Stage(store)
    await stage.create(a_policy("shop"), size=1)
    for jobs in (35, 5):
        stage.sources.values["jobs"] = jobs
        await stage.look()

    await Tidying(store, SystemClock(), KEEPING).run()

    assert len(await stage.activities()) == 2
    assert await _count(store, "observations") == 1


async def test_events_of_a_policy_that_was_deleted_long_ago_are_compacted(store: Store) -> None:
    await migrate(store, MIGRATIONS)
    stage = Stage(store)
    for name in ("gone", "here"):
        await stage.create(a_policy(name), size=1)
    await stage.policies.delete("gone", "", ADA)

    await Tidying(store, FakeClock(SystemClock().now() + 31 * DAY), KEEPING).run()

    kept = await store.read(lambda connection: connection.execute(tables.events.events.select()).all())
    assert [(row.resource, row.revision) for row in kept] == [("scalingPolicies/here", 1), ("scalingPolicies/gone", 2)]


async def _count(store: Store, table: str) -> int:
    rows = await store.read(lambda connection: connection.execute(tables.metadata.tables[table].select()).all())
    return len(rows)
