"""What is done next about an incident: the first step of the chain that makes sense and that every brake lets through.

One pure function, used by the healer itself, by EvaluateIssue, and by tests:

    for each step that is not used up:
        it makes no sense here (no deployment to blame, nothing to act on)  → skip it
        its circuit is open                                                 → pass it over, for now
        another brake is closed                                             → hold all of it
        a person has to approve it                                          → ask
        otherwise                                                           → act
    nothing is left: what was passed over is waited for; without any, the chain is exhausted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from opsuite_healer.domain.actions import ActionKind, Risk
from opsuite_healer.domain.remediation.circuit import Circuit, ask
from opsuite_healer.domain.remediation.fleet import concurrency_gate, fleet_gate
from opsuite_healer.domain.remediation.gates import (
    TELLING,
    Gate,
    GateResult,
    Pause,
    Rollout,
    flapping_gate,
    is_to_blame,
    pause_gate,
    rollout_gate,
    silence_gate,
    trouble_gate,
)
from opsuite_healer.domain.remediation.policy import HealingPolicy, Mode, Step, When
from opsuite_healer.domain.remediation.remediation import Decided, Decision


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen outside of the database."""

    fleet: tuple[int, int, int] | None = (0, 0, 0)
    """Healthy, unhealthy, unknown; None: nobody can tell."""
    is_flapping: bool = False
    hushed_by: tuple[str, ...] | None = ()
    """None: nobody can tell."""
    rollout: Rollout | None = None
    rollouts_known: bool = True
    """Whether the deployer could be asked."""


@dataclass(frozen=True, slots=True)
class Brakes:
    """What the database says of the brakes."""

    circuits: Mapping[str, Circuit] = field(default_factory=dict, hash=False)
    """Of the target, by kind of action."""
    pause: Pause | None = None
    acting: int = 0
    """Remediations of the same fleet that act now."""
    fleet_refused_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be decided about."""

    policy: HealingPolicy
    has_target: bool
    began_at: datetime
    """When the trouble began."""
    is_clear: bool = False
    used: frozenset[int] = frozenset()
    """Steps that are not tried any more: they were in vain too often, were refused, or are done."""
    approved_step: int | None = None
    is_manual: bool = False


class Verdict(Enum):
    """What is done next."""

    ACT = "ACT"
    ASK = "ASK"
    HOLD = "HOLD"
    OBSERVE = "OBSERVE"
    EXHAUSTED = "EXHAUSTED"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done next, and why."""

    verdict: Verdict
    step: int
    """The step that is taken, asked for, or held."""
    decisions: tuple[Decision, ...]
    """About each step that was considered."""
    circuits: Mapping[str, Circuit] = field(default_factory=dict, hash=False)
    """Circuits that are not what they were: with the action that begins, or opened."""
    refused_by: GateResult | None = None
    """The brake that holds it."""

    @property
    def gates(self) -> tuple[GateResult, ...]:
        """What every brake says of the step that is taken."""
        return self.decisions[-1].gates if self.decisions else ()

    @property
    def fleet_refused(self) -> bool:
        """Whether the health of the fleet holds it."""
        return self.refused_by is not None and self.refused_by.reason == "FLEET_UNHEALTHY"

    @property
    def tells_people(self) -> bool:
        """Whether a person has to know that it is held."""
        return self.verdict is Verdict.HOLD and self.refused_by is not None and self.refused_by.gate in TELLING


Kinds = Mapping[str, ActionKind]
FAR: Final = datetime.max.replace(tzinfo=UTC)


def plan(case: Case, seen: Seen, brakes: Brakes, kinds: Kinds, now: datetime) -> Plan:
    """What is done next."""
    decisions: list[Decision] = []
    circuits: dict[str, Circuit] = {}
    passed: dict[int, GateResult] = {}
    for index, step in enumerate(case.policy.steps):
        if index in case.used:
            continue
        if why := _senseless(case, step, seen, kinds):
            decisions.append(_decision(now, index, step, Decided.SKIP, *why))
            continue
        circuit, gates = _gates(case, step, seen, brakes, now)
        if closed := _closed(gates):
            decisions.append(_decision(now, index, step, Decided.REFUSE, closed.reason, closed.message, gates))
            if closed.gate is not Gate.CIRCUIT:
                return Plan(Verdict.HOLD, index, tuple(decisions), circuits, closed)
            circuits[step.action.kind] = circuit
            passed[index] = closed
            continue
        kind, reason, message = _permitted(case, index, step, kinds)
        decisions.append(_decision(now, index, step, kind, reason, message, gates))
        if kind is Decided.ACT:
            circuits[step.action.kind] = circuit
        return Plan(Verdict[kind.name], index, tuple(decisions), circuits)
    return _nothing_left(case, decisions, circuits, passed)


