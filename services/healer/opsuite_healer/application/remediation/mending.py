"""Attends to one remediation from its record to its end. `opsuite_runs.attending` calls it for each that is claimed.

    load → over? → by state:
      PENDING, HELD   ask the brakes → record refusals, or: prepare → record the intent → ACTING
      ACTING          take the action → record what came of it → VERIFYING, or the next try
      VERIFYING       look at health until it is proved, or the time is over
      RESTING         take temporary actions back (`undoing`)
    → wait for a nudge or the next look → again

It may die anywhere in between. What was intended and perhaps not done is an attempt that is BEGUN: whoever comes next
repeats it under the same key and with what was known before it, and an action that was carried out does nothing then.
Every write carries the epoch of the lease, so that whoever lost it changes nothing.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from opsuite_healer.application.actions import ActionCall, ActionOutcome, ActionResult, Actions
from opsuite_healer.application.health_view import HealthView
from opsuite_healer.application.names import INCIDENTS
from opsuite_healer.application.remediation.considering import Considered, Prepared, consider
from opsuite_healer.application.remediation.looking import Looking
from opsuite_healer.application.remediation.observer import Observer
from opsuite_healer.application.remediation.recording import Loaded, Outrun, finish, load, owned
from opsuite_healer.application.remediation.settling import Chance, acted, no_help, not_prepared, proved
from opsuite_healer.application.remediation.store import Store, Tx
from opsuite_healer.application.remediation.undoing import Undoing
from opsuite_healer.domain.remediation.policy import FleetRules
from opsuite_healer.domain.remediation.remediation import (
    Attempt,
    AttemptState,
    Remediation,
    State,
)
from opsuite_healer.domain.remediation.verification import Proof, judge
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import OpsuiteError
from opsuite_runs.faults import declare
from opsuite_runs.port import FencedOut, Lease
from opsuite_runs.signal import Signal

log = structlog.get_logger(__name__)

LOOKED: Final = declare("healer.looked", "brakes were asked about a remediation, nothing of it is recorded")
PREPARED: Final = declare("healer.prepared", "what is known before an action is found out, nothing of it is recorded")
INTENDED: Final = declare("healer.intended", "the intent to act is recorded, the action has not begun")
ACTED: Final = declare("healer.acted", "an action was taken, what came of it is not recorded")
RECORDED: Final = declare("healer.recorded", "what came of an action is recorded, it is not proved")
JUDGED: Final = declare("healer.judged", "an action is proved, or not, and that is not recorded")
ENDED: Final = declare("healer.ended", "how a remediation ends is recorded")

VERIFY_EVERY: Final = timedelta(seconds=1)
LAST_WORDS: Final = timedelta(seconds=20)
"""Time that an action gets when the service stops; after it, it is broken off, and repeated by whoever comes next."""


class _Stopping(Exception):
    """This process stops in the middle of an action, which somebody else goes on with."""


class MayAct(Protocol):
    """Knows whether a lease can be trusted; `opsuite_runs.keeper.LeaseKeeper` fits."""

    def may_act(self, run: str) -> bool:
        """Whether nobody else can own the run."""


class Mending:
    """Attends to remediations."""

    def __init__(
        self,
        *,
        store: Store,
        looking: Looking,
        actions: Actions,
        health: HealthView,
        leases: MayAct,
        observer: Observer,
        clock: Clock,
        is_draining: Callable[[], bool] = lambda: False,
        chance: Chance = random.random,
    ) -> None:
        self._store = store
        self._looking = looking
        self._actions = actions
        self._health = health
        self._leases = leases
        self._observer = observer
        self._clock = clock
        self._is_draining = is_draining
        self._chance = chance
        self._good: dict[str, datetime] = {}
        """Since when targets are well whose finders do not say since when."""
        self._undoing = Undoing(store, self, clock)

    async def attend(self, lease: Lease, signal: Signal) -> None:
        """Until it is over, or this process is to stop. Raises FencedOut, Unavailable."""
        try:
            while True:
                seen = signal.count
                loaded = await self._store.read(lambda tx: load(tx, lease.run))
                if loaded is None or loaded.remediation.is_over:
                    return
                if self._is_draining() and loaded.remediation.state is not State.ACTING:
                    return
                pause = await self._advance(lease, loaded, signal)
                if pause is not None:
                    await signal.wait(seen, max(pause.total_seconds(), 0.0))
        except _Stopping:
            return  # the lease is given back, so that whoever comes next need not wait for its end
        finally:
            self._good.pop(lease.run, None)

    async def _advance(self, lease: Lease, loaded: Loaded, signal: Signal) -> timedelta | None:
        """Do what is next; the pause until the next look, None: at once."""
        with suppress(Outrun):
            match loaded.remediation.state:
                case State.ACTING:
                    return await self._act(lease, loaded, signal)
                case State.VERIFYING:
                    return await self._verify(lease, loaded)
                case State.RESTING:
                    return await self._undoing.advance(lease, loaded, signal)
                case _:
                    return await self._consider(lease, loaded)
        return None

    # --- before an action

    async def _consider(self, lease: Lease, loaded: Loaded) -> timedelta | None:
        present, now = loaded.remediation, self._clock.now()
        if ending := _ending(loaded, now):
            await self._end(lease, loaded, *ending)
            return None
        if present.state is not State.HELD and present.next_at and now < present.next_at:
            return min(present.next_at - now, timedelta(minutes=1))
        rules = present.policy.fleet if present.policy else FleetRules()
        seen = await self._looking.seen(present.target, present.labels, rules)
        LOOKED.hit()
        kinds = {kind.name: kind for kind in self._actions.kinds()}
        found = await self._store.write(lambda tx: consider(tx, lease, loaded, seen, kinds, None))
        if found.prepare is not None:
            if (prepared := await self._prepare(lease, loaded, found.prepare)) is None:
                return None
            found = await self._store.write(lambda tx: consider(tx, lease, loaded, seen, kinds, prepared))
        self._tell(found)
        return found.pause

    async def _prepare(self, lease: Lease, loaded: Loaded, step: int) -> Prepared | None:
        """Find out what has to be known before the action; None: it cannot begin, and that is recorded."""
        present = loaded.remediation
        attempt = Attempt(
            key=str(uuid.uuid4()),
            number=present.attempts + 1,
            step=step,
            tries=present.tries + 1 if present.step == step else 1,
            spec=present.steps[step].action,
            state=AttemptState.BEGUN,
            started_at=self._clock.now(),
        )
        try:
            before = await self._actions.prepare(self.call_of(present, attempt, present.traceparent))
        except OpsuiteError as error:
            why = error.message
            await self._store.write(lambda tx: not_prepared(tx, lease, loaded, attempt, why, self._chance))
            self._observer.acted(attempt.spec.kind, "NOT_PREPARED")
            return None
        PREPARED.hit()
        return Prepared(step, attempt.key, before)

    def _tell(self, found: Considered) -> None:
        if found.is_news and found.plan and found.plan.refused_by:
            self._observer.refused(found.plan.refused_by.reason)

    async def _end(self, lease: Lease, loaded: Loaded, state: State, reason: str, message: str) -> None:
        def body(tx: Tx) -> Remediation:
            return finish(tx, owned(tx, lease, loaded), state, reason, message)

        self._observer.ended(await self._store.write(body))
        ENDED.hit()

    # --- the action

    async def _act(self, lease: Lease, loaded: Loaded, signal: Signal) -> timedelta | None:
        """Take the action that is intended, and record what came of it."""
        attempt = loaded.attempts[-1]
        INTENDED.hit()
        step = loaded.remediation.steps[attempt.step]
        target = None if step.verification.is_skipped else loaded.remediation.target
        if target is not None:  # a replica that is being restarted is no new trouble
            await self._health.acted_on(target, grace=step.timeout)
        result = await self.take(lease, loaded.remediation, attempt, step.timeout, signal)
        if target is not None:
            is_done = result.outcome is not ActionOutcome.REFUSED
            await self._health.acted_on(target, grace=step.verification.grace if is_done else timedelta())
        ACTED.hit()
        ended = await self._store.write(lambda tx: acted(tx, lease, attempt, result, self._chance))
        RECORDED.hit()
        self._observer.acted(attempt.spec.kind, result.outcome.value)
        if ended.end:
            self._observer.ended(ended)
        return None

    async def take(
        self, lease: Lease, present: Remediation, attempt: Attempt, timeout: timedelta, signal: Signal
    ) -> ActionResult:
        """Take an action, or go on with it. Raises FencedOut."""
        if not self._leases.may_act(lease.run):
            raise FencedOut(lease.run)
        with self._observer.acting(present, attempt) as traceparent:
            call = self.call_of(present, attempt, traceparent)
            running = asyncio.create_task(self._actions.run(call, attempt.before, timeout))
            try:
                return await self._ended(running, signal)
            except OpsuiteError as error:  # an action says so itself; one that does not has failed all the same
                log.warning("action_raised", action=attempt.spec.kind, why=error.message)
                return ActionResult(ActionOutcome.FAILED, error.message)
            finally:
                running.cancel()

    async def _ended(self, running: asyncio.Task[ActionResult], signal: Signal) -> ActionResult:
        """Its result; it is broken off some time after this process was told to stop."""
        while not running.done():
            if self._is_draining():
                await asyncio.wait({running}, timeout=LAST_WORDS.total_seconds())
                if not running.done():
                    raise _Stopping
                break
            nudge = asyncio.ensure_future(signal.wait(signal.count, None))
            try:
                await asyncio.wait({running, nudge}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                nudge.cancel()
        return await running

    async def prepare_undo(self, call: ActionCall) -> dict[str, str] | str:
        """What has to be known before; a text: why it cannot be found out."""
        try:
            return dict(await self._actions.prepare(call))
        except OpsuiteError as error:
            return error.message

    def call_of(self, present: Remediation, attempt: Attempt, traceparent: str) -> ActionCall:
        """How an action is called."""
        return ActionCall(
            key=attempt.key,
            spec=attempt.spec,
            target=present.target,
            actor=present.name,
            incident=INCIDENTS + present.incident if present.incident else "",
            reason=present.issue,
            traceparent=traceparent,
        )

    # --- the proof

    async def _verify(self, lease: Lease, loaded: Loaded) -> timedelta | None:
        present, attempt = loaded.remediation, loaded.attempts[-1]
        rules, done_at = present.steps[attempt.step].verification, attempt.done_at or attempt.started_at
        signs = await self._looking.signs(present.target, loaded.incident)
        proof, since = judge(rules, done_at, signs, self._good.get(lease.run), self._clock.now())
        self._remember(lease.run, since)
        if proof is Proof.PENDING:
            if not signs.is_healthy:
                await self._looking.hurry(present.target)
            return VERIFY_EVERY
        JUDGED.hit()
        if proof is Proof.PROVED:
            at = since or self._clock.now()
            ended = await self._store.write(lambda tx: proved(tx, lease, loaded, attempt, at))
        else:
            ended = await self._store.write(lambda tx: no_help(tx, lease, loaded, attempt, self._chance))
        ENDED.hit()
        self._observer.acted(attempt.spec.kind, proof.value)
        if ended.end:
            self._observer.ended(ended)
        return None

    def _remember(self, run: str, since: datetime | None) -> None:
        if since is None:
            self._good.pop(run, None)
        else:
            self._good[run] = since


def _ending(loaded: Loaded, now: datetime) -> tuple[State, str, str] | None:
    """Why a remediation ends without another action."""
    present, incident = loaded.remediation, loaded.incident
    if present.incident and (incident is None or not incident.is_open):
        return State.RECOVERED, "INCIDENT_RESOLVED", "the incident is resolved"
    if present.policy is not None and now - present.created_at >= present.policy.max_age:
        return State.ESCALATED, "TOO_OLD", "it could not mend anything for too long"
    if present.state is State.AWAITING_APPROVAL and present.next_at and now >= present.next_at:
        return State.ESCALATED, "APPROVAL_EXPIRED", "nobody has approved the action in time"
    return None
