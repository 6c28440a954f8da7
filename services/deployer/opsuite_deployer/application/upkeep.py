"""Keeps routes true between rollouts: replicas that have gone leave them, and those that came enter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from opsuite_deployer.application.platforms import Platforms
from opsuite_deployer.application.ports import Store
from opsuite_deployer.application.routing import routed_endpoint
from opsuite_deployer.application.workload_ports import RevisionRecord
from opsuite_kernel.errors import NotFound, OpsuiteError
from opsuite_platforms.port import ReplicaPhase
from opsuite_platforms.traffic.port import Endpoint, Track
from opsuite_platforms.traffic.store import RouteStore, StoredRoute

log = structlog.get_logger(__name__)


class Upkeep:
    """Any replica of the deployer may do it: it asks for what is. A rollout keeps its own route while it runs."""

    def __init__(self, store: Store, routes: RouteStore, platforms: Platforms) -> None:
        self._store = store
        self._routes = routes
        self._platforms = platforms

    async def run(self) -> None:
        """Look at every route once."""
        routes = {stored.route.name: stored for stored in (await self._routes.routes()).routes}
        if not routes:
            return
        at_rest = await self._store.read(
            lambda tx: [tx.workload_revisions(one.id) for one in tx.workloads() if not one.rollout_of]
        )
        for revisions in at_rest:
            stored = routes.get(revisions[0].spec.part_of) if revisions else None
            if stored is not None:
                try:
                    await self._keep(stored, {one.name: one for one in revisions})
                except OpsuiteError as error:
                    log.warning("route_not_kept", route=stored.route.name, why=error.message)

    async def _keep(self, stored: StoredRoute, revisions: dict[str, RevisionRecord]) -> None:
        tracks = [await self._present(track, revisions.get(track.workload)) for track in stored.route.tracks]
        route = replace(stored.route, tracks=tuple(tracks))
        if route == stored.route:
            return
        gone = {one for track in stored.route.tracks for one in track.endpoints}
        theirs = {one for track in tracks for one in track.endpoints}
        await self._routes.put_route(replace(route, draining=route.draining & theirs), epoch=stored.epoch)
        log.info("route_kept", route=route.name, left=len(gone - theirs), entered=len(theirs - gone))

    async def _present(self, track: Track, revision: RevisionRecord | None) -> Track:
        """The track with the replicas that run now; as it was if none does: somebody may still answer there."""
        if revision is None or not track.endpoints:
            return track
        endpoints = await self._running(revision)
        return replace(track, endpoints=tuple(sorted(endpoints))) if endpoints else track

    async def _running(self, revision: RevisionRecord) -> Sequence[Endpoint]:
        try:
            status = await self._platforms.workloads(revision.platform, revision.namespace).observe(revision.name)
        except NotFound:
            return ()
        running = [one for one in status.replicas if one.phase is ReplicaPhase.RUNNING and one.ports]
        return [routed_endpoint(one, revision.routed_port) for one in running]
