"""A rollout as it is followed: what happens between a look and what is done after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from fakes.clock import NOON, FakeClock
from fakes.deployments import a_deployment, a_pipeline, a_stage, a_step, step_key
from fakes.platform import FakePlatform
from fakes.small_deployer import FakeMachine, World
from fakes.traffic import FakeRouter

from opsuite_deployer.application.attempt import Attempt
from opsuite_deployer.application.ports import Owned
from opsuite_deployer.application.rollouts import Rollouts
from opsuite_deployer.application.workload_ports import RevisionRecord, WorkloadRecord
from opsuite_deployer.domain.pipeline import Rollout, Workload
from opsuite_deployer.domain.revisions import revision_name
from opsuite_deployer.domain.rollout_words import Want
from opsuite_deployer.domain.routing import EdgeRouter, TrafficRouting
from opsuite_deployer.domain.strategy import Rolling
from opsuite_deployer.domain.turn import Outcome, PartEnded, Realise, RolloutSeen
from opsuite_kernel.errors import Conflict
from opsuite_platforms.traffic.port import Endpoint, Route, RouteStatus, Track
from opsuite_runs.port import Lease

T = TypeVar("T")

WEB = Rollout(
    Workload("web", ("serve",), version="1.1"), Rolling(), traffic=TrafficRouting(EdgeRouter(listen_port=8080))
)
NEW = revision_name(WEB.workload)
ENDPOINT = Endpoint("127.0.0.1", 20_000)
TRACKS = (Track("stable", NEW, 100, (ENDPOINT,)),)
ROUTE = Route("web", TRACKS, 8080, drain=WEB.safety.drain)
FENCE = 7
ENDED = PartEnded(step_key(), 1, Outcome.SUCCEEDED)


@dataclass
class Records:
    """Fits what a rollout needs of a store: one workload, and what is kept of it."""

    there: WorkloadRecord | None = None
    revisions: dict[str, RevisionRecord] = field(default_factory=dict)

    async def write(self, body: Callable[[Any], T]) -> T:
        return body(self)

    read = write

    def hold(self, lease: Lease) -> None:
        pass

    def workload(self, uid: str) -> WorkloadRecord | None:
        return self.there

    def keep_workload(self, record: WorkloadRecord) -> None:
        self.there = record

    def workload_revisions(self, workload: str) -> Sequence[RevisionRecord]:
        return list(self.revisions.values())

    def keep_revision(self, record: RevisionRecord) -> None:
        self.revisions[record.name] = record


class NobodyScales:
    """Fits `platforms.Sizes`."""

    async def are_scaled(self, workload: Workload) -> bool:
        return False


class Looks:
    """Fits `rollouts.Link`: always wants the same, until all looks are over. Each look is followed by what it says."""

    def __init__(self, *meanwhile: Callable[[], object]) -> None:
        """`meanwhile`: what somebody does after each look, before anything is done."""
        self.routes: list[RouteStatus | None] = []
        """The route as each look saw it."""
        self._meanwhile = meanwhile

    async def report(self, seen: RolloutSeen) -> Realise:
        self.routes.append(seen.seen.route)
        self._meanwhile[len(self.routes) - 1]()
        is_over = len(self.routes) == len(self._meanwhile)
        return Realise(step_key(), Want({NEW: 1}, TRACKS), None, ENDED if is_over else None)

    async def wait(self, timeout: timedelta) -> None:
        pass

    def wake(self) -> None:
        pass


def nothing() -> None:
    """What happens mostly."""


async def follow(router: FakeRouter, looks: Looks) -> None:
    """Roll out until the looks are over."""
    platform = FakePlatform()
    platforms: Any = type("Platforms", (), {"workloads": lambda *_: platform})()
    routers: Any = type("Routers", (), {"router": lambda *_: router})()
    store: Any = Records()
    unused: Any = None  # nothing here has a health check or a gate
    rollouts = Rollouts(
        store=store,
        platforms=platforms,
        routers=routers,
        prober=unused,
        checks=unused,
        machine=FakeMachine(World()),
        sizes=NobodyScales(),
        clock=FakeClock(),
    )
    deployment = replace(a_deployment(), started_at=NOON)
    pipeline = a_pipeline(a_stage("deliver", a_step("roll", kind=WEB)))
    attempt = Attempt(Owned(deployment, pipeline, Lease(deployment.id, "here", 1), 0, FENCE), step_key(), 1)
    await rollouts.run(attempt, WEB, unused, looks)


@pytest.mark.parametrize("found", [None, replace(ROUTE, tracks=(replace(TRACKS[0], weight=50),))])
async def test_what_somebody_does_to_the_route_after_a_look_is_seen_by_the_next_one_and_put_right(
    found: Route | None,
) -> None:
    """Put back at once it would be told to nobody: no look would ever have seen it."""
    router = FakeRouter()
    looks = Looks(nothing, lambda: router.meddle("web", found), nothing, nothing)

    await follow(router, looks)

    seen = [status.route if status is not None else None for status in looks.routes]
    assert seen == [None, ROUTE, found, ROUTE]


async def test_whoever_takes_a_rollout_over_shuts_out_the_owner_before_it_although_the_route_is_right() -> None:
    router = FakeRouter()
    await router.set_route(ROUTE, epoch=FENCE - 1)

    await follow(router, Looks(nothing))

    with pytest.raises(Conflict, match="epoch 7"):
        await router.set_route(ROUTE, epoch=FENCE - 1)
