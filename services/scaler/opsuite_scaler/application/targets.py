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
from datetime import timedelta
from typing import Final, Protocol

import structlog

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Conflict, NotFound, OpsuiteError
from opsuite_runs.faults import declare
from opsuite_runs.port import FencedOut, Lease
from opsuite_scaler.application.looking import Loaded, Looking, Sight, load
from opsuite_scaler.application.ports import Pushes, Scale
from opsuite_scaler.application.recording import cannot_see, record_decision, settle_all, settled
from opsuite_scaler.application.records import (
    Activity,
    Cause,
    EventKind,
    Result,
    TargetRecord,
)
from opsuite_scaler.application.store import Leases, Store
from opsuite_scaler.domain.decide import acted
from opsuite_scaler.domain.decision import Outcome
from opsuite_scaler.domain.expressions import Evaluate

log = structlog.get_logger(__name__)

SEEN: Final = declare("scaler.seen", "a target was looked at, nothing of it is recorded")
DECIDED: Final = declare("scaler.decided", "a decision is recorded, the target has not been told")
TOLD: Final = declare("scaler.told", "the target has accepted a size, that is not recorded")
DONE: Final = declare("scaler.done", "a look and all that follows from it is recorded")

SIZE_CHANGED: Final = "SIZE_CHANGED"


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
        pushes: Pushes | None = None,
    ) -> None:
        """`pushes` None: every source waits to be asked."""
        self._store = store
        self._looking = looking
        self._leases = leases
        self._clock = clock
        self._formulas = formulas
        self._watcher = watcher or NobodyWatches()
        self._pushes = pushes

    async def look(self, lease: Lease) -> Looked:
        """Look at the target of a lease once.

        Raises FencedOut (it is not ours any more, or gone), Overtaken (a newer wish: look again), Unavailable.
        """
        loaded = await self._store.read(lambda tx: load(tx, lease.run))
        if loaded is None:
            self._looking.forget(lease.run)
            raise FencedOut(lease.run)
        if self._pushes is not None:
            self._pushes.attend(lease.run, loaded.record.policy)
        with self._watcher.look(lease.run):
            return await self._look(lease, loaded)

    def leave(self, policy: str) -> None:
        """This process does not look after the target of a policy any more."""
        if self._pushes is not None:
            self._pushes.leave(policy)

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
