"""The scaler's use cases over a real database, with targets and metrics in memory: looks happen when a test says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from opsuite.scaler.v1 import decision_pb2
from opsuite.scaler.v1.policy_pb2 import ScalingPolicy as PolicyMessage
from opsuite_kernel.clock import SystemClock
from opsuite_kernel.errors import Conflict, NotFound, Unavailable
from opsuite_runs import events as event_log
from opsuite_runs.lease import Leases, new_owner
from opsuite_runs.port import Call, Event, Lease
from opsuite_runs.watch import Hub
from opsuite_scaler.adapters import tables
from opsuite_scaler.adapters.database import SqlStore
from opsuite_scaler.adapters.formulas import CelFormulas
from opsuite_scaler.adapters.policy_messages import policy_of
from opsuite_scaler.adapters.scaler_api import document_of
from opsuite_scaler.application.looking import Looking
from opsuite_scaler.application.policies import NewPolicy, Policies, Standing
from opsuite_scaler.application.pools import Pools
from opsuite_scaler.application.ports import Scale, SourceInfo
from opsuite_scaler.application.records import Activity
from opsuite_scaler.application.targets import Looked, Targets
from opsuite_scaler.domain.policy import MetricSpec, ScalingPolicy, TargetRef
from opsuite_scaler.domain.rules import violations
from opsuite_scaler.domain.snapshot import Foreseen, Member, Reading, SampleKind
from opsuite_storage.store import Store

ADA = Call("ada")


class Died(BaseException):
    """The process ends here."""


@dataclass
class FakeTargets:
    """Fits `application.ports.ScalableTargets`."""

    sizes: dict[str, int] = field(default_factory=dict)
    changes: list[tuple[str, int, int]] = field(default_factory=list)
    is_away: bool = False
    before_set: Callable[[], None] = lambda: None
    """May raise: then nothing was changed."""
    after_set: Callable[[], None] = lambda: None
    """May raise: then it was."""

    async def get_scale(self, ref: TargetRef) -> Scale:
        if self.is_away:
            raise Unavailable("the target is away")
        if ref.name not in self.sizes:
            raise NotFound("target", ref.name)
        size = self.sizes[ref.name]
        return Scale(size, size, tuple(Member(f"{ref.name}-{index}") for index in range(size)))

    async def set_scale(self, ref: TargetRef, replicas: int, *, expected: Scale) -> None:
        self.before_set()
        size = self.sizes[ref.name]
        if size != expected.spec_replicas:
            raise Conflict(f"{ref.name} has {size} replicas", reason="SIZE_CHANGED")
        self.sizes[ref.name] = replicas
        if size != replicas:
            self.changes.append((ref.name, size, replicas))
        self.after_set()


@dataclass
class FakeSources:
    """Fits `application.ports.MetricSources`; values by query."""

    values: dict[str, float] = field(default_factory=dict)
    interlude: Callable[[], Awaitable[object]] | None = None
    """What happens while the next look goes on."""

    async def read(
        self, ref: TargetRef, metrics: Sequence[MetricSpec], members: Sequence[Member], now: datetime
    ) -> Mapping[str, Reading]:
        if self.interlude:
            happens, self.interlude = self.interlude, None
            await happens()
        return {metric.name: self._reading(metric, now) for metric in metrics}

    def known(self) -> Sequence[SourceInfo]:
        return [SourceInfo("push", "push")]

    async def check(self, metrics: Sequence[MetricSpec]) -> Mapping[str, str]:
        return {metric.name: "there is no such source" for metric in metrics if metric.source not in {"push", ""}}

    def _reading(self, metric: MetricSpec, now: datetime) -> Reading:
        if metric.query not in self.values:
            return Reading(SampleKind.ERROR, message="nobody answers")
        return Reading(SampleKind.VALUE, total=self.values[metric.query], at=now)


@dataclass
class FakeRollouts:
    """Fits `application.ports.RolloutView`."""

    under_way: bool = False
    is_away: bool = False

    async def is_rolling_out(self, ref: TargetRef) -> bool:
        if self.is_away:
            raise Unavailable("the deployer is away")
        return self.under_way


class FakeForesight:
    """Fits `application.ports.Foresight`: it foresees nothing, and keeps what it was told to forget."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    async def foresee(
        self, name: str, policy: ScalingPolicy, members: Sequence[Member], now: datetime
    ) -> Foreseen | None:
        return None

    def forget(self, name: str) -> None:
        self.forgotten.append(name)


