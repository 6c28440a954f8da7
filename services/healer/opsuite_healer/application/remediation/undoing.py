"""Takes temporary actions back once the trouble is over: replicas that were added, traffic that was sent elsewhere.

A remediation rests until its incident is resolved and has stayed so for `undo_after`. Then each action that left
something to take back is taken back, the last one first, with the same care as any action: the intent before the deed.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Final, Protocol

from opsuite_healer.application.actions import ActionCall, ActionOutcome, ActionResult
from opsuite_healer.application.remediation.recording import (
    Loaded,
    is_settled,
    note,
    owned,
    rested,
    to_undo,
)
from opsuite_healer.application.remediation.store import Store, Tx
from opsuite_healer.domain.remediation.backoff import pause_after
from opsuite_healer.domain.remediation.gates import pause_gate
from opsuite_healer.domain.remediation.policy import Backoff, HealingPolicy
from opsuite_healer.domain.remediation.remediation import Attempt, AttemptState, Remediation
from opsuite_kernel.clock import Clock
from opsuite_runs.port import Lease
from opsuite_runs.signal import Signal

LOOK_AGAIN: Final = timedelta(seconds=5)
UNDO_TIMEOUT: Final = timedelta(minutes=5)
REST: Final = HealingPolicy("", ()).undo_after


class Taking(Protocol):
    """Takes actions; `mending.Mending` fits."""

    async def take(
        self, lease: Lease, present: Remediation, attempt: Attempt, timeout: timedelta, signal: Signal
    ) -> ActionResult:
        """Take an action, or go on with it. Raises FencedOut."""

    async def prepare_undo(self, call: ActionCall) -> dict[str, str] | str:
        """What has to be known before; a text: why it cannot be found out."""

    def call_of(self, present: Remediation, attempt: Attempt, traceparent: str) -> ActionCall:
        """How an action is called."""


class Undoing:
    """Attends to remediations that rest."""

    def __init__(self, store: Store, taking: Taking, clock: Clock) -> None:
        self._store = store
        self._taking = taking
        self._clock = clock

    async def advance(self, lease: Lease, loaded: Loaded, signal: Signal) -> timedelta | None:
        """Do what is next; the pause until the next look, None: at once."""
        if begun := next((one for one in loaded.attempts if one.state is AttemptState.BEGUN), None):
            result = await self._taking.take(lease, loaded.remediation, begun, UNDO_TIMEOUT, signal)
            await self._store.write(lambda tx: _undone(tx, lease, begun, result))
            return None
        if not to_undo(loaded.attempts):
            await self._store.write(lambda tx: rested(tx, owned(tx, lease, loaded)))
            return None
        pause = await self._store.write(lambda tx: _due(tx, lease, loaded))
        if pause is not None:
            return pause
        await self._begin(lease, loaded)
        return None

    async def _begin(self, lease: Lease, loaded: Loaded) -> None:
        """Record the intent to take the last action back."""
        present, last = loaded.remediation, to_undo(loaded.attempts)[0]
        undo = Attempt(
            key=str(uuid.uuid4()),
            number=present.attempts + 1,
            step=last.step,
            tries=1 + len([one for one in loaded.attempts if one.undoes == last.number]),
            spec=last.undo or last.spec,
            state=AttemptState.BEGUN,
            started_at=self._clock.now(),
            is_undo=True,
            undoes=last.number,
        )
        before = await self._taking.prepare_undo(self._taking.call_of(present, undo, present.traceparent))

        def body(tx: Tx) -> None:
            current = owned(tx, lease, loaded)
            if isinstance(before, str):
                failed = replace(undo, state=AttemptState.FAILED, message=before, ended_at=tx.now())
                tx.add_attempt(current.id, failed)
                tx.put(_after_failure(tx, replace(current, attempts=undo.number), failed))
                return
            tx.add_attempt(current.id, replace(undo, before=before, started_at=tx.now()))
            note(tx, current, f"{undo.spec.kind} takes {last.spec.kind} back", action=undo.spec.kind)
            tx.put(replace(current, attempts=undo.number))

        await self._store.write(body)


def _due(tx: Tx, lease: Lease, loaded: Loaded) -> timedelta | None:
    """The pause until actions may be taken back; None: now."""
    present, now = owned(tx, lease, loaded), tx.now()
    incident = tx.book.incident(present.incident) if present.incident else None
    if incident is not None and incident.is_open:
        if present.next_at is not None:  # the trouble is back, and the rest begins anew when it is over
            tx.put(replace(present, next_at=None))
        return LOOK_AGAIN
    if present.next_at is None:
        rest = present.policy.undo_after if present.policy else REST
        tx.put(replace(present, next_at=now + rest))
        return timedelta(0)
    if now < present.next_at:
        return min(present.next_at - now, timedelta(minutes=1))
    is_busy = present.target is not None and tx.busy_on(present.target.canonical) is not None
    return LOOK_AGAIN if is_busy or not pause_gate(tx.pause(), now).is_open else None


def _undone(tx: Tx, lease: Lease, undo: Attempt, result: ActionResult) -> None:
    present, now = tx.owned(lease), tx.now()
    states = {ActionOutcome.DONE: AttemptState.PROVED, ActionOutcome.FAILED: AttemptState.FAILED}
    state = states.get(result.outcome, AttemptState.REFUSED)
    ended = replace(undo, state=state, message=result.message, facts=result.facts, done_at=now, ended_at=now)
    tx.put_attempt(present.id, ended)
    note(tx, present, f"{undo.spec.kind}: {result.outcome.value.lower()}. {result.message}", action=undo.spec.kind)
    tx.put(present if state is AttemptState.PROVED else _after_failure(tx, present, ended))


def _after_failure(tx: Tx, present: Remediation, undo: Attempt) -> Remediation:
    """Try again after a pause; when that is in vain too, say so where people look."""
    attempts = [one for one in tx.attempts(present.id) if one.number != undo.number]
    if is_settled(undo, [*attempts, undo]):
        text = f"{undo.spec.kind} could not take an action back: {undo.message}"
        note(tx, present, text, action=undo.spec.kind)
        incident = tx.book.incident(present.incident) if present.incident else None
        if incident is not None and incident.is_open:
            tx.book.escalate(present.incident, text)
        return present
    return replace(present, next_at=tx.now() + pause_after(Backoff(), undo.tries))
