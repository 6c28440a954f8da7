"""What the migrations make is what the code expects, on both databases."""

from opsuite_scaler.adapters import simulation_tables
from opsuite_scaler.composition import MIGRATIONS
from opsuite_storage.migrations import differences, migrate
from opsuite_storage.store import Store


async def test_migrations_make_the_tables_of_the_code(store: Store) -> None:
    await migrate(store, MIGRATIONS)

    assert await differences(store, simulation_tables.backtests.metadata) == []
