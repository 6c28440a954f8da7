"""A small world in which rollouts are played: a platform, a router, its edges, gates, a decider, and what goes wrong.

Time is simulated. What goes wrong is drawn from a seeded `random.Random`, so that a world lives the same life again.
The world checks the promises of a rollout at every turn; a broken one is an AssertionError that says what happened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

from fakes.clock import NOON
from fakes.rollout_promises import Look, check, share

from opsuite_deployer.domain.rollout import decide
from opsuite_deployer.domain.rollout_state import Phase, begin, from_document, to_document
from opsuite_deployer.domain.rollout_wishes import RolloutRefused, RolloutVerb, wish
from opsuite_deployer.domain.rollout_words import (
    Decision,
    GateSeen,
    GateVerdict,
    RolloutPlan,
    Seen,
    SeenReplica,
    SeenRevision,
    Told,
    Want,
)
from opsuite_platforms.port import ReplicaPhase
from opsuite_platforms.traffic.port import EdgeStatus, Endpoint, Mirror, Route, RouteStatus, Track

SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Behaviour:
    """How the replicas of a version behave."""

    start: timedelta = 2 * SECOND
    """Until they are healthy."""
    is_healthy: bool = True
    is_given_up: bool = False
    """The platform gives up on them."""
    crashes_every: timedelta | None = None
    dies_at_weight: int | None = None
    """All die for good as soon as this share of the requests, in percent, is sent to them by any edge."""
    dies_when_promoted: bool = False
    """All die for good when they get all requests."""


GOOD = Behaviour()


@dataclass(frozen=True)
class Faults:
    """What may go wrong, as chances per turn."""

    decider_dies: float = 0.0
    call_lost: float = 0.0
    acknowledgement_lost: float = 0.0
    edge_leaves: float = 0.0
    edge_returns: float = 0.5
    old_replica_dies: float = 0.0
    new_replica_dies: float = 0.0
    foreign_scale: float = 0.0
    foreign_route: float = 0.0


CALM = Faults(edge_returns=0.0)


@dataclass
class SimReplica:
    """One replica."""

    name: str
    endpoint: Endpoint
    born: timedelta
    healthy_from: timedelta
    phase: ReplicaPhase = ReplicaPhase.STARTING
    restarts: int = 0
    is_dead: bool = False


@dataclass
class SimRevision:
    """One revision on the platform."""

    behaviour: Behaviour
    desired: int = 0
    replicas: list[SimReplica] = field(default_factory=list)
    born: int = 0


@dataclass
class SimEdge:
    """One edge, and the route that it has."""

    id: str
    connected: bool = True
    version: int = 0
    tracks: tuple[Track, ...] = ()
    matched: frozenset[str] = frozenset()
    due: timedelta | None = None
    acknowledges: bool = True
    was_silent: bool = False
    """Whether it has been away since it got its route."""

    def leave(self) -> None:
        """It can no longer be reached, and goes on with what it has."""
        self.connected, self.was_silent = False, True

    def receivers(self) -> Iterator[Endpoint]:
        """Endpoints that it sends requests to."""
        for track in self.tracks:
            if track.weight > 0 or track.name in self.matched:
                yield from track.endpoints


class RolloutWorld:
    """Everything around one rollout of `web` from `web-old` to `web-new`."""

    def __init__(
        self,
        plan: RolloutPlan,
        *,
        new: Behaviour = GOOD,
        old_size: int | None = None,
        faults: Faults = CALM,
        random: Random | None = None,
        edges: int = 2,
        finds_endpoints: bool = False,
        gates: Mapping[str, GateVerdict] | None = None,
        rejects: str = "",
        edge_delay: timedelta = SECOND,
    ) -> None:
        self.plan = plan
        self.old_size = old_size
        self.faults = faults
        self.random = random or Random(0)
        self.time = timedelta(0)
        self.finds_endpoints = finds_endpoints
        self.gates = dict(gates or {})
        self.rejects = rejects
        """Revision; a route that sends it anything is refused."""
        self.edge_delay = edge_delay
        self.revisions = {plan.target: SimRevision(new)}
        self.ports = 9000
        self.version = 0
        self.route: Route | None = None
        self.edges = [SimEdge(f"edge-{index}") for index in range(edges if plan.has_router else 0)]
        self.last_sent: dict[Endpoint, timedelta] = {}
        self.state = begin(self.now)
        self.is_fresh = False
        """Whether the decider has just started and has not asked any replica yet."""
        self.told: list[Told] = []
        self.decisions: list[Decision] = []
        self.asked_a_gate = False
        self.disturbed = False
        """Whether somebody else has changed the number of replicas."""
        if plan.stable is not None and plan.stable != plan.target:
            self._old_version(plan.stable, plan.replicas if old_size is None else old_size)

    @property
    def now(self) -> datetime:
        """The time."""
        return NOON + self.time

    def _old_version(self, name: str, size: int) -> None:
        self.revisions[name] = SimRevision(GOOD)
        self.scale(name, size)
        for replica in self.revisions[name].replicas:
            replica.phase, replica.healthy_from = ReplicaPhase.RUNNING, self.time
        if self.plan.has_router:
            endpoints = () if self.finds_endpoints else tuple(one.endpoint for one in self.revisions[name].replicas)
            self.route = Route(self.plan.workload, (Track("stable", name, 100, tuple(sorted(endpoints))),))
            self.version = 1
            for edge in self.edges:
                edge.version, edge.tracks = 1, self.route.tracks

    # --- the platform ------------------------------------------------------------------------------------------------

    def scale(self, name: str, size: int) -> list[SimReplica]:
        """Change the number of replicas; returns those that were stopped."""
        revision = self.revisions[name]
        revision.desired = size
        stopped, revision.replicas = revision.replicas[size:], revision.replicas[:size]
        while len(revision.replicas) < size:
            self.ports += 1
            healthy_from = self.time + revision.behaviour.start
            endpoint = Endpoint("127.0.0.1", self.ports)
            revision.replicas.append(SimReplica(f"{name}-{revision.born}", endpoint, self.time, healthy_from))
            revision.born += 1
        return stopped

    def is_healthy(self, revision: SimRevision, replica: SimReplica) -> bool:
        """Whether a replica would answer."""
        return revision.behaviour.is_healthy and not replica.is_dead and replica.healthy_from <= self.time

    def _live(self, revision: SimRevision, replica: SimReplica) -> None:
        """Let a replica be what it is at this time."""
        behaviour = revision.behaviour
        if behaviour.is_given_up and self.time >= replica.born + behaviour.start:
            replica.phase = ReplicaPhase.FAILED
        elif replica.is_dead:
            replica.phase = ReplicaPhase.BACKOFF
        elif replica.healthy_from <= self.time:
            replica.phase = ReplicaPhase.RUNNING
            if behaviour.crashes_every and self.time >= replica.healthy_from + behaviour.crashes_every:
                self._crash(revision, replica)

    def _crash(self, revision: SimRevision, replica: SimReplica) -> None:
        replica.restarts += 1
        replica.phase = ReplicaPhase.BACKOFF
        replica.healthy_from = self.time + revision.behaviour.start

    # --- the router --------------------------------------------------------------------------------------------------

    def set_route(self, want: Want) -> None:
        """Ask for a route; an equal one touches nothing."""
        assert want.tracks is not None
        mirror = Mirror("canary", want.mirror_percent) if want.mirror_percent else None
        route = Route(self.plan.workload, want.tracks, matches=want.matches, mirror=mirror)
        if route == self.route:
            return
        self.route = route
        self.version += 1
        for edge in self.edges:
            edge.due = self.time + self.edge_delay

    def _deliver(self) -> None:
        for edge in self.edges:
            if edge.connected and edge.due is not None and edge.due <= self.time and not self._rejection():
                assert self.route is not None
                edge.version, edge.tracks, edge.due = self.version, self.route.tracks, None
                edge.was_silent = False
                edge.matched = frozenset(match.track for match in self.route.matches)

    def _rejection(self) -> str:
        tracks = self.route.tracks if self.route else ()
        is_bad = any(track.workload == self.rejects and track.weight > 0 for track in tracks)
        return "invalid cluster" if is_bad else ""

    def sent(self, name: str) -> int:
        """Largest share of the requests, in percent, that any edge sends to a revision."""
        return max((share(edge.tracks, name) for edge in self.edges), default=0)

    def _route_status(self) -> RouteStatus | None:
        if self.route is None:
            return None
        edges = [
            EdgeStatus(
                edge.id,
                edge.connected,
                edge.version == self.version and edge.acknowledges,
                rejection=self._rejection() if edge.due is not None and edge.due <= self.time else "",
            )
            for edge in self.edges
        ]
        return RouteStatus(self.route, str(self.version), tuple(edges))

    # --- looking and acting ------------------------------------------------------------------------------------------

    def seen(self) -> Seen:
        """The world as the decider sees it."""
        revisions = {}
        for name, revision in self.revisions.items():
            replicas = tuple(
                SeenReplica(
                    replica.name,
                    replica.phase,
                    None if self.is_fresh else self.is_healthy(revision, replica),
                    None if self.finds_endpoints else replica.endpoint,
                    replica.restarts,
                )
                for replica in revision.replicas
            )
            revisions[name] = SeenRevision(revision.desired, replicas)
        gates = {}
        for ask in self.decisions[-1].want.gates if self.decisions else ():
            gates[ask.key] = GateSeen(self.gates.get(ask.gate.name, GateVerdict.PASSED))
        return Seen(revisions, self._route_status() if self.plan.has_router else None, gates)

    def turn(self) -> Decision:
        """Look, decide, record, act."""
        seen = self.seen()
        decision = decide(self.plan, self.state, seen, self.now)
        check(Look(self.plan, self.state, seen, self.now, decision, self.old_size, self.disturbed))
        self.asked_a_gate |= bool(decision.want.gates)
        self.is_fresh = False
        if self.random.random() < self.faults.decider_dies:
            self.is_fresh = True
            if self.random.random() < 0.5:
                return decision  # before it was recorded: as if it had never been decided
        self.state = from_document(json.loads(json.dumps(to_document(decision.state))))
        self.told += decision.told
        self.decisions.append(decision)
        if not self.is_fresh:
            self.act(decision.want)
        return decision

    def wish(self, verb: RolloutVerb) -> str:
        """Wish something; returns why it was refused, or nothing."""
        try:
            self.state = wish(self.plan, self.state, verb, self.now, by="ann")
        except RolloutRefused as refused:
            return refused.message
        return ""

    def act(self, want: Want) -> None:
        """Make it true, in any order, as far as calls get through."""
        calls: list[tuple[str, int] | None] = [*want.replicas.items(), None]
        self.random.shuffle(calls)
        for call in calls:
            if self.random.random() < self.faults.call_lost:
                return
            if call is not None:
                self._scale_as_wanted(*call)
            elif want.tracks is not None:
                self.set_route(want)

    def _scale_as_wanted(self, name: str, size: int) -> None:
        for replica in self.scale(name, size):
            if replica.endpoint not in self.last_sent:
                continue
            quiet = self.time - self.last_sent[replica.endpoint]
            is_lost = self.state.is_aborting and not self.is_healthy(self.revisions[name], replica)
            needed = timedelta(0) if is_lost else self.plan.safety.drain
            assert quiet >= needed, f"{replica.name} stopped {quiet} after its last request"

    # --- time --------------------------------------------------------------------------------------------------------

    def pass_time(self, by: timedelta) -> None:
        """Let time pass, and with it everything that only time decides."""
        self.time += by
        self._note_sent()
        self._deliver()
        self._go_wrong()
        self._note_sent()
        for name, revision in self.revisions.items():
            for replica in revision.replicas:
                self._live(revision, replica)
            self._die_by_weight(name, revision)

    def _note_sent(self) -> None:
        for edge in self.edges:
            # On the way back nobody waits for an edge that cannot be reached, or could not be until now.
            if not edge.was_silent or not (self.state.is_aborting or self.plan.is_rollback):
                self.last_sent.update(dict.fromkeys(edge.receivers(), self.time))

    def _die_by_weight(self, name: str, revision: SimRevision) -> None:
        limit = revision.behaviour.dies_at_weight
        if limit is not None and self.sent(name) >= limit:
            self.kill(name)
        if revision.behaviour.dies_when_promoted and self.state.phase is Phase.COMPLETING:
            self.kill(name)

    def kill(self, name: str) -> None:
        """All replicas of a version die, also those that are still to come."""
        revision = self.revisions[name]
        revision.behaviour = replace(revision.behaviour, is_healthy=False)

    def _go_wrong(self) -> None:
        chance = self.random.random
        for edge in self.edges:
            edge.acknowledges = chance() >= self.faults.acknowledgement_lost
            if not edge.connected and chance() < self.faults.edge_returns:
                edge.connected, edge.due = True, self.time
            elif edge.connected and chance() < self.faults.edge_leaves:
                edge.leave()
        for name, revision in self.revisions.items():
            is_new = name == self.plan.target
            dies = self.faults.new_replica_dies if is_new else self.faults.old_replica_dies
            if revision.replicas and chance() < dies:
                self._crash(revision, self.random.choice(revision.replicas))
            if chance() < self.faults.foreign_scale:
                self.disturbed = True
                self.scale(name, self.random.randint(0, 2 * self.plan.replicas))
        if self.route is not None and chance() < self.faults.foreign_route:
            self.route = replace(self.route, tracks=self.route.tracks[:1])
            self.version += 1
            for edge in self.edges:
                edge.due = self.time

    def live(self, *, most: timedelta = timedelta(hours=2), step: timedelta | None = None) -> Decision:
        """Take turns until the rollout has ended. Raises AssertionError if that takes longer than `most`."""
        decision = self.turn()
        while not self.state.phase.is_terminal:  # a decision that nobody recorded does not count
            assert self.time < most, f"still {decision.state.phase} after {self.time}: {decision.state}"
            self.pass_time(step or self.random.choice((SECOND, SECOND, 2 * SECOND, 7 * SECOND)))
            decision = self.turn()
            if self.state.pause_reason is not None:
                return decision
        return decision
