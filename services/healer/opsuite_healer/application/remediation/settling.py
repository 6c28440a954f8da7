"""What came of an action, and what follows from it: bodies of transactions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from opsuite_healer.application.actions import ActionOutcome, ActionResult
from opsuite_healer.application.remediation.recording import (
    Loaded,
    circuit_failed,
    circuit_helped,
    circuit_undecided,
    finish,
    left_flight,
    note,
    owned,
)
from opsuite_healer.application.remediation.store import Tx
from opsuite_healer.domain.remediation.backoff import jittered
from opsuite_healer.domain.remediation.remediation import (
    Attempt,
    AttemptState,
    Remediation,
    State,
    follow,
    use_up,
)
from opsuite_runs.port import Lease

Chance = Callable[[], float]
"""A number from 0 to 1, for jitter."""


def acted(tx: Tx, lease: Lease, attempt: Attempt, result: ActionResult, chance: Chance) -> Remediation:
    """An action has ended, whatever else a person wants by now. Raises FencedOut."""
    present, now = tx.owned(lease), tx.now()
    states = {ActionOutcome.DONE: AttemptState.DONE, ActionOutcome.FAILED: AttemptState.FAILED}
    attempt = replace(
        attempt,
        state=states.get(result.outcome, AttemptState.REFUSED),
        message=result.message,
        facts=result.facts,
        undo=result.undo,
        done_at=now,
        ended_at=None if result.outcome is ActionOutcome.DONE else now,
    )
    kind = attempt.spec.kind
    note(tx, present, f"{kind}: {result.outcome.value.lower()}. {result.message}", action=kind)
    match result.outcome:
        case ActionOutcome.DONE:
            return _done(tx, present, attempt, now)
        case ActionOutcome.FAILED:
            tx.put_attempt(present.id, attempt)
            circuit_failed(tx, present, kind, now)
            return _again(tx, present, attempt, "ACTION_FAILED", f"{kind} has failed: {result.message}", chance)
        case ActionOutcome.REFUSED:
            tx.put_attempt(present.id, attempt)
            circuit_undecided(tx, present, kind)
            return _on(tx, present, use_up(present), "ACTION_REFUSED", f"{kind} was refused: {result.message}", None)


def not_prepared(tx: Tx, lease: Lease, loaded: Loaded, attempt: Attempt, why: str, chance: Chance) -> Remediation:
    """What has to be known before an action could not be found out, so it did not begin. Raises FencedOut, Outrun."""
    present, now = owned(tx, lease, loaded), tx.now()
    attempt = replace(attempt, state=AttemptState.FAILED, message=why, started_at=now, done_at=now, ended_at=now)
    tx.add_attempt(present.id, attempt)
    if present.step != attempt.step:
        present = replace(present, step=attempt.step, tries=0)
    present = replace(present, attempts=attempt.number)
    kind = attempt.spec.kind
    note(tx, present, f"{kind} could not begin: {why}", action=kind)
    return _again(tx, present, attempt, "NOT_PREPARED", f"{kind} could not begin: {why}", chance)


def proved(tx: Tx, lease: Lease, loaded: Loaded, attempt: Attempt, since: datetime) -> Remediation:
    """The target has stayed healthy: it is mended. Raises FencedOut, Outrun."""
    present, now = owned(tx, lease, loaded), tx.now()
    tx.put_attempt(present.id, replace(attempt, state=AttemptState.PROVED, ended_at=now))
    circuit_helped(tx, present, attempt.spec.kind, now)
    present = replace(present, mended_at=since)
    if present.incident:
        told = f"mended by {attempt.spec.kind}, healthy since {since.isoformat(timespec='seconds')}"
        tx.book.resolve(present.incident, told, actor=present.name)
    return finish(tx, present, State.SUCCEEDED, "VERIFIED", f"{attempt.spec.kind} has helped")


def no_help(tx: Tx, lease: Lease, loaded: Loaded, attempt: Attempt, chance: Chance) -> Remediation:
    """The target did not become healthy in time. Raises FencedOut, Outrun."""
    present, now = owned(tx, lease, loaded), tx.now()
    kind = attempt.spec.kind
    attempt = replace(attempt, state=AttemptState.NO_HELP, ended_at=now)
    tx.put_attempt(present.id, attempt)
    circuit_failed(tx, present, kind, now)
    note(tx, present, f"{kind} did not help in time", action=kind)
    return _again(tx, present, attempt, "NO_HELP", f"{kind} did not help in time", chance)


def _done(tx: Tx, present: Remediation, attempt: Attempt, now: datetime) -> Remediation:
    kind, step = attempt.spec.kind, present.steps[attempt.step]
    if present.cancelled_by:
        tx.put_attempt(present.id, attempt)
        return _cancelled(tx, present, kind)
    if not step.verification.is_skipped:
        tx.put_attempt(present.id, attempt)
        return tx.put(follow(present, State.VERIFYING, "", f"{kind} is done, and has to prove itself"))
    tx.put_attempt(present.id, replace(attempt, state=AttemptState.PROVED, ended_at=now))
    circuit_helped(tx, present, kind, now)
    return _on(tx, present, use_up(present), "DONE", f"{kind} is done", None)


def _again(tx: Tx, present: Remediation, attempt: Attempt, reason: str, message: str, chance: Chance) -> Remediation:
    """Try the step once more after a pause, or go on with the next one."""
    step, tries = present.steps[attempt.step], present.tries + 1
    if tries > step.retries:
        return _on(tx, present, use_up(present), reason, message, None)
    next_at = tx.now() + jittered(step.backoff, tries, chance())
    return _on(tx, present, replace(present, tries=tries), reason, message, next_at)


def _on(
    tx: Tx, before: Remediation, present: Remediation, reason: str, message: str, next_at: datetime | None
) -> Remediation:
    if before.cancelled_by:
        return finish(tx, before, State.CANCELLED, "CANCELLED", f"stopped by {before.cancelled_by}")
    after = tx.put(replace(follow(present, State.PENDING, reason, message), next_at=next_at))
    left_flight(tx, before, after)
    return after


def _cancelled(tx: Tx, present: Remediation, kind: str) -> Remediation:
    circuit_undecided(tx, present, kind)
    return finish(tx, present, State.CANCELLED, "CANCELLED", f"stopped by {present.cancelled_by}")
