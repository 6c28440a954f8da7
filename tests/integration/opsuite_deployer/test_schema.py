"""What the migrations make is what the code expects, on both databases."""

from typing import Any

import pytest
import sqlalchemy as sa
from fakes.clock import NOON
from sqlalchemy.exc import IntegrityError

from opsuite_deployer.adapters import tables
from opsuite_deployer.composition import MIGRATIONS
from opsuite_storage.migrations import differences, migrate
from opsuite_storage.store import Store


async def test_migrations_make_the_tables_of_the_code(store: Store) -> None:
    await migrate(store, MIGRATIONS)

    assert await differences(store, tables.metadata) == []


async def test_migrations_make_the_partial_indexes_of_the_code(store: Store) -> None:
    """Alembic does not compare the conditions of indexes, and the index of slots is the judge of one at a time."""
    await migrate(store, MIGRATIONS)

    await store.write(lambda connection: _hold(connection, "one", holds_slot=True))
    await store.write(lambda connection: _hold(connection, "two", holds_slot=False))
    with pytest.raises(IntegrityError):
        await store.write(lambda connection: _hold(connection, "three", holds_slot=True))


async def test_migrating_again_changes_nothing(store: Store) -> None:
    first = await migrate(store, MIGRATIONS)

    assert await migrate(store, MIGRATIONS) == first


def _hold(connection: sa.Connection, uid: str, *, holds_slot: bool) -> None:
    needed = [column for column in tables.deployments.columns if not column.nullable]
    row = {column.name: _anything(column) for column in needed}
    connection.execute(sa.insert(tables.deployments).values(row | {"id": uid, "holds_slot": holds_slot}))


def _anything(column: sa.Column[Any]) -> Any:
    if column.name in {"warnings", "variables"}:
        return {}
    return NOON if column.name.endswith("_at") else column.type.python_type()
