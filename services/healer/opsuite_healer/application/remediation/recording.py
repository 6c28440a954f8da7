"""What is written together: bodies of transactions that change a remediation. Nothing here waits.

Each begins with the row of the remediation, locked, at the epoch of the lease; each ends with `put`, which tells of all
that was written before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from opsuite_healer.application.incident_book import IncidentView
from opsuite_healer.application.remediation.records import PART
from opsuite_healer.application.remediation.store import Tx
from opsuite_healer.domain.remediation import circuit as circuits
from opsuite_healer.domain.remediation.policy import CircuitRules
from opsuite_healer.domain.remediation.remediation import (
    BUSY,
    IN_FLIGHT,
    Attempt,
    AttemptState,
    Decision,
    Remediation,
    State,
    follow,
)
from opsuite_runs.port import Lease

ACTOR = "healer"


class Outrun(Exception):
    """Somebody else has changed the remediation since it was read: look again."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A remediation and what belongs to it."""

    remediation: Remediation
    attempts: Sequence[Attempt]
    incident: IncidentView | None


def load(tx: Tx, remediation: str) -> Loaded | None:
    """All of a remediation; None: it is gone."""
    found = tx.remediation(remediation)
    if found is None:
        return None
    incident = tx.book.incident(found.incident) if found.incident else None
    return Loaded(found, tx.attempts(remediation), incident)


def owned(tx: Tx, lease: Lease, loaded: Loaded) -> Remediation:
    """The remediation of a lease, locked, if it is as it was read. Raises FencedOut, Outrun."""
    present = tx.owned(lease)
    if present.revision != loaded.remediation.revision:
        raise Outrun
    return present


def note(tx: Tx, remediation: Remediation, text: str, **facts: str) -> None:
    """Put something on the timeline of its incident."""
    if remediation.incident:
        tx.book.note(remediation.incident, text, actor=ACTOR, facts={"remediation": remediation.name, **facts})


def decided(tx: Tx, remediation: Remediation, decisions: Sequence[Decision]) -> Remediation:
    """Record what was decided, unless it is what was decided last: brakes are asked again all the time."""
    last = tx.last_decisions(remediation.id, len(decisions))
    if [_key(one) for one in last] == [_key(one) for one in decisions]:
        return remediation
    for offset, decision in enumerate(decisions):
        tx.add_decision(remediation.id, remediation.decisions + offset + 1, decision)
    return replace(remediation, decisions=remediation.decisions + len(decisions))


def escalated(tx: Tx, remediation: Remediation, reason: str) -> Remediation:
    """Let a person know that the healer does not go on; once."""
    if remediation.is_escalated:
        return remediation
    if remediation.incident:
        tx.book.escalate(remediation.incident, reason)
    return replace(remediation, is_escalated=True)


def finish(tx: Tx, remediation: Remediation, end: State, reason: str, message: str) -> Remediation:
    """Decide how it ends; where temporary actions have to be taken back, it rests until then."""
    now = tx.now()
    was_busy = remediation.state in BUSY
    rests = bool(to_undo(tx.attempts(remediation.id)))
    ended = follow(remediation, State.RESTING if rests else end, reason, message)
    ended = replace(ended, end=end, next_at=None, ended_at=None if rests else now)
    if end in {State.ESCALATED, State.REJECTED}:
        ended = escalated(tx, ended, message)
    if remediation.incident:
        tx.book.remediating(remediation.incident, "")
    note(tx, ended, f"Remediation ended: {end.value.lower()}. {message}", reason=reason)
    ended = tx.put(ended)
    if was_busy:
        let_others_go_on(tx, ended)
    return ended


def rested(tx: Tx, remediation: Remediation) -> Remediation:
    """Nothing has to be taken back any more."""
    end = remediation.end or State.ESCALATED
    return tx.put(
        replace(
            follow(remediation, end, remediation.reason, remediation.message),
            next_at=None,
            ended_at=tx.now(),
        )
    )


def let_others_go_on(tx: Tx, remediation: Remediation) -> None:
    """The fleet is not busy with it any more, nor its target."""
    for held in tx.held(remediation.fleet) if remediation.fleet else ():
        tx.nudge(PART, held)
    tx.nudge(PART)


def left_flight(tx: Tx, before: Remediation, after: Remediation) -> None:
    """Let others of the fleet act if this one did, and does not any more."""
    if before.state in IN_FLIGHT and after.state not in IN_FLIGHT and after.fleet:
        for held in tx.held(after.fleet):
            tx.nudge(PART, held)


def circuit_helped(tx: Tx, remediation: Remediation, action: str, now: datetime) -> None:
    """The action was proved."""
    rules, target, present = _circuit(tx, remediation, action)
    keep_circuit(tx, rules, target, action, circuits.helped(rules, present, now))


def circuit_failed(tx: Tx, remediation: Remediation, action: str, now: datetime) -> None:
    """The action has failed, or did not help."""
    rules, target, present = _circuit(tx, remediation, action)
    keep_circuit(tx, rules, target, action, circuits.failed(rules, present, now))


def circuit_undecided(tx: Tx, remediation: Remediation, action: str) -> None:
    """Nobody will know whether the action has helped."""
    rules, target, present = _circuit(tx, remediation, action)
    keep_circuit(tx, rules, target, action, circuits.undecided(present))


def keep_circuit(tx: Tx, rules: CircuitRules, target: str, action: str, circuit: circuits.Circuit) -> None:
    """Remember a circuit."""
    tx.put_circuit(target, action, circuit, circuits.half_open_at(rules, circuit))


def circuit_target(remediation: Remediation) -> str:
    """What the circuits of a remediation belong to; where there is no target, each incident has its own."""
    return remediation.target.canonical if remediation.target else f"incidents/{remediation.incident}"


def _circuit(tx: Tx, remediation: Remediation, action: str) -> tuple[CircuitRules, str, circuits.Circuit]:
    target = circuit_target(remediation)
    rules = remediation.policy.circuit if remediation.policy else CircuitRules()
    return rules, target, tx.circuits(target).get(action, circuits.Circuit())


def to_undo(attempts: Sequence[Attempt]) -> Sequence[Attempt]:
    """Temporary actions that were not taken back yet, the last one first."""
    given_up = {one.undoes for one in attempts if one.is_undo and is_settled(one, attempts)}
    found = [one for one in attempts if one.undo is not None and not one.is_undo and one.number not in given_up]
    return found[::-1]


MOST_UNDOS = 3
"""Tries to take one action back."""


def is_settled(undo: Attempt, attempts: Sequence[Attempt]) -> bool:
    """Whether an undo is not tried again: it is done, was refused, or has failed too often."""
    if undo.state in {AttemptState.PROVED, AttemptState.REFUSED}:
        return True
    failed = [one for one in attempts if one.undoes == undo.undoes and one.state is AttemptState.FAILED]
    return len(failed) >= MOST_UNDOS


def _key(decision: Decision) -> tuple[int, str, str]:
    return decision.step, decision.kind.value, decision.reason
