"""The watch stream of remediations: those that are under way, then each as it is after every change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

import sqlalchemy as sa

from opsuite.healer.v1 import healing_service_pb2 as pb
from opsuite.healer.v1 import remediation_pb2
from opsuite_healer.adapters.feeds import DEFAULT_BATCH, Feeds, heartbeat_of, latest_of_all
from opsuite_healer.adapters.remediation import tables
from opsuite_healer.adapters.remediation.queries import whole
from opsuite_healer.adapters.unit import SqlStore, SqlUnit
from opsuite_healer.application.names import ANY, REMEDIATIONS, id_of
from opsuite_healer.application.remediation.errors import RemediationNotFound

ALL: Final = f"{REMEDIATIONS}{ANY}"
MOST_SHOWN: Final = 1000
"""Remediations in the first answer of a stream of all."""


class Watches:
    """Serves WatchRemediations."""

    def __init__(self, store: SqlStore, feeds: Feeds) -> None:
        self._store = store
        self._feeds = feeds

    async def follow(self, request: pb.WatchRemediationsRequest) -> AsyncIterator[pb.WatchRemediationsResponse]:
        """What there is unless it resumes, then every change; the end after the last one of a single remediation."""
        name = request.name
        latest, found = await self._store.read(lambda unit: _begin(unit, name))
        if request.resume_token:
            after = self._feeds.after(name, request.resume_token, latest)
        else:
            after = latest
            yield pb.WatchRemediationsResponse(remediations=found, resume_token=self._feeds.token(name, latest))
        if name != ALL and found[0].HasField("end_time") and after == latest:
            return
        async for told in self._feeds.follow(name, after, heartbeat=heartbeat_of(request), most=DEFAULT_BATCH):
            answer = pb.WatchRemediationsResponse(resume_token=told.resume_token)
            for payload in told.payloads:
                answer.remediations.add().MergeFromString(payload)
            yield answer
            if name != ALL and answer.remediations and answer.remediations[-1].HasField("end_time"):
                return


def _begin(unit: SqlUnit, name: str) -> tuple[int, Sequence[remediation_pb2.Remediation]]:
    """The number after which to go on, and what there is. Raises RemediationNotFound."""
    if name == ALL:
        r = tables.remediations.c
        statement = sa.select(r.id).where(r.ended_at.is_(None)).order_by(r.id).limit(MOST_SHOWN)
        ids = unit.connection.execute(statement).scalars().all()
        return latest_of_all(unit), [one for each in ids if (one := whole(unit.connection, each))]
    found = whole(unit.connection, id_of(name))
    if found is None:
        raise RemediationNotFound(id_of(name))
    return int(found.etag), [found]
