"""What callers read in pages, straight from the rows, and what is cleared away when it is too old."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa

from opsuite.healer.v1 import runbook_pb2 as pb
from opsuite_healer.adapters import tables as shared
from opsuite_healer.adapters.runbooks import tables
from opsuite_healer.adapters.runbooks.execution_messages import execution_message
from opsuite_healer.adapters.runbooks.runbook_messages import record_message
from opsuite_healer.adapters.runbooks.transaction import record_of, runbook_record_of
from opsuite_healer.application.names import ANY
from opsuite_runs import events as event_log
from opsuite_storage.order import Key
from opsuite_storage.pages import Listing, Pages
from opsuite_storage.store import Store

_r, _e, _s = tables.runbooks.c, tables.executions.c, tables.runbook_issues.c
AT_ONCE: Final = 500
"""Executions that one transaction clears away."""

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class PageOf(Generic[M]):
    """Some messages, and the token of the page after them."""

    items: Sequence[M]
    next_token: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which executions."""

    runbook: str
    """Its id; ANY for all."""
    incident: str = ""
    is_active_only: bool = False


class Queries:
    """Reads for the contract."""

    def __init__(self, store: Store, pages: Pages) -> None:
        self._store = store
        self._pages = pages

    async def runbooks(self, issue: str, *, token: str, size: int) -> PageOf[pb.Runbook]:
        """A page of runbooks by name, for an issue or all. Raises InvalidInput."""
        statement = sa.select(tables.runbooks)
        if issue:
            statement = statement.where(_r.id.in_(sa.select(_s.runbook).where(_s.issue == issue)))
        rows, following = await self._page(statement, Key(_r.id), Listing("runbooks", "", issue), token, size)
        return PageOf([record_message(runbook_record_of(row)) for row in rows], following)

    async def executions(self, wanted: Wanted, *, token: str, size: int) -> PageOf[pb.Execution]:
        """A page of executions, the newest first. Raises InvalidInput."""
        statement = sa.select(tables.executions)
        if wanted.runbook != ANY:
            statement = statement.where(_e.runbook == wanted.runbook)
        if wanted.incident:
            statement = statement.where(_e.incident == wanted.incident)
        if wanted.is_active_only:
            statement = statement.where(tables.IS_GOING_ON)
        listing = Listing("executions", wanted.runbook, f"{wanted.incident} {wanted.is_active_only}")
        rows, following = await self._page(statement, Key(_e.id, descending=True), listing, token, size)
        return PageOf([execution_message(record_of(row), is_short=True) for row in rows], following)

    async def forget_before(self, moment: datetime) -> None:
        """Clear away executions that ended before, with their events. Raises Unavailable."""

        def body(connection: sa.Connection) -> int:
            old = sa.select(_e.id, _e.runbook).where(_e.ended_at < moment).limit(AT_ONCE)
            rows = connection.execute(old).all()
            if rows:
                names = [f"runbooks/{row.runbook}/executions/{row.id}" for row in rows]
                event_log.compact(connection, shared.events, names)
                connection.execute(sa.delete(tables.executions).where(_e.id.in_([row.id for row in rows])))
            return len(rows)

        while await self._store.write(body) == AT_ONCE:
            pass

    async def _page(
        self, statement: sa.Select[*tuple[Any, ...]], key: Key, listing: Listing, token: str, size: int
    ) -> tuple[list[Mapping[str, Any]], str]:
        page = await self._store.read(
            lambda connection: self._pages.read(
                connection, statement, order=(key,), listing=listing, token=token, size=size
            )
        )
        return [dict(row._mapping) for row in page.rows], page.next_token  # noqa: SLF001 - public, as `Pages` says
