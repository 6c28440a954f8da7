"""Policies as people change them: made, changed, paused, forgotten; and sizes that people set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import InvalidInput, Unavailable, Violation
from opsuite_kernel.ids import new_id
from opsuite_runs.port import Call
from opsuite_scaler.application.calls import begin, finish
from opsuite_scaler.application.errors import (
    ActivityNotFound,
    EtagMismatch,
    PolicyNotFound,
    PoolNotFound,
    SizeChanged,
    Unattended,
)
from opsuite_scaler.application.looking import Loaded, Looking, Sight, load
from opsuite_scaler.application.ports import MetricSources
from opsuite_scaler.application.records import (
    Activity,
    Cause,
    EventKind,
    Happened,
    PolicyRecord,
    Result,
    TargetRecord,
)
from opsuite_scaler.application.store import Store, Tx
from opsuite_scaler.domain.decision import Decision, Outcome, Verdict
from opsuite_scaler.domain.expressions import Evaluate
from opsuite_scaler.domain.policy import ModeSetting, ScalingPolicy

LOOK_AGAIN_SECONDS: Final = 0.05
LONGEST_WAIT: Final = timedelta(seconds=30)
"""Longest time that EvaluateAndScale waits for the decider."""

Judge = Callable[[ScalingPolicy], Sequence[Violation]]
"""What is wrong with a policy, by paths below it, whatever the state."""
Merge = Callable[[bytes], tuple[bytes, ScalingPolicy]]
"""What a document becomes by a change, and the policy that it describes then."""


@dataclass(frozen=True, slots=True)
class NewPolicy:
    """A policy to record."""

    id: str
    policy: ScalingPolicy
    document: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """A target as it stands."""

    record: PolicyRecord
    target: TargetRecord
    last: Activity | None


class Policies:
    """The use cases of ScalerService."""

    def __init__(
        self,
        *,
        store: Store,
        looking: Looking,
        sources: MetricSources,
        judge: Judge,
        clock: Clock,
        formulas: Evaluate | None,
    ) -> None:
        self._store = store
        self._looking = looking
        self._sources = sources
        self._judge = judge
        self._clock = clock
        self._formulas = formulas

    # --- making and changing

    def rules(self, policy: ScalingPolicy) -> list[Violation]:
        """What is wrong with a policy in itself, by paths below `policy`."""
        return [violation.below("policy") for violation in self._judge(policy)]

    async def violations(self, policy: ScalingPolicy) -> list[Violation]:
        """Everything that is wrong with a policy whatever the state, by paths below `policy`."""
        found = self.rules(policy)
        told = await self._sources.check(policy.metrics)
        for index, metric in enumerate(policy.metrics):
            if problem := told.get(metric.name):
                found.append(Violation(f"policy.metrics[{index}]", problem, "SOURCE"))
        if policy.mode.until is not None and policy.mode.until <= self._clock.now():
            found.append(_in_the_past("policy.mode.until"))
        return found

    async def create(self, new: NewPolicy, call: Call) -> PolicyRecord:
        """Record a policy. Raises InvalidInput (every violation), PolicyExists, TargetTaken, PoolNotFound."""
        if found := await self.violations(new.policy):
            raise InvalidInput(found, reason="POLICY_INVALID")

        def body(tx: Tx) -> PolicyRecord:
            if begin(tx, call) is not None:
                return _require(tx, new.id)
            _require_pool(tx, new.policy)
            now = tx.now()
            policy = replace(new.policy, mode=_by(new.policy.mode, call.actor))
            record = PolicyRecord(new.id, policy, new.document, 1, now, now, call.actor)
            tx.add_policy(record)
            tx.append(new.id, [Happened(EventKind.CREATED, actor=call.actor)])
            tx.wish(new.id, manual_until=None)
            finish(tx, call, new.id)
            return record

        return await self._store.write(body)

    async def update(
        self, policy: str, etag: str, merge: Merge, call: Call, *, only_check: bool = False
    ) -> PolicyRecord:
        """Change a policy. Raises PolicyNotFound, EtagMismatch, InvalidInput (every violation), PoolNotFound."""
        while True:
            before = await self.get(policy)
            document, wanted = merge(before.document)
            if found := await self.violations(replace(wanted, mode=ModeSetting())):
                raise InvalidInput(found, reason="POLICY_INVALID")
            changed = replace(
                before,
                policy=replace(wanted, mode=before.policy.mode),
                document=document,
                number=before.number + 1,
                updated_at=self._clock.now(),
            )
            if only_check:
                return changed

            def body(tx: Tx, before: PolicyRecord = before, changed: PolicyRecord = changed) -> PolicyRecord:
                if begin(tx, call) is not None:
                    return _require(tx, policy)
                _require_pool(tx, changed.policy)  # before the target, as everywhere: locks are taken in one order
                target, present = _locked(tx, policy), _require(tx, policy, etag)  # what is read under the lock stays
                if present.number != before.number:
                    raise _Outrun
                tx.put_policy(changed)
                tx.append(policy, [Happened(EventKind.UPDATED, actor=call.actor)])
                tx.wish(policy, manual_until=target.manual_until)
                finish(tx, call, policy)
                return changed

            try:
                return await self._store.write(body)
            except _Outrun:
                continue  # somebody else was first: merge into what is there now

    async def delete(self, policy: str, etag: str, call: Call) -> None:
        """Forget a policy; the target keeps its size. Raises PolicyNotFound, EtagMismatch."""

        def body(tx: Tx) -> None:
            if begin(tx, call) is not None:
                return
            _locked(tx, policy)
            _require(tx, policy, etag)
            tx.append(policy, [Happened(EventKind.DELETED, actor=call.actor)])
            tx.delete_policy(policy)
            finish(tx, call, policy)

        await self._store.write(body)

    async def set_mode(
        self, policy: str, mode: ModeSetting, etag: str, call: Call, *, ends_hold: bool = False
    ) -> PolicyRecord:
        """Say what may be done with decisions. Raises PolicyNotFound, EtagMismatch, InvalidInput (until)."""
        if mode.until is not None and mode.until <= self._clock.now():
            raise InvalidInput([_in_the_past("until")])

        def body(tx: Tx) -> PolicyRecord:
            if begin(tx, call) is not None:
                return _require(tx, policy)
            target, present = _locked(tx, policy), _require(tx, policy, etag)
            wanted = _by(mode, call.actor)
            record = replace(
                present,
                policy=replace(present.policy, mode=wanted),
                number=present.number + 1,
                updated_at=tx.now(),
            )
            tx.put_policy(record)
            tx.append(policy, [Happened(EventKind.MODE_CHANGED, mode=wanted, actor=call.actor, message=mode.reason)])
            tx.wish(policy, manual_until=None if ends_hold else target.manual_until)
            finish(tx, call, policy)
            return record

        return await self._store.write(body)

    # --- sizes

    async def set_size(self, wish: SizeWish, call: Call) -> Activity:
        """Record a size that a person wants. Raises PolicyNotFound, InvalidInput (outside the bounds), SizeChanged."""
        if wish.hold_until is not None and wish.hold_until <= self._clock.now():
            raise InvalidInput([_in_the_past("hold_until")])

        def body(tx: Tx) -> Activity:
            if (known := begin(tx, call)) is not None:
                return _require_activity(tx, wish.policy, known)
            target, record = _locked(tx, wish.policy), _require(tx, wish.policy)
            _judge_size(record.policy, wish, target.size)
            now = tx.now()
            activity = Activity(
                id=new_id(now),
                policy=wish.policy,
                cause=Cause.MANUAL,
                result=Result.PENDING,
                decision=Decision(
                    Verdict.SCALE, target.size or 0, wish.replicas, "ManualCapacity", wish.reason or "set by hand"
                ),
                started_at=now,
                last_at=now,
                policy_number=record.number,
                actor=call.actor,
            )
            tx.add_activity(activity)
            tx.append(wish.policy, [Happened(EventKind.MANUAL, activity=activity, actor=call.actor)])
            tx.wish(wish.policy, manual_until=wish.hold_until)
            finish(tx, call, activity.id)
            return activity

        return await self._store.write(body)

    async def evaluate(self, policy: str) -> tuple[Loaded, Sight, Outcome]:
        """What would be decided now; nothing is recorded. Raises PolicyNotFound, NotFound, Unavailable."""
        loaded = await self._store.read(lambda tx: load(tx, policy))
        if loaded is None:
            raise PolicyNotFound(policy)
        sight = await self._looking.sight(loaded, await self._looking.scale(loaded))
        return loaded, sight, sight.judged(loaded.target.state, self._formulas)

    async def evaluate_and_scale(self, policy: str, call: Call) -> Activity:
        """Have the target looked at now; what was decided. Raises PolicyNotFound, Unattended, Unavailable (target)."""

        def ask(tx: Tx) -> int:
            begin(tx, call)
            target = _locked(tx, policy)
            return tx.wish(policy, manual_until=target.manual_until)

        wish = await self._store.write(ask)
        give_up_at = self._clock.monotonic() + LONGEST_WAIT.total_seconds()
        while True:
            standing = await self.standing(policy)
            last, is_seen = standing.last, standing.target.seen_wish >= wish
            is_late = self._clock.monotonic() >= give_up_at
            if is_seen and standing.target.error:
                raise Unavailable(standing.target.error, reason="TARGET_UNAVAILABLE")
            if is_seen and last is not None and (is_late or last.result is not Result.PENDING):
                return last
            if is_late:
                raise Unattended(policy)
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    # --- reading

    async def get(self, policy: str) -> PolicyRecord:
        """A policy. Raises PolicyNotFound."""
        return await self._store.read(lambda tx: _require(tx, policy))

    async def standing(self, policy: str) -> Standing:
        """A target as it stands. Raises PolicyNotFound."""
        return await self._store.read(lambda tx: stand(tx, policy))

    async def activity(self, policy: str, activity: str) -> Activity:
        """An activity with all of its explanation. Raises ActivityNotFound."""
        return await self._store.read(lambda tx: _require_activity(tx, policy, activity))


class _Outrun(Exception):
    """Somebody else has changed a policy between reading and writing it."""


@dataclass(frozen=True, slots=True)
class SizeWish:
    """A size that a person wants."""

    policy: str
    replicas: int
    hold_until: datetime | None = None
    expected: int | None = None
    reason: str = ""


# --- bodies of transactions ------------------------------------------------------------------------------------------


def stand(tx: Tx, policy: str) -> Standing:
    """A target as it stands. Raises PolicyNotFound."""
    record, target = _require(tx, policy), tx.target(policy)
    if target is None:
        raise PolicyNotFound(policy)
    return Standing(record, target, tx.activity(policy, target.activity) if target.activity else None)


def _require(tx: Tx, policy: str, etag: str = "") -> PolicyRecord:
    record = tx.policy(policy)
    if record is None:
        raise PolicyNotFound(policy)
    if etag and etag != record.etag:
        raise EtagMismatch(record.name, etag, record.etag)
    return record


def _locked(tx: Tx, policy: str) -> TargetRecord:
    target = tx.lock_target(policy)
    if target is None:
        raise PolicyNotFound(policy)
    return target


def _require_activity(tx: Tx, policy: str, activity: str) -> Activity:
    found = tx.activity(policy, activity)
    if found is None:
        raise ActivityNotFound(f"scalingPolicies/{policy}/activities/{activity}")
    return found


def _require_pool(tx: Tx, policy: ScalingPolicy) -> None:
    if not policy.pool:
        return
    tx.lock_pool(policy.pool)  # nobody deletes it while this goes on
    if tx.pool(policy.pool) is None:
        raise PoolNotFound(policy.pool)


def _judge_size(policy: ScalingPolicy, wish: SizeWish, present: int | None) -> None:
    if not policy.min_replicas <= wish.replicas <= policy.max_replicas:
        told = f"is {wish.replicas}; the policy allows {policy.min_replicas} to {policy.max_replicas}"
        raise InvalidInput([Violation("replicas", told, "RANGE")])
    if wish.expected is not None and wish.expected != present:
        raise SizeChanged(wish.expected, present)


def _by(mode: ModeSetting, actor: str) -> ModeSetting:
    return mode if mode == ModeSetting() else replace(mode, author=actor)


def _in_the_past(field: str) -> Violation:
    return Violation(field, "is not in the future", "PAST")