class FakeLeases:
    """Fits `application.store.Leases`: what is held stays good."""

    def hold(self, lease: Lease) -> None: ...

    def drop(self, run: str) -> None: ...

    def held(self) -> Sequence[Lease]:
        return []

    def may_act(self, run: str) -> bool:
        return True


class Stage:
    """One decider process and its database."""

    def __init__(self, database: Store, world: Stage | None = None) -> None:
        """`world`: another process with the same targets."""
        self.database = database
        self.targets: FakeTargets = world.targets if world else FakeTargets()
        self.sources: FakeSources = world.sources if world else FakeSources()
        self.rollouts: FakeRollouts = world.rollouts if world else FakeRollouts()
        clock = SystemClock()
        hub = Hub(self._read_nothing, clock)
        self.store = SqlStore(database, Leases(tables.targets), hub, new_owner(), clock)
        formulas = CelFormulas()
        self.foresight = FakeForesight()
        looking = Looking(
            targets=self.targets, sources=self.sources, rollouts=self.rollouts, foresight=self.foresight, clock=clock
        )
        self.policies = Policies(
            store=self.store,
            looking=looking,
            sources=self.sources,
            judge=lambda policy: violations(policy, formulas.names),
            clock=clock,
            formulas=formulas,
        )
        self.pools = Pools(self.store)
        self._looks = Targets(store=self.store, looking=looking, leases=FakeLeases(), clock=clock, formulas=formulas)
        self._leases: dict[str, Lease] = {}

    async def create(self, message: PolicyMessage, *, size: int) -> None:
        """A policy whose target has a size."""
        self.targets.sizes[message.target.name] = size
        name = message.name.removeprefix("scalingPolicies/")
        await self.policies.create(NewPolicy(name, policy_of(message), document_of(message)), ADA)

    async def claim_all(self) -> None:
        """Take over every target, as a new process on the same data does."""
        taken = await self.store.write(lambda tx: tx.take_over_all())
        self._leases = {lease.run: lease for lease in taken}

    async def look(self, policy: str = "shop") -> Looked:
        """One look."""
        if policy not in self._leases:
            await self.claim_all()
        return await self._looks.look(self._leases[policy])

    async def standing(self, policy: str = "shop") -> Standing:
        """How its target stands."""
        return await self.policies.standing(policy)

    async def last(self, policy: str = "shop") -> Activity:
        """Its last activity."""
        found = (await self.standing(policy)).last
        assert found is not None, "nothing was decided"
        return found

    async def activities(self, policy: str = "shop") -> list[Activity]:
        """All of a policy, the oldest first."""
        c = tables.activities.c
        ids = await self.database.read(
            lambda connection: connection.execute(
                tables.activities.select().where(c.policy == policy).order_by(c.started_at, c.id)
            ).all()
        )
        return [await self.policies.activity(policy, row.id) for row in ids]

    async def events(self, policy: str = "shop") -> list[decision_pb2.ScalingEvent]:
        """Every event of a policy, in order."""
        found = await self.database.read(
            lambda connection: event_log.read_resource(connection, tables.events, f"scalingPolicies/{policy}", 0, 1000)
        )
        return [decision_pb2.ScalingEvent.FromString(event.payload) for event in found]

    async def _read_nothing(self, topic: str, after: int, limit: int) -> Sequence[Event]:
        return ()
