"""Bringing a database to the version of the code: one Alembic chain for both databases, one transaction, one lock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory

from opsuite_kernel.errors import Conflict
from opsuite_storage.store import Store

OWN_TABLES: Final = frozenset({"opsuite_keys"})
"""Made by this package when first needed; no service's metadata names them."""
_ALEMBIC: Final = threading.Lock()
"""Alembic's `op` is one per process, and two stores may be opened at once."""


async def migrate(store: Store, location: Path) -> str | None:
    """Run what is missing of the chain in `<location>/versions`; the revision reached, None for an empty chain.

    All or nothing. Safe to repeat and to start from several replicas at once: the others wait, then find it done.

    Raises: Conflict (the database is newer than this chain; nothing was changed).
    """
    script = ScriptDirectory(str(location))
    while not _ALEMBIC.acquire(blocking=False):  # noqa: ASYNC110 - the holder may be on another thread or loop
        await asyncio.sleep(0.01)
    try:
        return await store.alter(lambda connection: _upgrade(connection, script))
    finally:
        _ALEMBIC.release()


async def current(store: Store) -> str | None:
    """The revision that the database stands at; None before the first migration."""
    return await store.read(_current)


async def differences(store: Store, metadata: sa.MetaData) -> list[Any]:
    """What Alembic would still change to make the database fit `metadata`; empty when they agree."""

    def compare(connection: sa.Connection) -> list[Any]:
        options = {"compare_type": True, "include_object": _is_of_the_service}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    return await store.read(compare)


def _current(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: sa.Connection, script: ScriptDirectory) -> str | None:
    present = _current(connection)
    if present is not None and present not in {each.revision for each in script.walk_revisions()}:
        raise Conflict(
            f"the database is at revision {present}, which this version does not know: it was used by a newer one",
            reason="DATABASE_NEWER",
            metadata={"revision": present},
        )

    def steps(revision: Any, _context: MigrationContext) -> Iterable[RevisionStep]:
        return script._upgrade_revs("head", revision)  # noqa: SLF001 - what alembic.command.upgrade calls as well

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=connection, render_as_batch=True)
        environment.run_migrations()
    _require_sound_references(connection)
    return _current(connection)


def _require_sound_references(connection: sa.Connection) -> None:
    """SQLite does not look at foreign keys while tables are rebuilt, so it looks now."""
    if connection.dialect.name != "sqlite":
        return
    if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise RuntimeError(f"the migration leaves a row of {broken[0]} that points to nothing in {broken[2]}")


def _is_of_the_service(_thing: Any, name: str | None, kind: str, _reflected: bool, _compared_to: Any) -> bool:
    return not (kind == "table" and name in OWN_TABLES)