def evaluate(case: Case, seen: Seen, brakes: Brakes, kinds: Kinds, now: datetime) -> Sequence[Decision]:
    """Every step with what every brake says of it, whatever the steps before it say: for people who want to know."""
    found = []
    for index, step in enumerate(case.policy.steps):
        _, gates = _gates(case, step, seen, brakes, now)
        if why := _senseless(case, step, seen, kinds):
            found.append(_decision(now, index, step, Decided.SKIP, *why, gates))
        elif closed := _closed(gates):
            found.append(_decision(now, index, step, Decided.REFUSE, closed.reason, closed.message, gates))
        else:
            found.append(_decision(now, index, step, *_permitted(case, index, step, kinds), gates))
    return found


def risk_of(step: Step, kinds: Kinds) -> Risk:
    """How much the action of a step can break; of one that nobody knows, all."""
    kind = kinds.get(step.action.kind)
    return kind.risk if kind else Risk.HIGH


def _gates(case: Case, step: Step, seen: Seen, brakes: Brakes, now: datetime) -> tuple[Circuit, tuple[GateResult, ...]]:
    """What every brake says, in order, and the circuit as its answer leaves it."""
    rules = case.policy.fleet
    circuit, answer = ask(case.policy.circuit, brakes.circuits.get(step.action.kind, Circuit()), now)
    gates = (
        pause_gate(brakes.pause, now),
        silence_gate(seen.hushed_by),
        trouble_gate(is_clear=case.is_clear and not case.is_manual),
        flapping_gate(is_flapping=seen.is_flapping),
        rollout_gate(seen.rollout),
        answer,
        fleet_gate(rules, seen.fleet if case.has_target else (0, 0, 0), brakes.fleet_refused_at, now),
        concurrency_gate(rules, brakes.acting if case.has_target else 0),
    )
    return circuit, gates


def _closed(gates: Sequence[GateResult]) -> GateResult | None:
    """The brake that refuses: one that holds everything rather than the circuit, which holds one action."""
    closed = [gate for gate in gates if not gate.is_open]
    return next((gate for gate in closed if gate.gate is not Gate.CIRCUIT), closed[0] if closed else None)


def _senseless(case: Case, step: Step, seen: Seen, kinds: Kinds) -> tuple[str, str] | None:
    """Why a step makes no sense here."""
    kind = kinds.get(step.action.kind)
    if kind is None or not kind.is_available:
        return "NOT_AVAILABLE", kind.why_not if kind else "this healer knows no such action"
    if kind.needs_target and not case.has_target:
        return "NO_TARGET", "nobody can tell what the trouble is about"
    if step.when is When.ALWAYS:
        return None
    if not seen.rollouts_known:
        return "CANNOT_TELL", "the deployer cannot be asked what was rolled out"
    to_blame = is_to_blame(seen.rollout, case.began_at, case.policy.blame_window)
    if step.when is When.AFTER_ROLLOUT and not to_blame:
        return "NO_ROLLOUT_TO_BLAME", "no deployment began shortly before the trouble"
    if step.when is When.WITHOUT_ROLLOUT and to_blame:
        return "ROLLOUT_TO_BLAME", f"{seen.rollout.deployment if seen.rollout else ''} is to blame"
    return None


def _permitted(case: Case, index: int, step: Step, kinds: Kinds) -> tuple[Decided, str, str]:
    """What is done about a step that no brake holds."""
    policy = case.policy
    if policy.mode is Mode.OBSERVE and not case.is_manual:
        return Decided.OBSERVE, "OBSERVE_ONLY", "the policy only observes"
    if case.approved_step == index:
        return Decided.ACT, "", "approved"
    if policy.mode is Mode.SUGGEST and not case.is_manual:
        return Decided.ASK, "SUGGESTED", "the policy only suggests"
    risk = risk_of(step, kinds)
    if risk >= policy.approval.from_risk and not policy.approval.never:
        return Decided.ASK, "RISK", f"the risk of the action is {risk.name}"
    return Decided.ACT, "", ""


def _nothing_left(
    case: Case, decisions: list[Decision], circuits: Mapping[str, Circuit], passed: Mapping[int, GateResult]
) -> Plan:
    """Wait for what was passed over; without any, there is nothing more to try."""
    if not passed:
        return Plan(Verdict.EXHAUSTED, len(case.policy.steps), tuple(decisions), circuits)
    first = min(passed.values(), key=lambda gate: gate.until or FAR)
    return Plan(Verdict.HOLD, min(passed), tuple(decisions), circuits, first)


def _decision(
    now: datetime,
    index: int,
    step: Step,
    kind: Decided,
    reason: str = "",
    message: str = "",
    gates: tuple[GateResult, ...] = (),
) -> Decision:
    return Decision(now, index, step.action.kind, kind, reason, message, gates)
