"""Checks in pages, straight from the rows. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from opsuite.healer.v1 import check_pb2 as pb
from opsuite_healer.adapters.checks import tables
from opsuite_healer.adapters.checks.health_messages import check_message
from opsuite_healer.adapters.checks.transaction import SpecCache, subject_of
from opsuite_storage.filters import Field, Kind, condition
from opsuite_storage.order import Key
from opsuite_storage.pages import Listing, Pages
from opsuite_storage.store import Store

_c, _s = tables.checks.c, tables.subjects.c
FIELDS: Final[Mapping[str, Field]] = {
    "uid": Field(_c.id, Kind.TEXT),
    "workload": Field(_c.workload, Kind.TEXT),
    "platform": Field(_c.platform, Kind.TEXT),
    "group": Field(_c.group, Kind.TEXT),
    "created_by": Field(_c.created_by, Kind.TEXT),
    "create_time": Field(_c.created_at, Kind.TIMESTAMP),
    "update_time": Field(_c.updated_at, Kind.TIMESTAMP),
}


class Queries:
    """Reads for the contract."""

    def __init__(self, database: Store, pages: Pages, specs: SpecCache) -> None:
        self._database = database
        self._pages = pages
        self._specs = specs

    async def checks(self, *, filter_: str, token: str, size: int) -> tuple[Sequence[pb.Check], str]:
        """A page of checks, by name, and the token of the next. Raises InvalidInput."""
        statement = sa.select(tables.checks).where(condition(filter_, FIELDS))

        def body(connection: sa.Connection) -> tuple[Sequence[pb.Check], str]:
            page = self._pages.read(
                connection,
                statement,
                order=(Key(_c.id),),
                listing=Listing("checks", "", filter_),
                token=token,
                size=size,
            )
            rows = [dict(row._mapping) for row in page.rows]  # noqa: SLF001 - public, as `Pages` says
            known = _subjects_of(connection, [row["id"] for row in rows])
            found = [(self._specs.record(row), known.get(row["id"], [])) for row in rows]
            return [check_message(record, map(subject_of, those)) for record, those in found], page.next_token

        return await self._database.read(body)


def _subjects_of(connection: sa.Connection, ids: Sequence[str]) -> Mapping[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in connection.execute(sa.select(tables.subjects).where(_s.check_id.in_(ids))).mappings():
        found.setdefault(row["check_id"], []).append(dict(row))
    return found
