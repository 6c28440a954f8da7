"""The watch stream of health: a snapshot, then every event after it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

import sqlalchemy as sa

from opsuite.healer.v1 import check_pb2
from opsuite.healer.v1 import health_check_service_pb2 as pb
from opsuite_healer.adapters import tables as shared
from opsuite_healer.adapters.checks.health_messages import health_message
from opsuite_healer.adapters.checks.transaction import SqlChecks
from opsuite_healer.adapters.feeds import DEFAULT_BATCH, Feeds, Told, heartbeat_of, latest_of_all
from opsuite_healer.adapters.unit import SqlStore, SqlUnit
from opsuite_healer.application.checks.errors import CheckNotFound
from opsuite_healer.application.names import ANY, CHECKS, id_of
from opsuite_rpc.values import given, timestamp

ALL: Final = f"{CHECKS}{ANY}"
MOST_SHOWN: Final = 1000
"""Checks in a snapshot of all."""


class Watches:
    """Serves WatchHealth."""

    def __init__(self, store: SqlStore, transaction: Callable[[SqlUnit], SqlChecks], feeds: Feeds) -> None:
        self._store = store
        self._transaction = transaction
        self._feeds = feeds

    async def follow(self, request: pb.WatchHealthRequest) -> AsyncIterator[pb.WatchHealthResponse]:
        """A snapshot unless it resumes, then every event after it; the end after that of a deleted check."""
        resumes = bool(request.resume_token)
        latest, snapshot = await self._store.read(lambda unit: self._begin(unit, request.name, resumes=resumes))
        after = self._feeds.after(request.name, request.resume_token, latest) if resumes else latest
        if snapshot is not None and not resumes:
            yield self._answer(self._feeds.token(request.name, latest), snapshot=snapshot)
        if snapshot is None and after >= latest:
            return  # it was deleted, and all of that was told
        most = given(request, "max_batch", DEFAULT_BATCH)
        heartbeat = heartbeat_of(request)
        async for told in self._feeds.follow(request.name, after, heartbeat=heartbeat, most=most):
            answer = self._of(told)
            yield answer
            if request.name != ALL and answer.events and _is_last(answer.events[-1]):
                return

    def _begin(self, unit: SqlUnit, name: str, *, resumes: bool) -> tuple[int, pb.HealthSnapshot | None]:
        """Number of the last event, and what there is; None for a check that was deleted. Raises CheckNotFound."""
        tx = self._transaction(unit)
        if name == ALL:
            shown = [] if resumes else tx.ids("")[:MOST_SHOWN]
            return latest_of_all(unit), pb.HealthSnapshot(statuses=[_status(tx, check) for check in shown])
        record = tx.check(id_of(name))
        if record is not None:
            return record.revision, pb.HealthSnapshot(statuses=[_status(tx, record.spec.id)])
        c = shared.events.events.c
        last: int | None = unit.connection.execute(
            sa.select(sa.func.max(c.revision)).where(c.resource == name)
        ).scalar_one()
        if last is None or not resumes:
            raise CheckNotFound(id_of(name))
        return last, None

    def _of(self, told: Told) -> pb.WatchHealthResponse:
        answer = self._answer(told.resume_token)
        if not told.payloads:
            answer.bookmark.SetInParent()
        for payload in told.payloads:
            answer.events.add().MergeFromString(payload)
        return answer

    def _answer(self, token: str, snapshot: pb.HealthSnapshot | None = None) -> pb.WatchHealthResponse:
        now = self._store.clock.now()
        return pb.WatchHealthResponse(resume_token=token, snapshot=snapshot, server_time=timestamp(now))


def _status(tx: SqlChecks, check: str) -> check_pb2.CheckHealth:
    record = tx.check(check)
    if record is None:
        raise CheckNotFound(check)
    return health_message(record, tx.subjects(check).values())


def _is_last(event: check_pb2.CheckEvent) -> bool:
    return event.kind == check_pb2.CHECK_EVENT_KIND_DELETED
