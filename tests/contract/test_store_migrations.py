"""One chain of migrations brings either database to what the code expects."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from opsuite_kernel.errors import Conflict
from opsuite_storage.columns import Json, UtcDateTime, new_metadata
from opsuite_storage.migrations import current, differences, migrate
from opsuite_storage.store import Store, open_store

FIRST = '''"""Create owners and things."""
import sqlalchemy as sa
from alembic import op
from opsuite_storage.columns import Json, UtcDateTime
revision, down_revision = "0001", None
def upgrade():
    op.create_table(
        "owners",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("since", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_owners"),
    )
    op.create_table(
        "things",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("owner", sa.Integer, nullable=False),
        sa.Column("facts", Json),
        sa.PrimaryKeyConstraint("id", name="pk_things"),
        sa.ForeignKeyConstraint(["owner"], ["owners.id"], name="fk_things_owner_owners", ondelete="CASCADE"),
    )
'''
SECOND = '''"""Add owners.name, and drop its server default: SQLite has to rebuild the table for that."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0002", "0001"
def upgrade():
    op.add_column("owners", sa.Column("name", sa.String(63), nullable=False, server_default="nobody"))
    with op.batch_alter_table("owners") as owners:
        owners.alter_column("name", server_default=None)
'''
BROKEN = '''"""Do half of it."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0003", "0002"
def upgrade():
    op.create_table("half", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("SELECT nothing FROM nowhere")
'''

METADATA = new_metadata()
OWNERS = sa.Table(
    "owners",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("since", UtcDateTime, nullable=False),
    sa.Column("name", sa.String(63), nullable=False),
)
THINGS = sa.Table(
    "things",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("owner", sa.ForeignKey("owners.id", ondelete="CASCADE"), nullable=False),
    sa.Column("facts", Json),
)


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    return chain_of(tmp_path / "migrations", FIRST, SECOND)


def chain_of(location: Path, *scripts: str) -> Path:
    (location / "versions").mkdir(parents=True, exist_ok=True)
    for number, script in enumerate(scripts, start=1):
        (location / "versions" / f"{number:04}_step.py").write_text(script)
    return location


async def test_a_new_database_reaches_the_newest_revision_and_fits_the_tables_of_the_code(
    store: Store, chain: Path
) -> None:
    assert await current(store) is None

    assert await migrate(store, chain) == "0002"

    assert await current(store) == "0002"
    assert await differences(store, METADATA) == []


async def test_a_column_that_no_migration_made_is_reported(store: Store, chain: Path) -> None:
    await migrate(store, chain)
    later = new_metadata()
    for table in METADATA.tables.values():
        table.to_metadata(later)
    later.tables["owners"].append_column(sa.Column("forgotten", sa.String))

    assert "forgotten" in str(await differences(store, later))


async def test_rebuilding_a_table_keeps_the_rows_that_point_to_it(store: Store, tmp_path: Path) -> None:
    location = chain_of(tmp_path / "migrations", FIRST)
    await migrate(store, location)
    await store.write(lambda tx: tx.execute(sa.text("INSERT INTO owners VALUES (1, '2026-06-01 12:00:00.000000')")))
    await store.write(lambda tx: tx.execute(sa.text("INSERT INTO things VALUES (1, 1, NULL)")))

    await migrate(store, chain_of(location, FIRST, SECOND))

    assert await store.read(lambda tx: tx.execute(sa.select(THINGS.c.id)).scalars().all()) == [1]
    with pytest.raises(sa.exc.IntegrityError):  # foreign keys are enforced again
        await store.write(lambda tx: tx.execute(sa.insert(THINGS).values(id=2, owner=99)))


async def test_a_failing_migration_changes_nothing(store: Store, chain: Path) -> None:
    await migrate(store, chain)

    with pytest.raises(sa.exc.DBAPIError):
        await migrate(store, chain_of(chain, FIRST, SECOND, BROKEN))

    assert await current(store) == "0002"
    assert not await store.read(lambda tx: sa.inspect(tx).has_table("half"))


async def test_a_database_of_a_newer_version_is_refused_by_name(store: Store, chain: Path, tmp_path: Path) -> None:
    await migrate(store, chain)

    with pytest.raises(Conflict, match="0002") as refusal:
        await migrate(store, chain_of(tmp_path / "older", FIRST))

    assert refusal.value.reason == "DATABASE_NEWER"


async def test_replicas_that_start_together_migrate_once(postgres_url: str, chain: Path, tmp_path: Path) -> None:
    replicas = [open_store(postgres_url, data_dir=tmp_path, name="test") for _ in range(4)]
    try:
        reached = await asyncio.gather(*(migrate(replica, chain) for replica in replicas))
    finally:
        await asyncio.gather(*(replica.close() for replica in replicas))

    assert reached == ["0002"] * 4


async def test_a_schema_of_its_own_keeps_two_services_in_one_database_apart(
    postgres_url: str, chain: Path, tmp_path: Path
) -> None:
    one = open_store(f"{postgres_url}?schema=one", data_dir=tmp_path, name="one")
    two = open_store(f"{postgres_url}?schema=two", data_dir=tmp_path, name="two")
    try:
        await migrate(one, chain)

        assert await current(one) == "0002"
        assert await current(two) is None
        assert await differences(one, METADATA) == []
    finally:
        await one.close()
        await two.close()
