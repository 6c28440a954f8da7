"""The last point of every series that is handed in. Fits `adapters.sources.pushed.PushedMetrics`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from opsuite_scaler.adapters import tables
from opsuite_scaler.adapters.sources.pushed import Point
from opsuite_storage.store import Store

_c = tables.points.c


def _newer(insert: sqlite.Insert | postgresql.Insert) -> sa.Insert:
    """Keeps a point only if it is newer than the one that is kept of its series."""
    return insert.on_conflict_do_update(
        index_elements=["metric", "member"],
        set_={"value": insert.excluded.value, "time": insert.excluded.time},
        where=_c.time < insert.excluded.time,
    )


_KEEP: Final[Mapping[str, sa.Insert]] = {
    "sqlite": _newer(sqlite.insert(tables.points)),
    "postgresql": _newer(postgresql.insert(tables.points)),
}


@dataclass(frozen=True, slots=True)
class NewPoint:
    """A point that somebody hands in."""

    metric: str
    member: str
    value: float
    at: datetime


class Points:
    """Keeps points; questions that come at the same time are asked of the database together."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked: dict[str, list[asyncio.Future[Sequence[Point]]]] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def put(self, points: Sequence[NewPoint]) -> int:
        """Keep those that are newer than what is kept of their series; how many were. Raises Unavailable."""
        latest: dict[tuple[str, str], NewPoint] = {}
        for point in points:
            known = latest.get((point.metric, point.member))
            if known is None or known.at < point.at:
                latest[point.metric, point.member] = point
        # In one order everywhere, so that two writers of the same series never wait for each other.
        rows = [
            {"metric": one.metric, "member": one.member, "value": one.value, "time": one.at}
            for _, one in sorted(latest.items())
        ]
        return await self._store.write(lambda connection: _keep(connection, rows))

    async def latest(self, metric: str) -> Sequence[Point]:
        """The last point of each series of a metric. Raises Unavailable."""
        answer: asyncio.Future[Sequence[Point]] = asyncio.get_running_loop().create_future()
        self._asked.setdefault(metric, []).append(answer)
        if len(self._asked) == 1 and len(self._asked[metric]) == 1:
            asking = asyncio.create_task(self._ask())
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
        return await answer

    async def forget_before(self, instant: datetime) -> int:
        """Drop series that nobody has handed in since then, and return how many those were."""
        statement = sa.delete(tables.points).where(_c.time < instant)
        return await self._store.write(lambda connection: connection.execute(statement).rowcount)

    async def _ask(self) -> None:
        """Answer everything that was asked by the time the loop comes here."""
        asked, self._asked = self._asked, {}
        try:
            found = await self._store.read(lambda connection: _read(connection, list(asked)))
        except Exception as error:  # noqa: BLE001 - whoever asked is told, whatever it is
            for answers in asked.values():
                for answer in answers:
                    if not answer.done():
                        answer.set_exception(error)
            return
        for metric, answers in asked.items():
            for answer in answers:
                if not answer.done():
                    answer.set_result(found.get(metric, ()))


def _keep(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> int:
    keep = _KEEP[connection.dialect.name].returning(_c.metric)
    return sum(len(connection.execute(keep, row).all()) for row in rows)


def _read(connection: sa.Connection, metrics: Sequence[str]) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    statement = sa.select(tables.points).where(_c.metric.in_(metrics)).order_by(_c.metric, _c.member)
    for row in connection.execute(statement).mappings():
        found.setdefault(row["metric"], []).append(Point(row["member"], row["value"], row["time"]))
    return found
