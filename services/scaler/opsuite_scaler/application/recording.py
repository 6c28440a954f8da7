"""What a look leaves in the database: the bodies of its transactions.

What was decided and is to be done is PENDING until the target has accepted it, or has refused, or was found at another
size. Equal decisions one after the other are one activity, and so is one that fails again and again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from opsuite_kernel.errors import NotFound, OpsuiteError
from opsuite_kernel.ids import new_id
from opsuite_runs.port import Lease
from opsuite_scaler.application.looking import Loaded, Sight, granted, hour_of
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
from opsuite_scaler.application.store import HISTORY_EVERY, Overtaken, Tx
from opsuite_scaler.domain.decide import acted
from opsuite_scaler.domain.decision import Decision, Outcome, State, Verdict
from opsuite_scaler.domain.demand import loads_of
from opsuite_scaler.domain.policy import ForecastMode, ScalingPolicy
from opsuite_scaler.domain.snapshot import Reading, Snapshot

LONGEST_SPENDING_GAP: Final = timedelta(minutes=5)
"""Time that nobody looked is not counted as spent beyond this: nobody knows what size there was."""


def cannot_see(tx: Tx, lease: Lease, loaded: Loaded, why: str, now: datetime) -> None:
    """Record that the target could not be read; nothing else is known, so nothing else changes."""
    target = replace(loaded.target, error=why, looked_at=now, seen_wish=loaded.target.wish)
    tx.record(lease, target)
    if why != loaded.target.error:
        tx.append(lease.run, [Happened(EventKind.TARGET_ERROR, message=why)])


def record_decision(
    tx: Tx, lease: Lease, loaded: Loaded, sight: Sight, outcome: Outcome, now: datetime
) -> tuple[Activity | None, TargetRecord]:
    """Record a look and what was decided; the activity that is to be carried out now, if there is one.

    Raises Overtaken (a newer wish, or another target has taken what the pool had left), FencedOut.
    """
    _judge_pool(tx, loaded, outcome)
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
        asked=outcome.decision.desired if activity.result is Result.PENDING else None,
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


def _judge_pool(tx: Tx, loaded: Loaded, outcome: Outcome) -> None:
    """Raises Overtaken when a pool has no longer what a decision to grow was told that it has."""
    decision = outcome.decision
    if loaded.grant is None or not decision.is_to_be_done or decision.desired <= decision.current:
        return
    tx.lock_pool(loaded.grant.pool)
    grant = granted(tx, loaded.record)
    if grant is not None and decision.desired > grant.max_replicas:
        raise Overtaken


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
        values = loads_of(policy.metrics, sight.snapshot)
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
    is_under_way = result is Result.PENDING
    tx.record(lease, target if is_under_way else replace(target, asked=None), despite_wishes=True)
    after = replace(activity, result=result, error=error)
    tx.put_activity(after)
    if kind is not EventKind.FAILED or error != activity.error:  # a failure that goes on is told once
        tx.append(lease.run, [Happened(kind, activity=after, message=error)])


def settle_all(tx: Tx, lease: Lease, loaded: Loaded, scale: Scale, refusal: OpsuiteError | None, now: datetime) -> None:
    """Record what became of each pending activity, the last of which was just carried out if a person wanted it."""
    *earlier, last = loaded.pending
    target = replace(loaded.target, asked=None, looked_at=now)
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
