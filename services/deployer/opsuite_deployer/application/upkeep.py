"""Keeps routes true between rollouts: replicas that have gone leave them, and those that came enter.

They come and go without a rollout when a scaler changes the size of a workload, and when a process dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from opsuite_deployer.application.platforms import Platforms
from opsuite_deployer.application.ports import Store
from opsuite_deployer.application.replica_health import probe_of
from opsuite_deployer.application.routing import routed_endpoint
from opsuite_deployer.application.workload_ports import RevisionRecord
from opsuite_kernel.errors import NotFound, OpsuiteError
from opsuite_platforms.port import Replica, ReplicaPhase
from opsuite_platforms.traffic.port import Endpoint, Track
from opsuite_platforms.traffic.store import RouteStore, StoredRoute
from opsuite_probes.port import Outcome, Prober

log = structlog.get_logger(__name__)

ANSWER: Final = timedelta(seconds=1)
"""How long a replica of a workload without a readiness check may take to accept a connection."""


class Upkeep:
    """Any replica of the deployer may do it: it asks for what is. A rollout keeps its own route while it runs."""

    def __init__(self, store: Store, routes: RouteStore, platforms: Platforms, prober: Prober) -> None:
        self._store = store
        self._routes = routes
        self._platforms = platforms
        self._prober = prober

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
        endpoints = await self._serving(revision, frozenset(track.endpoints))
        return replace(track, endpoints=tuple(sorted(endpoints))) if endpoints else track

    async def _serving(self, revision: RevisionRecord, known: frozenset[Endpoint]) -> Sequence[Endpoint]:
        """Those that run, the new ones among them only once they are ready: they may still be starting."""
        try:
            status = await self._platforms.workloads(revision.platform, revision.namespace).observe(revision.name)
        except NotFound:
            return ()
        running = [one for one in status.replicas if one.phase is ReplicaPhase.RUNNING and one.ports]
        endpoints = [routed_endpoint(one, revision.routed_port) for one in running]
        new = [one for one, endpoint in zip(running, endpoints, strict=True) if endpoint not in known]
        ready = await asyncio.gather(*(self._is_ready(one, revision) for one in new))
        not_yet = {
            routed_endpoint(one, revision.routed_port) for one, is_so in zip(new, ready, strict=True) if not is_so
        }
        return [endpoint for endpoint in endpoints if endpoint not in not_yet]

    async def _is_ready(self, replica: Replica, revision: RevisionRecord) -> bool:
        readiness = revision.spec.readiness
        port, path = (readiness.port, readiness.path) if readiness else (revision.routed_port, "")
        timeout = readiness.timeout if readiness else ANSWER
        answer = await self._prober.ask(probe_of(replica, port, path), timeout=timeout)
        return answer.outcome is Outcome.HEALTHY
