"""The part of migrations that needs Alembic, which costs memory and time; imported only when there is work for it."""

from __future__ import annotations

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

OWN_TABLES: Final = frozenset({"opsuite_keys"})
"""Made by this package when first needed; no service's metadata names them."""


def compare(connection: sa.Connection, metadata: sa.MetaData) -> list[Any]:
    """What Alembic would still change to make the database fit `metadata`."""
    options = {"compare_type": True, "include_object": _is_of_the_service}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def upgrade(connection: sa.Connection, location: Path) -> str | None:
    """Run what is missing of a chain and return the revision reached. Raises Conflict."""
    script = ScriptDirectory(str(location))
    present = _revision(connection)
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
    return _revision(connection)


def _revision(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _require_sound_references(connection: sa.Connection) -> None:
    """SQLite does not look at foreign keys while tables are rebuilt, so it looks now."""
    if connection.dialect.name != "sqlite":
        return
    if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise RuntimeError(f"the migration leaves a row of {broken[0]} that points to nothing in {broken[2]}")


def _is_of_the_service(_thing: Any, name: str | None, kind: str, _reflected: bool, _compared_to: Any) -> bool:
    return not (kind == "table" and name in OWN_TABLES)
