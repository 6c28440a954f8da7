"""What the migrations make is what the code expects, on both databases."""

from opsuite_healer.adapters import tables
from opsuite_healer.composition import service
from opsuite_storage.migrations import differences, migrate
from opsuite_storage.store import Store


async def test_migrations_make_the_tables_of_the_code(store: Store) -> None:
    await migrate(store, service.MIGRATIONS)  # importing the service brings in the tables of every part

    assert await differences(store, tables.metadata) == []
