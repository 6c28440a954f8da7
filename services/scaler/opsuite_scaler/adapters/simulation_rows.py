"""Backtests and traces as rows, and the history of policies as loads."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from opsuite_kernel.clock import Clock
from opsuite_runs import audit, idempotency
from opsuite_runs.port import Call, Replay
from opsuite_scaler.adapters import tables
from opsuite_scaler.adapters.simulation_tables import backtests, traces
from opsuite_scaler.application.rehearsal import BacktestRecord, BacktestState, KeptTrace, Page, Played, Series
from opsuite_scaler.domain.simulation.report import Best, Measures
from opsuite_scaler.domain.simulation.traces import Trace
from opsuite_storage.store import Store as Database

Document = Mapping[str, Any]
_b = backtests.c
_WITHOUT_SERIES: Final = [column for column in _b if column.name != "series"]
KEPT: Final = 1000
_IS_RUNNING: Final = _b.state == BacktestState.RUNNING.value


class SqlBacktests:
    """Fits `application.rehearsal.Backtests` and `Histories`."""

    def __init__(self, database: Database, clock: Clock, *, keep: int = KEPT) -> None:
        """Keeps the newest `keep` backtests, and those that run."""
        self._database = database
        self._clock = clock
        self._keep = keep

    async def add(self, record: BacktestRecord, call: Call) -> str:
        """Keep a new one; returns its id, or that of the first answer to the same call."""
        row = _row(record) | {"id": record.id, "created_at": record.created_at, "created_by": record.created_by}

        def body(connection: sa.Connection) -> str:
            if known := self._replayed(connection, call):
                return known
            self._remember(connection, call, record.id)
            connection.execute(sa.insert(backtests).values(row))
            self._forget_oldest(connection)
            self._audit(connection, call)
            return record.id

        return await self._database.write(body)

    async def beat(self, backtest: str, progress: float) -> bool:
        """Say that it goes on; False when somebody has ended it."""
        beat = {"progress": progress, "beat_at": self._clock.now()}
        statement = sa.update(backtests).where(_b.id == backtest, _IS_RUNNING).values(beat)
        return await self._database.write(lambda connection: connection.execute(statement).rowcount == 1)

    async def end(self, record: BacktestRecord) -> None:
        """Keep how it ended, unless somebody else has ended it."""
        statement = sa.update(backtests).where(_b.id == record.id, _IS_RUNNING).values(_row(record))
        await self._database.write(lambda connection: connection.execute(statement).rowcount)

    async def get(self, backtest: str) -> BacktestRecord | None:
        """One with its series."""
        statement = sa.select(backtests).where(_b.id == backtest)
        row = await self._database.read(lambda connection: connection.execute(statement).mappings().one_or_none())
        return None if row is None else _record(row)

    async def page(self, size: int, before: str) -> Page:
        """Those older than an id (all for ""), without series."""
        statement = sa.select(*_WITHOUT_SERIES).order_by(_b.id.desc()).limit(size + 1)
        if before:
            statement = statement.where(_b.id < before)
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        found = [_record(row) for row in rows[:size]]
        return Page(found, found[-1].id if len(rows) > size else "")

    async def keep_trace(self, kept: KeptTrace, call: Call, *, replace: bool) -> bool:
        """Keep a trace; False when the name is taken and `replace` is not asked for."""
        row = _trace_row(kept) | {"created_at": self._clock.now(), "created_by": call.actor}
        taken = sa.select(traces.c.name).where(traces.c.name == kept.name)

        def body(connection: sa.Connection) -> bool:
            if self._replayed(connection, call):
                return True
            is_taken = connection.execute(taken).first() is not None
            if is_taken and not replace:
                return False
            self._remember(connection, call, kept.name)
            same = sa.update(traces).where(traces.c.name == kept.name) if is_taken else sa.insert(traces)
            connection.execute(same.values(row))
            self._audit(connection, call)
            return True

        return await self._database.write(body)

    async def trace(self, name: str) -> KeptTrace | None:
        """A kept trace."""
        statement = sa.select(traces).where(traces.c.name == name)
        row = await self._database.read(lambda connection: connection.execute(statement).mappings().one_or_none())
        return None if row is None else _trace(row)

    async def loads(self, policy: str, metric: str, since: datetime | None) -> Sequence[tuple[datetime, float]]:
        """Load of a metric in the order of time, from `since` on."""
        seen = tables.observations.c
        statement = sa.select(seen.time, seen["values"]).where(seen.policy == policy).order_by(seen.time)
        if since is not None:
            statement = statement.where(seen.time >= since)
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return [(at, float(values[metric])) for at, values in rows if metric in values]

    def _forget_oldest(self, connection: sa.Connection) -> None:
        oldest = sa.select(_b.id).order_by(_b.id.desc()).offset(self._keep).limit(1)
        if (found := connection.execute(oldest).scalar()) is not None:
            connection.execute(sa.delete(backtests).where(_b.id <= found, ~_IS_RUNNING))

    def _replayed(self, connection: sa.Connection, call: Call) -> str | None:
        """The first answer to this call; None if it is new."""
        if call.replay is None:
            return None
        known = idempotency.replay(connection, tables.requests, _key(call.replay), call.replay.fingerprint)
        return None if known is None else known.decode()

    def _remember(self, connection: sa.Connection, call: Call, answer: str) -> None:
        """What a repeat of this call is answered."""
        if call.replay is not None:
            key, now = _key(call.replay), self._clock.now()
            idempotency.remember(connection, tables.requests, key, call.replay.fingerprint, answer.encode(), now)

    def _audit(self, connection: sa.Connection, call: Call) -> None:
        if call.audit is not None:
            audit.append(connection, tables.audit, [call.audit], self._clock.now())


# --- rows ------------------------------------------------------------------------------------------------------------


def _row(record: BacktestRecord) -> dict[str, Any]:
    return {
        "display_name": record.display_name,
        "state": record.state.value,
        "progress": record.progress,
        "error": record.error,
        "beat_at": record.beat_at,
        "ended_at": record.ended_at,
        "ticks": record.ticks,
        "played": [_played_document(one) for one in record.played],
        "series": [None if one.series is None else _series_document(one.series) for one in record.played],
    }


def _record(row: sa.RowMapping) -> BacktestRecord:
    played = [_played(one) for one in row["played"]]
    series = row.get("series") or [None] * len(played)
    return BacktestRecord(
        id=row["id"],
        display_name=row["display_name"],
        state=BacktestState(row["state"]),
        progress=row["progress"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        beat_at=row["beat_at"],
        error=row["error"],
        ended_at=row["ended_at"],
        ticks=row["ticks"],
        played=tuple(
            replace(one, series=None if kept is None else _series(kept))
            for one, kept in zip(played, series, strict=True)
        ),
    )


def _played_document(played: Played) -> dict[str, Any]:
    return {
        "contender": played.contender,
        "measures": asdict(played.measures),
        "best": asdict(played.best),
        "reasons": dict(played.reasons),
    }


def _played(document: Document) -> Played:
    return Played(
        document["contender"], Measures(**document["measures"]), Best(**document["best"]), document["reasons"]
    )


def _series_document(series: Series) -> dict[str, Any]:
    names = sorted(set(series.reason))
    place = {name: index for index, name in enumerate(names)}
    return {
        "start": series.start.isoformat(),
        "step_seconds": series.step.total_seconds(),
        "load": list(series.load),
        "serving": list(series.serving),
        "desired": list(series.desired),
        "reasons": names,
        "reason": [place[name] for name in series.reason],
    }


def _series(document: Document) -> Series:
    return Series(
        datetime.fromisoformat(document["start"]),
        timedelta(seconds=document["step_seconds"]),
        document["load"],
        document["serving"],
        document["desired"],
        [document["reasons"][place] for place in document["reason"]],
    )


def _trace_row(kept: KeptTrace) -> dict[str, Any]:
    trace = kept.trace
    return {
        "name": kept.name,
        "metric": kept.metric,
        "started_at": trace.start,
        "step_seconds": trace.step.total_seconds(),
        "points": len(trace.values),
        "content": zlib.compress(array("d", trace.values).tobytes() + trace.marks),
    }


def _trace(row: sa.RowMapping) -> KeptTrace:
    content, count = zlib.decompress(row["content"]), row["points"]
    values = array("d")
    values.frombytes(content[: count * values.itemsize])
    step = timedelta(seconds=row["step_seconds"])
    trace = Trace(row["name"], step, tuple(values), content[count * values.itemsize :], row["started_at"])
    return KeptTrace(row["name"], row["metric"], trace)


def _key(replay: Replay) -> tuple[str, str, str]:
    return replay.principal, replay.method, replay.request_id
