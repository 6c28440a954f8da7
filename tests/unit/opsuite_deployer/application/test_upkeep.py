"""Routes between rollouts: they follow the replicas that run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fakes.clock import NOON
from fakes.platform import FakePlatform
from fakes.probes import FakeProber
from fakes.traffic import MemoryRouteStore

from opsuite_deployer.application.upkeep import Upkeep
from opsuite_deployer.application.workload_ports import RevisionRecord, WorkloadRecord
from opsuite_deployer.domain.pipeline import WorkloadPlatform
from opsuite_platforms.port import PortSpec, ReplicaPhase, WorkloadSpec
from opsuite_platforms.traffic.port import Endpoint, Route, Track
from opsuite_probes.port import Outcome, TcpProbe

T = TypeVar("T")
SPEC = WorkloadSpec("web-1", "1.0", ("serve",), "/", ports=(PortSpec("http"),), replicas=2, part_of="web")


@dataclass
class OneWorkload:
    """Fits what `Upkeep` needs of a store: one workload with one revision."""

    rollout_of: str = ""

    async def read(self, body: Callable[[Any], T]) -> T:
        return body(self)

    def workloads(self) -> Sequence[WorkloadRecord]:
        return [WorkloadRecord("web", "shop", "staging", stable="web-1", rollout_of=self.rollout_of)]

    def workload_revisions(self, workload: str) -> Sequence[RevisionRecord]:
        return [RevisionRecord("web-1", workload, SPEC, WorkloadPlatform.PROCESS, "", "d", NOON)]


class World:
    """A platform that runs the revision, and a route to its two replicas."""

    def __init__(self, store: OneWorkload) -> None:
        self.platform = FakePlatform()
        self.routes = MemoryRouteStore()
        platforms: Any = self
        any_store: Any = store
        self.prober = FakeProber()
        self.upkeep = Upkeep(any_store, self.routes, platforms, self.prober)

    def workloads(self, platform: WorkloadPlatform, namespace: str = "") -> FakePlatform:
        return self.platform

    async def begin(self) -> tuple[Endpoint, Endpoint]:
        await self.platform.apply(SPEC, epoch=1)
        first, second = self.endpoints()
        await self.routes.put_route(Route("web", (Track("stable", "web-1", 100, (first, second)),), 8080), epoch=1)
        return first, second

    def accepts_connections(self, endpoint: Endpoint) -> None:
        self.prober.answer(TcpProbe(f"{endpoint.host}:{endpoint.port}"), Outcome.HEALTHY)

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("127.0.0.1", one.ports["http"]) for one in self.platform.workloads["web-1"].replicas.values()]

    async def routed(self) -> tuple[Endpoint, ...]:
        stored = (await self.routes.routes()).get("web")
        assert stored is not None
        return stored.route.tracks[0].endpoints


async def test_a_replica_that_has_gone_leaves_the_route_and_comes_back_to_it() -> None:
    world = World(OneWorkload())
    first, second = await world.begin()

    world.platform.set_phase("web-1", "web-1-0", ReplicaPhase.BACKOFF)
    await world.upkeep.run()
    without = await world.routed()
    world.accepts_connections(first)
    world.platform.set_phase("web-1", "web-1-0", ReplicaPhase.RUNNING)
    await world.upkeep.run()

    assert without == (second,)
    assert await world.routed() == (first, second)


async def test_a_replica_that_was_added_gets_requests_only_once_it_is_ready() -> None:
    world = World(OneWorkload())
    both = await world.begin()

    await world.platform.scale("web-1", 3)
    (added,) = set(world.endpoints()) - set(both)
    await world.upkeep.run()
    while_it_starts = await world.routed()
    world.accepts_connections(added)
    await world.upkeep.run()

    assert while_it_starts == both
    assert await world.routed() == (*both, added)


async def test_a_replica_that_serves_is_not_asked_again() -> None:
    world = World(OneWorkload())
    await world.begin()

    await world.upkeep.run()

    assert world.prober.asked == []


async def test_requests_are_never_sent_to_nothing_even_if_nothing_runs() -> None:
    world = World(OneWorkload())
    both = await world.begin()

    for name in ("web-1-0", "web-1-1"):
        world.platform.set_phase("web-1", name, ReplicaPhase.FAILED)
    await world.upkeep.run()

    assert await world.routed() == both


async def test_a_route_that_is_true_gets_no_new_version() -> None:
    world = World(OneWorkload())
    await world.begin()
    before = (await world.routes.routes()).version

    await world.upkeep.run()

    assert (await world.routes.routes()).version == before


async def test_a_rollout_keeps_its_own_route() -> None:
    world = World(OneWorkload(rollout_of="d2"))
    both = await world.begin()

    world.platform.set_phase("web-1", "web-1-0", ReplicaPhase.BACKOFF)
    await world.upkeep.run()

    assert await world.routed() == both


async def test_a_replica_that_was_drained_and_is_gone_is_not_drained_any_more() -> None:
    world = World(OneWorkload())
    first, second = await world.begin()
    stored = (await world.routes.routes()).get("web")
    assert stored is not None
    await world.routes.put_route(replace(stored.route, draining=frozenset({first})), epoch=1)

    world.platform.set_phase("web-1", "web-1-0", ReplicaPhase.STOPPED)
    await world.upkeep.run()

    after = (await world.routes.routes()).get("web")
    assert after is not None
    assert (after.route.tracks[0].endpoints, after.route.draining) == ((second,), frozenset())
