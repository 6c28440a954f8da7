"""The watch stream of incidents: a snapshot, then every event after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from opsuite.healer.v1 import incident_service_pb2 as pb
from opsuite_healer.adapters.feeds import DEFAULT_BATCH, Feeds, heartbeat_of, latest_of_all
from opsuite_healer.adapters.incidents.incident_messages import incident_message
from opsuite_healer.adapters.incidents.transaction import SqlIncidents
from opsuite_healer.adapters.unit import SqlStore, SqlUnit
from opsuite_healer.application.incidents.errors import IncidentNotFound
from opsuite_healer.application.names import ANY, INCIDENTS, id_of
from opsuite_rpc.values import given

ALL: Final = f"{INCIDENTS}{ANY}"
MOST_SHOWN: Final = 1000
"""Incidents in a snapshot of all."""


class Watches:
    """Serves WatchIncidents."""

    def __init__(self, store: SqlStore, feeds: Feeds) -> None:
        self._store = store
        self._feeds = feeds

    async def follow(self, request: pb.WatchIncidentsRequest) -> AsyncIterator[pb.WatchIncidentsResponse]:
        """A snapshot unless it resumes, then every event after it."""
        name = request.name
        latest, snapshot = await self._store.read(lambda unit: _snapshot(unit, name))
        if request.resume_token:
            after = self._feeds.after(name, request.resume_token, latest)
        else:
            after = latest
            yield pb.WatchIncidentsResponse(snapshot=snapshot, resume_token=self._feeds.token(name, latest))
        most = given(request, "max_batch", DEFAULT_BATCH)
        async for told in self._feeds.follow(name, after, heartbeat=heartbeat_of(request), most=most):
            answer = pb.WatchIncidentsResponse(resume_token=told.resume_token)
            if not told.payloads:
                answer.bookmark.SetInParent()
            for payload in told.payloads:
                answer.events.add().MergeFromString(payload)
            yield answer


def _snapshot(unit: SqlUnit, name: str) -> tuple[int, pb.IncidentSnapshot]:
    """The number after which to go on, and what there is. Raises IncidentNotFound."""
    tx = SqlIncidents(unit)
    if name == ALL:
        found = tx.open_incidents(MOST_SHOWN)
        return latest_of_all(unit), pb.IncidentSnapshot(incidents=[incident_message(one) for one in found])
    incident = tx.incident(id_of(name))
    if incident is None:
        raise IncidentNotFound(id_of(name))
    return incident.revision, pb.IncidentSnapshot(incidents=[incident_message(incident)])
