"""The bounded table of call spans, from which GetTrace takes the root of a deployment's trace."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite

from opsuite_deployer.adapters import tables
from opsuite_kernel.errors import OpsuiteError
from opsuite_storage.store import Store
from opsuite_telemetry.port import SpanKind, SpanRecord

log = structlog.get_logger(__name__)

KEPT: Final = ("DeploymentService/Deploy", "DeploymentService/RetryDeployment", "DeploymentService/Rollback")
"""Ends of the names of calls that begin or continue a deployment's trace; spans of reads would only fill the table."""
WAITING: Final = 10_000
"""Spans that may wait to be written; older ones are dropped."""
FLUSH_SECONDS: Final = 0.5

_IGNORING: Final = {
    "sqlite": sqlite.insert(tables.spans).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(tables.spans).on_conflict_do_nothing(),
}


class SpanTable:
    """Fits `opsuite_telemetry.port.SpanSink`: takes spans at once, writes them soon."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[SpanRecord] = deque(maxlen=WAITING)
        self._flushing = asyncio.Lock()
        """The last flush of a process meets the one that goes on beside it."""

    def wants(self, kind: SpanKind, name: str) -> bool:
        """Whether it is of a call that deployments come from."""
        return kind is SpanKind.SERVER and name.endswith(KEPT)

    def add(self, span: SpanRecord) -> None:
        """Take one."""
        self._waiting.append(span)

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self.flush()
            except OpsuiteError as error:
                log.warning("spans_not_kept", why=error.message, waiting=len(self._waiting))

    async def flush(self) -> None:
        """Write what waits now. Raises Unavailable, and then it waits on."""
        async with self._flushing:
            spans = list(self._waiting)
            if not spans:
                return
            rows = [_row(span) for span in spans]
            insert = _IGNORING[self._store.dialect]
            await self._store.write(lambda connection: _insert(connection, insert, rows))
            written = set(map(id, spans))
            while self._waiting and id(self._waiting[0]) in written:  # some may have been dropped meanwhile
                self._waiting.popleft()


def _insert(connection: sa.Connection, insert: sa.Insert, rows: list[dict[str, object]]) -> None:
    connection.execute(insert, rows)


def _row(span: SpanRecord) -> dict[str, object]:
    return {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_span_id": span.parent_span_id,
        "name": span.name,
        "started_at": span.start,
        "ended_at": span.end,
        "attributes": {name: str(value) for name, value in span.attributes.items()},
        "failed": span.failed,
        "links": [f"{link.trace_id}/{link.span_id}" for link in span.links],
    }
