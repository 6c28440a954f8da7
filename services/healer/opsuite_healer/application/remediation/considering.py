"""What is done next about a remediation, decided and recorded in one transaction.

Before an action begins, something may have to be known about its target, and asking takes time. So the first decision
that finds an action to take writes nothing and says which; the second is made anew with what was asked, and only then
the intent is recorded: with it, whoever comes after a crash repeats the action without doing it twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from opsuite_healer.application.remediation.recording import (
    Loaded,
    circuit_target,
    decided,
    escalated,
    finish,
    keep_circuit,
    note,
    owned,
)
from opsuite_healer.application.remediation.store import Tx
from opsuite_healer.application.remediation.telling import approval_wanted
from opsuite_healer.domain.actions import ActionKind
from opsuite_healer.domain.remediation.gates import Gate, GateResult
from opsuite_healer.domain.remediation.plan import Brakes, Case, Plan, Seen, Verdict, evaluate, plan
from opsuite_healer.domain.remediation.policy import HealingPolicy, Mode
from opsuite_healer.domain.remediation.remediation import (
    Attempt,
    AttemptState,
    Remediation,
    State,
    follow,
)
from opsuite_runs.port import Lease

LOOK_AGAIN: Final = timedelta(seconds=5)
"""Pause between two looks at brakes that nobody tells about."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was asked before an action."""

    step: int
    key: str
    before: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Considered:
    """What came of it."""

    pause: timedelta | None
    """Until the next look; None: something has changed, look at once."""
    prepare: int | None = None
    """Step that has to be prepared before it can begin."""
    plan: Plan | None = None
    is_news: bool = False
    """Whether anything was recorded."""


def consider(
    tx: Tx, lease: Lease, loaded: Loaded, seen: Seen, kinds: Mapping[str, ActionKind], prepared: Prepared | None
) -> Considered:
    """Decide, and record it. Raises FencedOut, Outrun."""
    present = owned(tx, lease, loaded)
    policy = present.policy
    if policy is None:
        finish(tx, present, State.ESCALATED, "NO_POLICY", "no policy says what is to be done")
        return Considered(None, is_news=True)
    case, brakes = case_of(loaded, policy), brakes_of(tx, present)
    if policy.mode is Mode.OBSERVE and not present.is_manual:
        return _observed(tx, present, case, seen, brakes, kinds)
    found = plan(case, seen, brakes, kinds, tx.now())
    if found.verdict is Verdict.ACT and (prepared is None or prepared.step != found.step):
        return Considered(None, prepare=found.step)
    return _Recording(tx, present, policy, found).record(prepared)


def case_of(loaded: Loaded, policy: HealingPolicy) -> Case:
    """What is to be decided about."""
    present, incident = loaded.remediation, loaded.incident
    return Case(
        policy=policy,
        has_target=present.target is not None,
        began_at=present.began_at,
        is_clear=incident is not None and incident.is_clear,
        used=present.used,
        approved_step=present.approved_step,
        is_manual=present.is_manual,
    )


def brakes_of(tx: Tx, present: Remediation, *, lock: bool = True) -> Brakes:
    """What the database says of the brakes; with `lock` the fleet is locked until the transaction ends."""
    fleet = tx.fleet(present.fleet, but=present.id, lock=lock) if present.fleet else None
    return Brakes(
        circuits=tx.circuits(circuit_target(present)),
        pause=tx.pause(),
        acting=fleet.acting if fleet else 0,
        fleet_refused_at=fleet.refused_at if fleet else None,
    )


def _observed(
    tx: Tx, present: Remediation, case: Case, seen: Seen, brakes: Brakes, kinds: Mapping[str, ActionKind]
) -> Considered:
    decisions = evaluate(case, seen, brakes, kinds, tx.now())
    present = decided(tx, present, decisions)
    finish(tx, present, State.OBSERVED, "OBSERVE_ONLY", "the policy only observes; nothing was done")
    return Considered(None, is_news=True)


class _Recording:
    """Records one plan."""

    def __init__(self, tx: Tx, present: Remediation, policy: HealingPolicy, found: Plan) -> None:
        self._tx = tx
        self._policy = policy
        self._before = present
        self._plan = found

    def record(self, prepared: Prepared | None) -> Considered:
        tx, found = self._tx, self._plan
        if found.fleet_refused and self._policy.fleet.storm_cooldown:
            tx.fleet_refused(self._before.fleet)
        target = circuit_target(self._before)
        for action, circuit in found.circuits.items():
            keep_circuit(tx, self._policy.circuit, target, action, circuit)
        present = decided(tx, self._before, found.decisions)
        match found.verdict:
            case Verdict.ACT if prepared:
                return self._begun(self._at_step(present), prepared)
            case Verdict.ASK:
                return self._asked(self._at_step(present))
            case Verdict.HOLD if found.refused_by:
                return self._held(present, found.refused_by)
            case _:
                finish(tx, present, State.ESCALATED, "CHAIN_EXHAUSTED", "nothing that could be done has helped")
                return Considered(None, plan=found, is_news=True)

    def _at_step(self, present: Remediation) -> Remediation:
        """The remediation at the step of the plan."""
        if present.step == self._plan.step:
            return present
        return replace(present, step=self._plan.step, tries=0)

    def _begun(self, present: Remediation, prepared: Prepared) -> Considered:
        step = present.steps[present.step]
        attempt = Attempt(
            key=prepared.key,
            number=present.attempts + 1,
            step=present.step,
            tries=present.tries + 1,
            spec=step.action,
            state=AttemptState.BEGUN,
            started_at=self._tx.now(),
            before=prepared.before,
            gates=self._plan.gates,
        )
        self._tx.add_attempt(present.id, attempt)
        present = follow(present, State.ACTING, "", f"{step.action.kind} is being taken")
        note(self._tx, present, f"{step.action.kind} begins (try {attempt.tries})", action=step.action.kind)
        self._tx.put(replace(present, attempts=attempt.number, next_at=None, asked_at=None))
        return Considered(None, plan=self._plan, is_news=True)

    def _asked(self, present: Remediation) -> Considered:
        tx, policy = self._tx, self._policy
        now = tx.now()
        last = self._plan.decisions[-1]
        present = follow(present, State.AWAITING_APPROVAL, last.reason, f"{last.action} wants approval: {last.message}")
        present = replace(present, asked_at=now, next_at=now + policy.approval.expires_after, approved_step=None)
        note(tx, present, f"{last.action} is proposed: {last.message}", action=last.action)
        tx.messages.send(policy.receivers, approval_wanted(present, last, now), about=present.name)
        tx.put(present)
        return Considered(None, plan=self._plan, is_news=True)

    def _held(self, present: Remediation, closed: GateResult) -> Considered:
        found = self._plan
        pause = (
            LOOK_AGAIN if closed.until is None else min(LOOK_AGAIN, max(closed.until - self._tx.now(), timedelta(0)))
        )
        held = self._at_step(follow(present, State.HELD, closed.reason, closed.message))
        if closed.gate is Gate.CIRCUIT:  # from now on the circuit says how often it is tried
            held = replace(held, tries=0)
        held = replace(held, next_at=closed.until)
        if found.tells_people:
            held = escalated(self._tx, held, f"{closed.gate.value.lower()}: {closed.message}")
        if held == self._before:
            return Considered(pause, plan=found)
        if self._before.state is not State.HELD or self._before.reason != held.reason:
            note(self._tx, held, f"Held: {closed.message}", gate=closed.gate.value, **closed.values)
        self._tx.put(held)
        return Considered(pause, plan=found, is_news=True)
