"""Bringing a database to the version of the code: one Alembic chain for both databases, one transaction, one lock."""

from __future__ import annotations

import asyncio
import importlib
import re
import threading
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from opsuite_storage.store import Store

_ALEMBIC: Final = threading.Lock()
"""Alembic's `op` is one per process, and two stores may be opened at once."""
_CHAIN: Final = "opsuite_storage.chain"
"""What knows Alembic: most starts find nothing to do, and do without the 7 MiB that it takes."""
_VERSION: Final = sa.table("alembic_version", sa.column("version_num", sa.String))


async def migrate(store: Store, location: Path) -> str | None:
    """Run what is missing of the chain in `<location>/versions`; the revision reached, None for an empty chain.

    All or nothing. Safe to repeat and to start from several replicas at once: the others wait, then find it done.
    Files are named after their revisions, in order: `0002_add_a_column.py` holds revision 0002.

    Raises: Conflict (the database is newer than this chain; nothing was changed).
    """
    reached = await current(store)
    if reached is not None and reached == _newest(location):
        return reached
    while not _ALEMBIC.acquire(blocking=False):  # noqa: ASYNC110 - the holder may be on another thread or loop
        await asyncio.sleep(0.01)
    try:
        chain = importlib.import_module(_CHAIN)
        return await store.alter(lambda connection: chain.upgrade(connection, location))
    finally:
        _ALEMBIC.release()


async def current(store: Store) -> str | None:
    """The revision that the database stands at; None before the first migration."""
    return await store.read(_current)


async def differences(store: Store, metadata: sa.MetaData) -> list[Any]:
    """What Alembic would still change to make the database fit `metadata`; empty when they agree."""
    chain = importlib.import_module(_CHAIN)
    return await store.read(lambda connection: chain.compare(connection, metadata))


def _current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    return connection.execute(sa.select(_VERSION.c.version_num)).scalar_one_or_none()


def _newest(location: Path) -> str | None:
    """The last revision of a chain, by the names of its files."""
    names = (re.match(r"([0-9]{4})_", file.name) for file in (location / "versions").glob("*.py"))
    return max((name[1] for name in names if name), default=None)
