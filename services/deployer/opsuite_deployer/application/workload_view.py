"""Workloads as they are now, beside what was asked for, and their restart."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from opsuite_deployer.application.platforms import Platforms
from opsuite_deployer.application.ports import Store, Tx
from opsuite_deployer.application.replays import once
from opsuite_deployer.application.workload_ports import RevisionRecord, WorkloadRecord
from opsuite_deployer.domain.errors import RolloutUnderWay, WorkloadNotFound
from opsuite_kernel.errors import NotFound, TimedOut
from opsuite_platforms.port import Platform, ReplicaPhase, WorkloadStatus
from opsuite_platforms.traffic.port import RouteStatus, TrafficRouter
from opsuite_runs.port import Replay

LOOK_EVERY: Final = timedelta(milliseconds=200)


@dataclass(frozen=True, slots=True)
class RevisionView:
    """A revision as it is now; without a status it is not on its platform."""

    record: RevisionRecord
    is_stable: bool
    status: WorkloadStatus | None
    weight: int | None = None
    """Share of the requests in percent; None without a route through edges."""


@dataclass(frozen=True, slots=True)
class WorkloadView:
    """A workload as it is now."""

    record: WorkloadRecord
    revisions: tuple[RevisionView, ...]
    route: RouteStatus | None = None
    drift: tuple[str, ...] = field(default=())
    """What is not as it was asked for, for people."""


class Workloads:
    """The use cases of WorkloadService."""

    def __init__(self, store: Store, platforms: Platforms, router: TrafficRouter) -> None:
        self._store = store
        self._platforms = platforms
        self._router = router

    async def all(self) -> Sequence[tuple[WorkloadRecord, Sequence[RevisionRecord]]]:
        """Every workload with its revisions, by id."""
        return await self._store.read(lambda tx: [(one, tx.workload_revisions(one.id)) for one in tx.workloads()])

    async def get(self, uid: str) -> WorkloadView:
        """A workload as it is now. Raises WorkloadNotFound, Unavailable (platform)."""
        record, revisions = await self._store.read(lambda tx: known(tx, uid))
        route = await self._route(revisions)
        shown = await asyncio.gather(*(self._revision(record, one, route) for one in revisions))
        return WorkloadView(record, tuple(shown), route, tuple(_drift(record, shown, route)))

    async def restart(self, uid: str, within: timedelta, replay: Replay | None = None) -> WorkloadView:
        """Restart the replicas of the stable revision one after the other, each once the one before runs again.

        A repeated call returns the workload as it is now.
        Raises WorkloadNotFound, RolloutUnderWay, TimedOut (the rest is left as it is), Unavailable.
        """
        return await once(self._store, replay, lambda: self._restart(uid, within), lambda: self.get(uid))

    async def _restart(self, uid: str, within: timedelta) -> WorkloadView:
        record, revisions = await self._store.read(lambda tx: known(tx, uid))
        if record.rollout_of:
            raise RolloutUnderWay(uid, record.rollout_of)
        stable = next((one for one in revisions if one.name == record.stable), None)
        if stable is not None:
            platform = self._platforms.workloads(stable.platform, stable.namespace)
            await _restart_each(platform, stable.name, within)
        return await self.get(uid)

    async def _revision(self, record: WorkloadRecord, one: RevisionRecord, route: RouteStatus | None) -> RevisionView:
        status = None
        if not one.idle:
            try:
                status = await self._platforms.workloads(one.platform, one.namespace).observe(one.name)
            except NotFound:
                status = None
        return RevisionView(one, one.name == record.stable, status, _weight(one.name, route))

    async def _route(self, revisions: Sequence[RevisionRecord]) -> RouteStatus | None:
        if not revisions:
            return None
        try:
            return await self._router.observe(revisions[0].spec.part_of)
        except NotFound:
            return None


def known(tx: Tx, uid: str) -> tuple[WorkloadRecord, Sequence[RevisionRecord]]:
    """A workload and its revisions. Raises WorkloadNotFound."""
    record = tx.workload(uid)
    if record is None:
        raise WorkloadNotFound(uid)
    return record, tx.workload_revisions(uid)


async def _restart_each(platform: Platform, name: str, within: timedelta) -> None:
    try:
        async with asyncio.timeout(within.total_seconds()):
            for replica in (await platform.observe(name)).replicas:
                await platform.restart(name, replica.name)
                await _until_ready(platform, name)
    except TimeoutError as error:
        raise TimedOut(f"not every replica of {name} runs again within {within.total_seconds():g} s") from error


async def _until_ready(platform: Platform, name: str) -> None:
    while not (await platform.observe(name)).is_ready:  # noqa: ASYNC110  # a platform is asked, it does not tell
        await asyncio.sleep(LOOK_EVERY.total_seconds())


def _weight(revision: str, route: RouteStatus | None) -> int | None:
    if route is None:
        return None
    total = sum(track.weight for track in route.route.tracks)
    own = sum(track.weight for track in route.route.tracks if track.workload == revision)
    return round(100 * own / total) if total else 0


def _drift(record: WorkloadRecord, shown: Sequence[RevisionView], route: RouteStatus | None) -> list[str]:
    """What is not as it should be while nobody rolls it out."""
    if record.rollout_of:
        return []
    said = [text for one in shown if one.is_stable for text in _short(one)]
    if route is not None:
        elsewhere = [track.workload for track in route.route.tracks if track.weight and track.workload != record.stable]
        said += [f"{name} gets requests and is not stable" for name in elsewhere]
        said += [f"edge {name} has not been heard of" for name in route.silent]
        said += [f"edge refuses the route: {route.rejection}"] if route.rejection else []
    return said


def _short(stable: RevisionView) -> list[str]:
    name = stable.record.name
    if stable.status is None:
        return [f"{name} is not on its platform"]
    wanted, running = stable.status.desired_replicas, _running(stable.status)
    said = [f"{running}/{wanted} replicas of {name} run"] if running < wanted else []
    if wanted != stable.record.spec.replicas:
        said.append(f"{name} was asked for {wanted} replicas, its pipeline says {stable.record.spec.replicas}")
    return said


def _running(status: WorkloadStatus) -> int:
    return sum(replica.phase is ReplicaPhase.RUNNING for replica in status.replicas)
