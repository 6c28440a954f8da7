"""The circuit of one action on one target: it keeps the healer from doing the same in vain.

    CLOSED ── an action too many within a window, or failures on end ──▶ OPEN ── cool-down is over ──▶ HALF_OPEN
      ▲                                                                   ▲                              │
      └── the trial has helped ──┬── the trial has failed: twice the cool-down ──────────────────────────┘
                                 └── and without another failure for a time, all is forgotten

It comes out of OPEN by itself: a limit that only a person can lift turns one bad night into a dead service. The second
budget, over a day, catches loops that are too slow for the first; while it is spent, there is no trial either.
Times are given, nothing is asked. A circuit is the same whoever computes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from opsuite_healer.domain.remediation.gates import Gate, GateResult
from opsuite_healer.domain.remediation.policy import CircuitRules


class CircuitState(Enum):
    """Whether a circuit lets actions through."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


@dataclass(frozen=True, slots=True)
class Circuit:
    """What a circuit remembers."""

    starts: tuple[datetime, ...] = ()
    """When actions were begun, oldest first, as far back as the long window goes."""
    failures: int = 0
    """On end."""
    opened_at: datetime | None = None
    """None: it is closed."""
    cool_down: timedelta | None = None
    """How long it stays open, or stayed open last; None: it was not opened since all was forgotten."""
    trial_at: datetime | None = None
    """When a trial was begun that is not decided yet."""
    counted_from: datetime | None = None
    """Actions before it do not count for the short budget: a trial has helped since."""
    bad_at: datetime | None = None
    """When it was opened, or an action failed, last."""
    reason: str = ""
    """Why it was opened: "BUDGET", "LONG_BUDGET", "FAILURES", "TRIAL_FAILED"."""


def half_open_at(rules: CircuitRules, circuit: Circuit) -> datetime | None:
    """When it allows a trial; None while it is closed."""
    if circuit.opened_at is None:
        return None
    at = circuit.opened_at + (circuit.cool_down or rules.cool_down)
    if circuit.reason == "LONG_BUDGET" and len(circuit.starts) >= rules.long_max_actions:
        at = max(at, circuit.starts[-rules.long_max_actions] + rules.long_window)
    return at


def state_at(rules: CircuitRules, circuit: Circuit, now: datetime) -> CircuitState:
    """How it stands."""
    at = half_open_at(rules, circuit)
    if at is None:
        return CircuitState.CLOSED
    return CircuitState.OPEN if now < at else CircuitState.HALF_OPEN


def ask(rules: CircuitRules, circuit: Circuit, now: datetime) -> tuple[Circuit, GateResult]:
    """Whether an action may begin now, and the circuit after that: with the action, or opened because of it."""
    circuit = _aged(rules, circuit, now)
    state = state_at(rules, circuit, now)
    if state is CircuitState.OPEN:
        return circuit, _refusal(rules, circuit, now)
    if state is CircuitState.HALF_OPEN and circuit.trial_at is not None:
        return circuit, _refusal(rules, circuit, now, reason="TRIAL_UNDER_WAY")
    if len(_within(circuit, rules.long_window, now)) >= rules.long_max_actions:
        return _refused(rules, _opened(rules, circuit, "LONG_BUDGET", now), now)
    if state is CircuitState.CLOSED and len(_counted(rules, circuit, now)) >= rules.max_actions:
        return _refused(rules, _opened(rules, circuit, "BUDGET", now), now)
    passed = GateResult(Gate.CIRCUIT, True, values=_values(rules, circuit, now))
    trial_at = now if state is CircuitState.HALF_OPEN else None
    return replace(circuit, starts=(*circuit.starts, now), trial_at=trial_at), passed


def helped(rules: CircuitRules, circuit: Circuit, now: datetime) -> Circuit:
    """An action was proved to have helped."""
    circuit = replace(_aged(rules, circuit, now), failures=0)
    if circuit.trial_at is None:
        return circuit
    return replace(circuit, opened_at=None, reason="", counted_from=circuit.trial_at, trial_at=None)


def failed(rules: CircuitRules, circuit: Circuit, now: datetime) -> Circuit:
    """An action has failed, or did not help."""
    circuit = _aged(rules, circuit, now)
    circuit = replace(circuit, failures=circuit.failures + 1, bad_at=now)
    if circuit.trial_at is not None:
        return _opened(rules, replace(circuit, trial_at=None), "TRIAL_FAILED", now)
    if circuit.opened_at is None and circuit.failures >= rules.max_failures:
        return _opened(rules, circuit, "FAILURES", now)
    return circuit


def undecided(circuit: Circuit) -> Circuit:
    """It will not be known whether an action has helped: a person has stopped it, or whoever was asked refused it."""
    return replace(circuit, trial_at=None)


def _aged(rules: CircuitRules, circuit: Circuit, now: datetime) -> Circuit:
    """Without what is too old to count."""
    circuit = replace(circuit, starts=_within(circuit, rules.long_window, now))
    is_quiet = circuit.opened_at is None and circuit.bad_at is not None and now - circuit.bad_at >= rules.reset_after
    return replace(circuit, failures=0, cool_down=None, bad_at=None) if is_quiet else circuit


def _within(circuit: Circuit, window: timedelta, now: datetime) -> tuple[datetime, ...]:
    return tuple(start for start in circuit.starts if start > now - window)


def _counted(rules: CircuitRules, circuit: Circuit, now: datetime) -> tuple[datetime, ...]:
    """What the short budget counts."""
    begin = circuit.counted_from
    return tuple(start for start in _within(circuit, rules.window, now) if begin is None or start >= begin)


def _opened(rules: CircuitRules, circuit: Circuit, reason: str, now: datetime) -> Circuit:
    last = circuit.cool_down
    cool_down = rules.cool_down if last is None else min(last * 2, max(rules.max_cool_down, rules.cool_down))
    if reason == "LONG_BUDGET" and last is not None:
        cool_down = last  # nothing was tried that could have failed
    return replace(circuit, opened_at=now, cool_down=cool_down, bad_at=now, reason=reason)


def _refused(rules: CircuitRules, circuit: Circuit, now: datetime) -> tuple[Circuit, GateResult]:
    return circuit, _refusal(rules, circuit, now)


def _refusal(rules: CircuitRules, circuit: Circuit, now: datetime, *, reason: str = "CIRCUIT_OPEN") -> GateResult:
    told = {
        "BUDGET": "the action was taken too often in a short time",
        "LONG_BUDGET": "the action was taken too often in a long time",
        "FAILURES": "the action has failed too often on end",
        "TRIAL_FAILED": "the last trial of the action has failed",
    }
    until = None if reason == "TRIAL_UNDER_WAY" else half_open_at(rules, circuit)
    message = "a trial is under way" if reason == "TRIAL_UNDER_WAY" else told.get(circuit.reason, "the circuit is open")
    return GateResult(Gate.CIRCUIT, False, reason, message, _values(rules, circuit, now), until)


def _values(rules: CircuitRules, circuit: Circuit, now: datetime) -> dict[str, str]:
    values = {
        "state": state_at(rules, circuit, now).value,
        "actions": f"{len(_counted(rules, circuit, now))} of {rules.max_actions}",
        "long_actions": f"{len(_within(circuit, rules.long_window, now))} of {rules.long_max_actions}",
        "failures": f"{circuit.failures} of {rules.max_failures}",
    }
    if circuit.opened_at is not None:
        values["opened_because"] = circuit.reason
    return values
