"""What the hot statements read of a long history: the few rows that matter, by an index made for them."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from opsuite_deployer.adapters import tables
from opsuite_deployer.composition import MIGRATIONS
from opsuite_storage.migrations import migrate
from opsuite_storage.store import open_store

C = tables.deployments.c
IN_PLACE = sa.select(tables.deployments).where(C.pipeline == "shop", C.environment == "staging")


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        pytest.param(IN_PLACE.where(C.holds_slot), "uq_deployments_slot", id="who holds the slot"),
        pytest.param(IN_PLACE.where(C.stable), "ix_deployments_stable", id="the stable ones"),
    ],
)
async def test_a_long_history_is_not_read_for(statement: sa.Select[tuple[object]], index: str, tmp_path: Path) -> None:
    store = open_store("sqlite", data_dir=tmp_path, name="deployer")
    await migrate(store, MIGRATIONS)

    def plan(connection: sa.Connection) -> str:
        text = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
        return str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all())

    assert index in await store.read(plan)
    await store.close()
