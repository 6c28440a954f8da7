"""One look at one target, and what follows from it. The loop of `deciders` calls it every tick.

    load policy and state → settle what an earlier look had begun → look → decide
      → record decision, explanation, state and event in one transaction
      → tell the target, which refuses when its size has changed since → record that it has accepted

The process may die anywhere in between. What was decided and perhaps not done is a PENDING activity: the next look
finds the target at the size wanted and records that it was done, or finds it not and decides anew. Sizes are absolute,
and each is set against the size seen before, so that nothing is ever done twice. Every write carries the epoch of the
lease: a decider that lost its target changes nothing here, and its late word to the target meets a changed size.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Conflict, NotFound, OpsuiteError
from opsuite_kernel.ids import new_id
from opsuite_runs.faults import declare
from opsuite_runs.port import FencedOut, Lease
from opsuite_scaler.application.looking import Loaded, Looking, Sight, hour_of, load
from opsuite_scaler.application.ports import Scale
from opsuite_scaler.application.records import (
    Activity,
    Cause,
    EventKind,
    Happened,
    Observation,
    Result,
    TargetRecord,
)
from opsuite_scaler.application.store import HISTORY_EVERY, Leases, Store, Tx
from opsuite_scaler.domain.decide import acted
from opsuite_scaler.domain.decision import Decision, Outcome, State, Verdict
from opsuite_scaler.domain.expressions import Evaluate
from opsuite_scaler.domain.policy import ForecastMode, ScalingPolicy
from opsuite_scaler.domain.snapshot import Reading, SampleKind, Snapshot

log = structlog.get_logger(__name__)

SEEN: Final = declare("scaler.seen", "a target was looked at, nothing of it is recorded")
DECIDED: Final = declare("scaler.decided", "a decision is recorded, the target has not been told")
TOLD: Final = declare("scaler.told", "the target has accepted a size, that is not recorded")
DONE: Final = declare("scaler.done", "a look and all that follows from it is recorded")

SIZE_CHANGED: Final = "SIZE_CHANGED"
LONGEST_SPENDING_GAP: Final = timedelta(minutes=5)
"""Time that nobody looked is not counted as spent beyond this: nobody knows what size there was."""


@dataclass(frozen=True, slots=True)
class Looked:
    """How a look ended."""

    tick: timedelta
    """Time between two looks."""
    again_at_once: bool = False
    """The target had changed under our hands."""


class Watcher(Protocol):
    """Is told what was decided: metrics, spans."""

    def look(self, policy: str) -> AbstractContextManager[None]:
        """Around one look."""

    def decided(self, policy: str, outcome: Outcome) -> None:
        """What it decided, once that is recorded."""


class NobodyWatches:
    """Fits Watcher."""

    def look(self, policy: str) -> AbstractContextManager[None]:
        """Around one look."""
        return nullcontext()

    def decided(self, policy: str, outcome: Outcome) -> None:
        """What it decided."""


class Targets:
    """Looks at targets and makes decisions true."""

    def __init__(
        self,
        *,
        store: Store,
        looking: Looking,
        leases: Leases,
        clock: Clock,
        formulas: Evaluate | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self._store = store
        self._looking = looking
        self._leases = leases
        self._clock = clock
        self._formulas = formulas
        self._watcher = watcher or NobodyWatches()

    async def look(self, lease: Lease) -> Looked:
        """Look at the target of a lease once.

        Raises FencedOut (it is not ours any more, or gone), Overtaken (a newer wish: look again), Unavailable.
        """
        loaded = await self._store.read(lambda tx: load(tx, lease.run))
        if loaded is None:
            raise FencedOut(lease.run)
        with self._watcher.look(lease.run):
            return await self._look(lease, loaded)

    async def _look(self, lease: Lease, loaded: Loaded) -> Looked:
        tick = loaded.record.policy.timing.tick
        try:
            scale = await self._looking.scale(loaded)
        except OpsuiteError as error:
            why = error.message
            await self._store.write(lambda tx: cannot_see(tx, lease, loaded, why, self._clock.now()))
            return Looked(tick)
        if loaded.pending:
            if (ended := await self._settle(lease, loaded, scale)) is not None:
                return ended
            loaded = await self._reload(lease)
        sight = await self._looking.sight(loaded, scale)
        SEEN.hit()
        outcome = sight.judged(loaded.target.state, self._formulas)
        activity, target = await self._store.write(
            lambda tx: record_decision(tx, lease, loaded, sight, outcome, self._clock.now())
        )
        self._watcher.decided(lease.run, outcome)
        changed = await self._carry_out(lease, loaded, sight, outcome, activity, target) if activity else False
        DONE.hit()
        return Looked(tick, again_at_once=changed)

    async def _reload(self, lease: Lease) -> Loaded:
        loaded = await self._store.read(lambda tx: load(tx, lease.run))
        if loaded is None:
            raise FencedOut(lease.run)
        return loaded

    async def _carry_out(
        self, lease: Lease, loaded: Loaded, sight: Sight, outcome: Outcome, activity: Activity, target: TargetRecord
    ) -> bool:
        """Tell the target its new size; whether that had changed meanwhile."""
        DECIDED.hit()
        decision = outcome.decision
        refusal = await self._tell(lease, loaded, sight.scale, decision.desired)
        if refusal is None:
            TOLD.hit()
            after = replace(
                target,
                size=decision.desired,
                state=acted(loaded.record.policy, outcome.state, decision, sight.snapshot.now),
            )
            await self._store.write(lambda tx: settled(tx, lease, after, activity, Result.ACCEPTED, EventKind.SCALED))
            return False
        result = Result.FAILED if isinstance(refusal, Conflict | NotFound) else Result.PENDING
        await self._store.write(
            lambda tx: settled(tx, lease, target, activity, result, EventKind.FAILED, refusal.message)
        )
        return has_changed(refusal)

    async def _tell(self, lease: Lease, loaded: Loaded, scale: Scale, replicas: int) -> OpsuiteError | None:
        """Ask the target for a size; why it refuses, or None."""
        if not self._leases.may_act(lease.run):
            raise FencedOut(lease.run)
        try:
            await self._looking.targets.set_scale(loaded.record.policy.target, replicas, expected=scale)
        except OpsuiteError as error:
            log.warning("scale_refused", policy=lease.run, replicas=replicas, why=error.message)
            return error
        return None

    async def _settle(self, lease: Lease, loaded: Loaded, scale: Scale) -> Looked | None:
        """Find out what became of what was recorded before, and carry out what a person wanted; None: decide anew."""
        last, refusal = loaded.pending[-1], None
        is_wish = last.cause is Cause.MANUAL
        if is_wish and scale.spec_replicas != last.decision.desired:
            DECIDED.hit()
            refusal = await self._tell(lease, loaded, scale, last.decision.desired)
            if refusal is None:
                TOLD.hit()
        now = self._clock.now()
        await self._store.write(lambda tx: settle_all(tx, lease, loaded, scale, refusal, now))
        if not is_wish:
            return None
        return Looked(loaded.record.policy.timing.tick, again_at_once=refusal is not None and has_changed(refusal))


def has_changed(refusal: OpsuiteError) -> bool:
    """Whether a target refused since its size is another one now; other conflicts take their time."""
    return isinstance(refusal, Conflict) and refusal.reason == SIZE_CHANGED


# --- bodies of transactions ------------------------------------------------------------------------------------------


def cannot_see(tx: Tx, lease: Lease, loaded: Loaded, why: str, now: datetime) -> None:
    """Record that the target could not be read; nothing else is known, so nothing else changes."""
    target = replace(loaded.target, error=why, looked_at=now, seen_wish=loaded.target.wish)
    tx.record(lease, target)
    if why != loaded.target.error:
        tx.append(lease.run, [Happened(EventKind.TARGET_ERROR, message=why)])


def record_decision(
    tx: Tx, lease: Lease, loaded: Loaded, sight: Sight, outcome: Outcome, now: datetime
) -> tuple[Activity | None, TargetRecord]:
    """Record a look and what was decided; the activity that is to be carried out now, if there is one."""
    before = loaded.target
    happened: list[Happened] = []
    if before.error:
        happened.append(Happened(EventKind.TARGET_ERROR, message=""))
    if foreign := foreign_change(loaded, sight.scale, now):
        tx.add_activity(foreign)
        happened.append(Happened(EventKind.FOREIGN_CHANGE, activity=foreign))
    activity, is_new = _activity(loaded, sight, outcome, now, continues=foreign is None)
    target = replace(
        before,
        seen_wish=before.wish,
        state=outcome.state,
        size=sight.scale.spec_replicas,
        status_size=sight.scale.status_replicas,
        wanted=wanted(outcome),
        readings=totals(sight.snapshot),
        activity=activity.id,
        error="",
        looked_at=now,
    )
    tx.record(lease, target)  # first: it is what fails when this look is void
    if is_new:
        tx.add_activity(activity)
        happened.append(Happened(EventKind.DECIDED, activity=activity))
    else:
        tx.put_activity(activity)
    tx.append(lease.run, happened)
    _remember(tx, loaded, sight, now)
    return (activity if activity.result is Result.PENDING else None), target


def foreign_change(loaded: Loaded, scale: Scale, now: datetime) -> Activity | None:
    """What somebody else did to the size since it was seen or left last."""
    before = loaded.target.size
    if before is None or before == scale.spec_replicas:
        return None
    message = f"somebody else has changed the size from {before} to {scale.spec_replicas}; it is respected"
    decision = Decision(Verdict.SCALE, before, scale.spec_replicas, "ForeignChange", message)
    return Activity(
        id=new_id(now),
        policy=loaded.record.id,
        cause=Cause.FOREIGN,
        result=Result.ACCEPTED,
        decision=decision,
        started_at=now,
        last_at=now,
        policy_number=loaded.record.number,
    )


def _activity(
    loaded: Loaded, sight: Sight, outcome: Outcome, now: datetime, *, continues: bool
) -> tuple[Activity, bool]:
    """The activity of a decision, and whether it is a new one: equal decisions one after the other are one."""
    decision, last = outcome.decision, loaded.last
    result = Result.NONE
    if decision.is_to_be_done:
        result = Result.PENDING
    elif decision.is_dry_run and decision.verdict is Verdict.SCALE:
        result = Result.DRY_RUN
    if continues and last is not None and _is_the_same(last, decision, result):
        return (
            replace(
                last,
                result=result,
                decision=decision,
                last_at=now,
                evaluations=last.evaluations + 1,
                policy_number=loaded.record.number,
                steps=outcome.steps,
                snapshot=sight.snapshot,
            ),
            False,
        )
    activity = Activity(
        id=new_id(now),
        policy=loaded.record.id,
        cause=Cause.POLICY,
        result=result,
        decision=decision,
        started_at=now,
        last_at=now,
        policy_number=loaded.record.number,
        steps=outcome.steps,
        snapshot=sight.snapshot,
    )
    return activity, True


def _is_the_same(last: Activity, decision: Decision, result: Result) -> bool:
    """Whether a decision repeats the last one: one that came to nothing, or that failed and is tried again.

    What has to be waited for shrinks, and is no difference.
    """
    then = last.decision
    return (
        last.cause is Cause.POLICY
        and last.result is (Result.FAILED if result is Result.PENDING else result)
        and (then.verdict, then.current, then.desired, then.reason, then.withheld)
        == (decision.verdict, decision.current, decision.desired, decision.reason, decision.withheld)
    )


def wanted(outcome: Outcome) -> int:
    """What the target would have were there no pool: what it wanted before the stage that a pool may bind."""
    before = [step.before for step in outcome.steps if step.rule == "max_replicas"]
    decision = outcome.decision
    return max([*before, decision.withheld or 0, decision.desired])


def totals(snapshot: Snapshot) -> dict[str, Reading]:
    """The readings without the samples of members."""
    return {name: replace(reading, by_member={}) for name, reading in snapshot.readings.items()}


def _remember(tx: Tx, loaded: Loaded, sight: Sight, now: datetime) -> None:
    """Keep what forecasts, traces and budgets are made of."""
    policy, before = loaded.record.policy, loaded.target.looked_at
    every = observed_every(policy)
    if before is None or _slot(before, every) != _slot(now, every):
        values = {
            name: reading.total for name, reading in sight.snapshot.readings.items() if reading.kind is SampleKind.VALUE
        }
        moment = datetime.fromtimestamp(_slot(now, every) * every.total_seconds(), tz=now.tzinfo)
        tx.observe(loaded.record.id, Observation(moment, sight.scale.status_replicas, values))
    if policy.cost is not None and before is not None:
        seconds = min(now - before, LONGEST_SPENDING_GAP).total_seconds() * sight.scale.status_replicas
        if seconds > 0:
            tx.spend(loaded.record.id, hour_of(now), seconds)


def observed_every(policy: ScalingPolicy) -> timedelta:
    """Time between two observations that are kept."""
    if policy.forecast.mode is ForecastMode.OFF:
        return HISTORY_EVERY
    return min(policy.forecast.step, HISTORY_EVERY)


def _slot(moment: datetime, every: timedelta) -> int:
    return int(moment.timestamp() // every.total_seconds())


def settled(
    tx: Tx,
    lease: Lease,
    target: TargetRecord,
    activity: Activity,
    result: Result,
    kind: EventKind,
    error: str = "",
) -> None:
    """Record what became of a decision. A wish that came meanwhile does not keep it from being true."""
    tx.record(lease, target, despite_wishes=True)
    after = replace(activity, result=result, error=error)
    tx.put_activity(after)
    if kind is not EventKind.FAILED or error != activity.error:  # a failure that goes on is told once
        tx.append(lease.run, [Happened(kind, activity=after, message=error)])


def settle_all(tx: Tx, lease: Lease, loaded: Loaded, scale: Scale, refusal: OpsuiteError | None, now: datetime) -> None:
    """Record what became of each pending activity, the last of which was just carried out if a person wanted it."""
    *earlier, last = loaded.pending
    target = replace(loaded.target, looked_at=now)
    happened = [_given_up(tx, one) for one in earlier]
    if last.cause is Cause.MANUAL:
        target, told = _settle_manual(tx, target, last, refusal)
    else:
        target, told = _settle_decision(tx, loaded, target, last, scale)
    tx.record(lease, target, despite_wishes=True)
    tx.append(lease.run, [*happened, *told])


def _given_up(tx: Tx, activity: Activity) -> Happened:
    after = replace(activity, result=Result.DROPPED, error="a newer wish came first")
    tx.put_activity(after)
    return Happened(EventKind.FAILED, activity=after, message=after.error)


def _settle_manual(
    tx: Tx, target: TargetRecord, wish: Activity, refusal: OpsuiteError | None
) -> tuple[TargetRecord, list[Happened]]:
    if refusal is None:
        after = replace(wish, result=Result.ACCEPTED, error="")
        tx.put_activity(after)
        done = replace(target, size=wish.decision.desired, activity=wish.id, seen_wish=target.wish, error="")
        return done, [Happened(EventKind.SCALED, activity=after, actor=wish.actor)]
    is_final = isinstance(refusal, NotFound)
    after = replace(wish, result=Result.FAILED if is_final else Result.PENDING, error=refusal.message)
    tx.put_activity(after)
    seen = replace(target, seen_wish=target.wish if is_final else target.seen_wish)
    if refusal.message == wish.error:  # a failure that goes on is told once
        return seen, []
    return seen, [Happened(EventKind.FAILED, activity=after, message=refusal.message)]


def _settle_decision(
    tx: Tx, loaded: Loaded, target: TargetRecord, decided: Activity, scale: Scale
) -> tuple[TargetRecord, list[Happened]]:
    decision = decided.decision
    if scale.spec_replicas == decision.desired:
        after = replace(decided, result=Result.ACCEPTED, error="")
        tx.put_activity(after)
        state = acted(loaded.record.policy, target.state or State(), decision, decided.last_at)
        return replace(target, size=decision.desired, state=state), [Happened(EventKind.SCALED, activity=after)]
    why = decided.error or "the decider ended before it was done; it is decided anew"
    after = replace(decided, result=Result.FAILED if decided.error else Result.DROPPED, error=why)
    tx.put_activity(after)
    return target, [] if decided.error else [Happened(EventKind.FAILED, activity=after, message=why)]
