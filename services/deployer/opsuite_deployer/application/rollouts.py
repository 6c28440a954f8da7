"""Rolls out: looks at the world, has it decided what is wanted, makes that true, and looks again until it has ended.

What is decided is recorded by the deployment's runner before it is acted upon (`Link.report`), and everything done here
is safe to do again; so a rollout may be left at any moment, and whoever takes over looks and goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar

import structlog

from opsuite_deployer.application.attempt import Attempt
from opsuite_deployer.application.checks import Checks, Where
from opsuite_deployer.application.pace import LOOK_EVERY, Pace
from opsuite_deployer.application.platforms import Platforms, Sizes
from opsuite_deployer.application.ports import Machine, Store, Tx
from opsuite_deployer.application.replica_health import ReplicaWatch
from opsuite_deployer.application.rollout_gates import Gates
from opsuite_deployer.application.rollout_records import begin, finish, leave, stable_revision
from opsuite_deployer.application.routing import Routers, endpoint_of, route_name, route_of, routed_port
from opsuite_deployer.application.workload_ports import RevisionRecord
from opsuite_deployer.application.workloads import revision_spec
from opsuite_deployer.domain.pipeline import Rollout, Workload, WorkloadPlatform
from opsuite_deployer.domain.revisions import revision_name, workload_id
from opsuite_deployer.domain.rollout_run import RolloutStart
from opsuite_deployer.domain.rollout_words import Seen, SeenReplica, SeenRevision, Want
from opsuite_deployer.domain.routing import EdgeRouter
from opsuite_deployer.domain.turn import Outcome, PartEnded, Realise, RolloutSeen
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, TimedOut, Unavailable
from opsuite_platforms.port import Platform, ReplicaPhase, WorkloadStatus
from opsuite_platforms.traffic.port import Route, RouteStatus, TrackStats, TrafficRouter
from opsuite_probes.port import Prober
from opsuite_runs.faults import declare

T = TypeVar("T")

log = structlog.get_logger(__name__)

WANT_RECORDED: Final = declare("rollout.want_recorded", "what a rollout wants is recorded, nothing of it is done")
REPLICAS_ASKED: Final = declare("rollout.replicas_asked", "new replicas are asked for, the route is as it was")
ROUTE_ASKED: Final = declare("rollout.route_asked", "the route is asked for, nothing is scaled down")
WANT_REALISED: Final = declare("rollout.want_realised", "what a rollout wants is asked for, its end is not recorded")


class Link(Protocol):
    """Ties a rollout to the deployment that it is a part of."""

    async def report(self, seen: RolloutSeen) -> Realise:
        """What is wanted after a look; it is recorded when this returns."""

    async def wait(self, timeout: timedelta) -> None:
        """Return at a `wake` since the last wait ended, or after `timeout`."""

    def wake(self) -> None:
        """End the wait."""


class Rollouts:
    """Rolls workloads out through the ports of the world."""

    def __init__(
        self,
        *,
        store: Store,
        platforms: Platforms,
        routers: Routers,
        prober: Prober,
        checks: Checks,
        machine: Machine,
        sizes: Sizes,
        clock: Clock,
    ) -> None:
        self.store = store
        self.platforms = platforms
        self.routers = routers
        self.prober = prober
        self.checks = checks
        self.machine = machine
        self.sizes = sizes
        self.clock = clock

    async def run(self, attempt: Attempt, rollout: Rollout, where: Where, link: Link) -> PartEnded:
        """Roll out to the end. Cancelling the call leaves everything as it is. Raises InvalidInput, Conflict."""
        target = self._target(attempt, rollout)
        known = attempt.owned.deployment.part(attempt.key).rollout
        size = None if known else await self._size_of_others(rollout.workload)
        lease, now = attempt.owned.lease, self.clock.now()
        start, stable, target = await self.record(
            lambda tx: begin(tx, attempt.owned.deployment, lease, target, known.start if known else None, size, now)
        )
        following = _Following(self, attempt, rollout, target, stable, start, where, link)
        try:
            return await following.to_the_end()
        finally:
            await following.close()

    async def leave(self, attempt: Attempt, rollout: Rollout) -> None:
        """Record that a rollout was cancelled; everything stays as it is."""
        target, now = self._target(attempt, rollout), self.clock.now()
        await self.record(lambda tx: leave(tx, attempt.owned.lease, attempt.key, target, now))

    async def _size_of_others(self, workload: Workload) -> int | None:
        """Replicas that serve now if a scaler decides about them; None if the pipeline does, or nothing serves.

        When nobody can tell, the larger of both: a rollout goes on without a scaler, and takes nothing away.
        """
        try:
            scaled, can_tell = await self.sizes.are_scaled(workload), True
        except Unavailable as error:
            log.warning("sizes_unknown", workload=workload.workload, why=error.message)
            scaled = can_tell = False
        if can_tell and not scaled:
            return None
        stable = await self.store.read(lambda tx: stable_revision(tx, workload))
        if stable is None:
            return None
        try:
            status = await self.platforms.workloads(stable.platform, stable.namespace).observe(stable.name)
        except NotFound:
            return None
        size = max(1, status.desired_replicas)  # at zero too a new version has to show that it starts
        return size if can_tell else max(size, workload.replicas)

    async def record(self, body: Callable[[Tx], T]) -> T:
        """Write what may be written twice, however long the database is away: who loses the lease is stopped anyway."""
        while True:
            try:
                return await self.store.write(body)
            except (Unavailable, TimedOut) as error:
                log.warning("rollout_record_delayed", why=error.message)
                await asyncio.sleep(LOOK_EVERY.total_seconds())

    def _target(self, attempt: Attempt, rollout: Rollout) -> RevisionRecord:
        """The revision that is to take over."""
        deployment = attempt.owned.deployment
        env = {"DEPLOYMENT_VERSION": deployment.version, "DEPLOYMENT_ENVIRONMENT": deployment.environment}
        workload = rollout.workload
        return RevisionRecord(
            name=revision_name(workload),
            workload=workload_id(workload),
            spec=revision_spec(workload, rollout.health, self.machine, env),
            platform=workload.platform,
            namespace=workload.namespace,
            deployment=deployment.id,
            created_at=self.clock.now(),
            routed_port=routed_port(rollout.traffic),
        )


class _Following:
    """One rollout while this process follows it."""

    def __init__(
        self,
        rollouts: Rollouts,
        attempt: Attempt,
        rollout: Rollout,
        target: RevisionRecord,
        stable: RevisionRecord | None,
        start: RolloutStart,
        where: Where,
        link: Link,
    ) -> None:
        self._world = rollouts
        self._attempt = attempt
        self._rollout = rollout
        self._revisions = {one.name: one for one in (stable, target) if one is not None}
        self._target = target
        self._start = start
        self._link = link
        self._platform: Platform = rollouts.platforms.workloads(target.platform, target.namespace)
        traffic = rollout.traffic
        self._router: TrafficRouter | None = (
            rollouts.routers.router(traffic, target.namespace) if traffic is not None else None
        )
        self._shows_whole_route = traffic is not None and isinstance(traffic.router, EdgeRouter)
        """Whether the router shows all that it was asked for: of a cluster's objects it shows only some."""
        self._route_seen: Route | None = None
        self._has_set_route = False
        """Whether this process has asked for a route, so that an owner before it can no longer do so."""
        asks_itself = target.platform is WorkloadPlatform.KUBERNETES  # there readiness is the platform's affair
        self._health = ReplicaWatch(rollouts.prober, None if asks_itself else rollout.health, link.wake)
        self._gates = Gates(rollouts.checks, self._where(where), self._counts, rollouts.clock, link.wake)
        self._desired: dict[str, int] = {}
        """Replicas that the platform was asked for, as it said at the last look; what is not there has no entry."""
        self._applied: set[str] = set()
        """Revisions that are as this process has asked for: nothing that it asked for was left half done."""
        self._stopped: dict[str, dict[str, datetime]] = {}
        """Since when replicas do not run although nobody here has stopped them, by revision."""
        self._astray: dict[str, set[str]] = {}
        """Those of which that has been so for a while: they are not only about to start."""
        self._keeps_itself = asks_itself
        """Whether the platform brings back by itself what somebody takes away."""
        self._has_looked = False
        self._pace = Pace()
        self._impossible = ""
        """Why the platform refuses the target."""

    async def to_the_end(self) -> PartEnded:
        """Look, decide, do, until it has ended."""
        out_of_reach: datetime | None = None
        while True:
            try:
                seen = await self._look()
                wanted = await self._link.report(self._seen(seen))
                WANT_RECORDED.hit()
                await self._make_true(wanted.want)
                WANT_REALISED.hit()
                if wanted.ended is not None:
                    await self._finish(wanted.want, wanted.ended)
                    return wanted.ended
                out_of_reach, wake_at = None, wanted.wake_at
                self._pace.wanted(wanted.want)
            except (Unavailable, TimedOut) as error:
                log.warning("rollout_delayed", rollout=self._target.workload, why=error.message)
                out_of_reach, wake_at = out_of_reach or self._world.clock.now(), None
                self._pace.missed()
                if self._world.clock.now() - out_of_reach > self._rollout.safety.progress_deadline:
                    said = f"out of reach since {out_of_reach:%H:%M:%S} UTC: {error.message}"
                    await self._world.leave(self._attempt, self._rollout)
                    return PartEnded(self._attempt.key, self._attempt.number, Outcome.FAILED, message=said)
            await self._link.wait(self._pace.pause(self._world.clock.now(), wake_at))

    async def close(self) -> None:
        """Stop asking replicas and gates."""
        await self._health.close()
        await self._gates.close()

    def _seen(self, seen: Seen) -> RolloutSeen:
        return RolloutSeen(self._attempt.key, self._attempt.number, self._start, seen)

    # looking

    async def _look(self) -> Seen:
        found = await asyncio.gather(*(self._observe(name) for name in self._revisions))
        there = {status.name: status for status in found if status is not None}
        self._desired = {name: status.desired_replicas for name, status in there.items()}
        if not self._keeps_itself:
            self._notice_stopped(there)
        self._health.follow(replica for status in there.values() for replica in status.replicas)
        if not self._has_looked:  # what ran before must not seem lost only because nobody has asked it yet
            await self._health.answered()
            self._has_looked = True
        revisions = {name: self._revision(status) for name, status in there.items()}
        if self._impossible:
            revisions[self._target.name] = _refused(self._target, self._impossible)
        return Seen(revisions, await self._route(), self._gates.seen)

    def _notice_stopped(self, there: Mapping[str, WorkloadStatus]) -> None:
        now, before = self._world.clock.now(), self._stopped
        self._stopped = {
            name: {replica: before.get(name, {}).get(replica, now) for replica in _not_running(status)}
            for name, status in there.items()
        }
        self._astray = {
            name: {replica for replica, since in stopped.items() if now - since >= LOOK_EVERY}
            for name, stopped in self._stopped.items()
        }

    async def _observe(self, name: str) -> WorkloadStatus | None:
        try:
            return await self._platform.observe(name)
        except NotFound:
            return None

    def _revision(self, status: WorkloadStatus) -> SeenRevision:
        return SeenRevision(
            status.desired_replicas,
            tuple(
                SeenReplica(
                    name=replica.name,
                    phase=replica.phase,
                    healthy=self._health.is_healthy(replica),
                    endpoint=endpoint_of(replica, self._rollout.traffic),
                    restarts=replica.restarts,
                    message=self._health.said(replica) or replica.message,
                    is_astray=replica.name in self._astray.get(status.name, ()),
                )
                for replica in status.replicas
            ),
        )

    async def _route(self) -> RouteStatus | None:
        if self._router is None:
            return None
        try:
            status = await self._router.observe(route_name(self._rollout))
        except NotFound:
            status = None
        self._route_seen = status.route if status is not None else None
        return status

    def _where(self, where: Where) -> Where:
        """The rolled out workload is its new revision, whatever the pipeline as a whole calls so."""

        def find(name: str) -> tuple[Platform, str]:
            return (self._platform, self._target.name) if name == self._rollout.workload.workload else where(name)

        return find

    async def _counts(self) -> TrackStats:
        counted = await self._world.routers.stats().stats(route_name(self._rollout))
        return counted.get(self._target.name, TrackStats())

    # doing

    async def _make_true(self, want: Want) -> None:
        """Ask for more first, then for the route, then for less: nobody is sent to what is not there."""
        more = {name: count for name, count in want.replicas.items() if count >= self._desired.get(name, 0)}
        await self._scale(more)
        REPLICAS_ASKED.hit()
        await self._set_route(want)
        ROUTE_ASKED.hit()
        await self._scale({name: count for name, count in want.replicas.items() if name not in more})
        self._gates.ask(want.gates)

    async def _set_route(self, want: Want) -> None:
        """Ask for the route, unless the look has seen it so.

        Asked for again, it would put back what somebody has changed since the look, and nobody would be told of it.
        """
        if want.tracks is None or self._router is None:
            return
        route = route_of(self._rollout, want, want.tracks)
        if self._shows_whole_route and self._has_set_route and route == self._route_seen:
            return
        await self._router.set_route(route, epoch=self._attempt.owned.fence)
        self._has_set_route = True

    async def _scale(self, wanted: dict[str, int]) -> None:
        for name, count in wanted.items():
            present = self._desired.get(name)
            astray = self._astray.pop(name, set())
            # An owner that died may have left a wish half done: applied again, the platform does what is missing.
            if present is None or name not in self._applied or astray:
                await self._apply(self._revisions[name], count)
            elif present != count:
                self._applied.discard(name)  # should the platform go away meanwhile, it is applied when it is back
                with suppress(NotFound):  # gone since the look: the next one sees it
                    await self._platform.scale(name, count, epoch=self._attempt.owned.fence)
                self._applied.add(name)
            for replica in sorted(astray):
                await self._start_again(name, replica)

    async def _start_again(self, name: str, replica: str) -> None:
        """Start a replica that somebody has stopped; one that is gone for good is no longer wanted."""
        self._stopped[name].pop(replica, None)  # it has its time again
        with suppress(NotFound):
            await self._platform.restart(name, replica)
            log.warning("replica_started_again", revision=name, replica=replica)

    async def _apply(self, revision: RevisionRecord, count: int) -> None:
        spec = replace(revision.spec, replicas=count)
        self._applied.discard(revision.name)
        try:
            await self._platform.apply(spec, epoch=self._attempt.owned.fence)
            self._applied.add(revision.name)
        except (Conflict, InvalidInput) as error:
            if error.reason == "FENCED_OUT":
                raise
            if revision.name == self._target.name:
                self._impossible = error.message
            else:  # how it stands is seen by its replicas
                log.warning("stable_refused", revision=revision.name, why=error.message)

    async def _finish(self, want: Want, ended: PartEnded) -> None:
        lease, now = self._attempt.owned.lease, self._world.clock.now()
        retire = {one.revision: one.not_before for one in want.retire}
        promoted = ended.outcome is Outcome.SUCCEEDED
        await self._world.record(lambda tx: finish(tx, lease, self._target, retire, now, promoted=promoted))


def _not_running(status: WorkloadStatus) -> set[str]:
    """Replicas that are wanted, and were stopped or taken away."""
    wanted = status.replicas[: status.desired_replicas]
    return {
        one.name
        for one in wanted
        if one.phase is ReplicaPhase.STOPPED or (one.phase is ReplicaPhase.STARTING and one.started_at is None)
    }


def _refused(target: RevisionRecord, why: str) -> SeenRevision:
    """A revision that its platform will not run looks like one whose replicas have failed for good."""
    failed = SeenReplica(target.name, ReplicaPhase.FAILED, healthy=False, message=why)
    return SeenRevision(target.spec.replicas, (failed,))
