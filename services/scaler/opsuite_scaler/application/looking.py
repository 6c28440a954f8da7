"""Looking at a target: everything that a decision is made from, asked of whoever knows it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Unavailable
from opsuite_scaler.application.ports import Foresight, MetricSources, RolloutView, ScalableTargets, Scale
from opsuite_scaler.application.records import Activity, PolicyRecord, TargetRecord, size_of
from opsuite_scaler.application.store import Tx
from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import Outcome, State
from opsuite_scaler.domain.expressions import Evaluate
from opsuite_scaler.domain.modes import mode_at
from opsuite_scaler.domain.policy import ForecastMode, Mode, ModeSetting, ScalingPolicy
from opsuite_scaler.domain.pools import Claim, allocate
from opsuite_scaler.domain.snapshot import Foreseen, PoolGrant, Snapshot

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the database knows of a target before it is looked at."""

    record: PolicyRecord
    target: TargetRecord
    last: Activity | None
    pending: tuple[Activity, ...] = ()
    """Recorded and not known to be carried out, the oldest first."""
    grant: PoolGrant | None = None
    spent: float = 0.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen, and by which policy it is to be judged."""

    scale: Scale
    snapshot: Snapshot
    policy: ScalingPolicy
    """The recorded one, unless a neighbour that could not be asked narrows what may be done."""

    def judged(self, state: State | None, formulas: Evaluate | None) -> Outcome:
        """The decision."""
        return decide(self.policy, self.snapshot, state or State(), formulas)


class Looking:
    """Asks targets, metric sources and neighbours."""

    def __init__(
        self,
        *,
        targets: ScalableTargets,
        sources: MetricSources,
        rollouts: RolloutView | None,
        foresight: Foresight | None,
        clock: Clock,
    ) -> None:
        """`rollouts` None: nobody rolls anything out; `foresight` None: nothing is foreseen."""
        self.targets = targets
        self._sources = sources
        self._rollouts = rollouts
        self._foresight = foresight
        self._clock = clock

    async def scale(self, loaded: Loaded) -> Scale:
        """The size of the target. Raises NotFound, Unavailable, InvalidInput."""
        return await self.targets.get_scale(loaded.record.policy.target)

    async def sight(self, loaded: Loaded, scale: Scale) -> Sight:
        """All the rest. What cannot be known is told in the snapshot, or narrows the policy."""
        policy, name = loaded.record.policy, loaded.record.id
        now = self._clock.now()
        readings, rollout, forecast = await asyncio.gather(
            self._sources.read(policy.target, policy.metrics, scale.members, now),
            self._rollout(policy),
            self._foreseen(name, policy, scale, now),
        )
        snapshot = Snapshot(
            now=now,
            spec_replicas=scale.spec_replicas,
            status_replicas=scale.status_replicas,
            members=scale.members,
            readings=readings,
            rollout_under_way=rollout is True,
            pool=loaded.grant,
            spent=loaded.spent,
            forecast=forecast,
            manual_until=loaded.target.manual_until,
        )
        return Sight(scale, snapshot, policy if rollout is not None else only_growing(policy, now))

    async def _rollout(self, policy: ScalingPolicy) -> bool | None:
        """Whether a rollout is under way; None when nobody can tell."""
        if self._rollouts is None or not policy.hold_during_rollout:
            return False
        try:
            return await self._rollouts.is_rolling_out(policy.target)
        except Unavailable:
            return None

    async def _foreseen(self, name: str, policy: ScalingPolicy, scale: Scale, now: datetime) -> Foreseen | None:
        if self._foresight is None or policy.forecast.mode is ForecastMode.OFF:
            return None
        return await self._foresight.foresee(name, policy, scale.members, now)

    def forget(self, name: str) -> None:
        """A policy is gone."""
        if self._foresight is not None:
            self._foresight.forget(name)


def only_growing(policy: ScalingPolicy, now: datetime) -> ScalingPolicy:
    """The policy while nobody can tell whether the target is being rolled out: nothing gets smaller."""
    mode = mode_at(policy.mode, now)
    if mode in {Mode.PAUSED, Mode.DRY_RUN, Mode.SCALE_UP_ONLY}:
        return policy
    narrowed = Mode.PAUSED if mode is Mode.SCALE_DOWN_ONLY else Mode.SCALE_UP_ONLY
    return replace(policy, mode=ModeSetting(narrowed, reason="the deployer cannot be asked whether it rolls this out"))


def load(tx: Tx, policy: str) -> Loaded | None:
    """What the database knows of a target; None when there is no such policy."""
    record, target = tx.policy(policy), tx.target(policy)
    if record is None or target is None:
        return None
    return Loaded(
        record=record,
        target=target,
        last=tx.activity(policy, target.activity) if target.activity else None,
        pending=tuple(tx.pending(policy)),
        grant=granted(tx, record) if record.policy.pool else None,
        spent=_spent(tx, record),
    )


def granted(tx: Tx, record: PolicyRecord) -> PoolGrant | None:
    """What a pool leaves to one of those that share it; None when the pool is gone.

    That is its share if it wanted as much as its policy allows, beside what the others want. It grows only into what is
    free: what another one has to give back is there once that one has shrunk, so a pool is never overdrawn on the way.
    """
    pool = tx.pool(record.policy.pool)
    if pool is None:
        return None
    sharers = tx.sharers(pool.id)
    claims = {claim.name: claim for claim in claims_of(sharers)}
    claims[record.id] = replace(claims[record.id], wanted=record.policy.max_replicas)
    share = allocate(pool.capacity, claims.values())[record.id]
    own = next(target for other, target in sharers if other.id == record.id)
    free = pool.capacity - sum(size_of(target) for other, target in sharers if other.id != record.id)
    return PoolGrant(pool.id, share if own.size is None else min(share, max(own.size, free)))


def claims_of(sharers: Sequence[tuple[PolicyRecord, TargetRecord]]) -> list[Claim]:
    """What each of those that share a pool wants of it."""
    return [
        Claim(record.id, wanted_by(record, target), record.policy.min_replicas, record.policy.priority)
        for record, target in sharers
    ]


def wanted_by(record: PolicyRecord, target: TargetRecord) -> int:
    """Size that a target would have were there no pool."""
    wanted = target.wanted if target.wanted is not None else target.size
    return min(wanted if wanted is not None else record.policy.min_replicas, record.policy.max_replicas)


def _spent(tx: Tx, record: PolicyRecord) -> float:
    cost = record.policy.cost
    if cost is None:
        return 0.0
    since = hour_of(tx.now() - cost.window)
    return tx.spent(record.id, since) / HOUR.total_seconds() * cost.price_per_replica_hour


def hour_of(moment: datetime) -> datetime:
    """The full hour before."""
    return moment.replace(minute=0, second=0, microsecond=0)
