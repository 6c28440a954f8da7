"""What is done next: the first step that makes sense and that every brake lets through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from fakes.clock import NOON
from fakes.healer_remediation import KINDS
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.actions import ActionSpec, Risk
from opsuite_healer.domain.remediation.circuit import Circuit
from opsuite_healer.domain.remediation.gates import Gate, Pause, Rollout
from opsuite_healer.domain.remediation.plan import Brakes, Case, Plan, Seen, Verdict, evaluate, plan
from opsuite_healer.domain.remediation.policy import ApprovalRules, HealingPolicy, Mode, Step, When
from opsuite_healer.domain.remediation.remediation import Decided

KNOWN = {kind.name: kind for kind in KINDS}
AUTO = HealingPolicy("web", (Step(ActionSpec("RESTART_SERVICE")), Step(ActionSpec("SCALE_UP"))), mode=Mode.AUTO)
CASE = Case(AUTO, has_target=True, began_at=NOON)
OPEN = Circuit(opened_at=NOON, cool_down=timedelta(minutes=10), reason="FAILURES")
ROLLOUT = Rollout("deployments/1", "v2", "v1", NOON - timedelta(minutes=5), NOON - timedelta(minutes=4), True)


def planned(case: Case = CASE, seen: Seen | None = None, brakes: Brakes | None = None, now: datetime = NOON) -> Plan:
    return plan(case, seen or Seen(), brakes or Brakes(), KNOWN, now)


def with_steps(*kinds: str, when: When = When.ALWAYS, **fields: Any) -> Case:
    steps = tuple(Step(ActionSpec(kind), when=when) for kind in kinds)
    return replace(CASE, policy=replace(AUTO, steps=steps), **fields)


def kinds_of(found: Plan) -> list[tuple[str, str, str]]:
    return [(one.action, one.kind.value, one.reason) for one in found.decisions]


def test_the_first_step_is_taken_and_counted() -> None:
    found = planned()

    assert (found.verdict, found.step) == (Verdict.ACT, 0)
    assert found.circuits["RESTART_SERVICE"].starts == (NOON,)
    assert [gate.gate for gate in found.gates] == list(Gate)


@pytest.mark.parametrize(
    ("case", "seen", "brakes", "reason", "tells"),
    [
        (CASE, Seen(), Brakes(pause=Pause("work", "ada")), "PAUSED", True),
        (CASE, Seen(hushed_by=("silences/1",)), Brakes(), "SILENCED", False),
        (CASE, Seen(hushed_by=None), Brakes(), "CANNOT_TELL", False),
        (replace(CASE, is_clear=True), Seen(), Brakes(), "CLEAR", False),
        (CASE, Seen(is_flapping=True), Brakes(), "FLAPPING", False),
        (CASE, Seen(rollout=replace(ROLLOUT, ended_at=None)), Brakes(), "ROLLOUT_UNDER_WAY", False),
        (CASE, Seen(fleet=(1, 9, 0)), Brakes(), "FLEET_UNHEALTHY", True),
        (CASE, Seen(fleet=None), Brakes(), "CANNOT_TELL", True),
        (CASE, Seen(), Brakes(acting=1), "FLEET_BUSY", False),
        (with_steps("RESTART_SERVICE"), Seen(), Brakes({"RESTART_SERVICE": OPEN}), "CIRCUIT_OPEN", True),
    ],
)
def test_one_closed_brake_holds_the_remediation(
    case: Case, seen: Seen, brakes: Brakes, reason: str, tells: bool
) -> None:
    found = planned(case, seen, brakes)

    assert found.verdict is Verdict.HOLD
    assert found.refused_by is not None
    assert (found.refused_by.reason, found.tells_people) == (reason, tells)
    assert not any(circuit.starts for circuit in found.circuits.values())


def test_an_open_circuit_keeps_back_one_action_only() -> None:
    found = planned(brakes=Brakes({"RESTART_SERVICE": OPEN}))

    assert (found.verdict, found.step) == (Verdict.ACT, 1)
    assert kinds_of(found) == [("RESTART_SERVICE", "REFUSE", "CIRCUIT_OPEN"), ("SCALE_UP", "ACT", "")]


def test_when_all_is_kept_back_it_waits_for_the_first_circuit() -> None:
    later = replace(OPEN, cool_down=timedelta(minutes=20))

    found = planned(brakes=Brakes({"RESTART_SERVICE": later, "SCALE_UP": OPEN}))

    assert found.verdict is Verdict.HOLD
    assert found.refused_by is not None
    assert found.refused_by.until == NOON + timedelta(minutes=10)


def test_what_is_used_up_is_not_tried_again() -> None:
    assert planned(replace(CASE, used=frozenset({0}))).step == 1
    assert planned(replace(CASE, used=frozenset({0, 1}))).verdict is Verdict.EXHAUSTED


@pytest.mark.parametrize(
    ("case", "seen", "reason"),
    [
        (with_steps("UNHEARD_OF"), Seen(), "NOT_AVAILABLE"),
        (with_steps("ABSENT"), Seen(), "NOT_AVAILABLE"),
        (with_steps("RESTART_SERVICE", has_target=False), Seen(), "NO_TARGET"),
        (with_steps("WIPE", when=When.AFTER_ROLLOUT), Seen(), "NO_ROLLOUT_TO_BLAME"),
        (with_steps("WIPE", when=When.AFTER_ROLLOUT), Seen(rollouts_known=False), "CANNOT_TELL"),
        (with_steps("WIPE", when=When.WITHOUT_ROLLOUT), Seen(rollout=ROLLOUT), "ROLLOUT_TO_BLAME"),
    ],
)
def test_a_step_that_makes_no_sense_is_skipped(case: Case, seen: Seen, reason: str) -> None:
    found = planned(case, seen)

    assert found.verdict is Verdict.EXHAUSTED
    assert [(one.kind, one.reason) for one in found.decisions] == [(Decided.SKIP, reason)]


def test_a_message_needs_no_target_and_asks_no_fleet() -> None:
    case = with_steps("NOTIFY", has_target=False)

    assert planned(case, Seen(fleet=None), Brakes(acting=9)).verdict is Verdict.ACT


@pytest.mark.parametrize(
    ("began_minutes", "rollout", "is_taken"),
    [
        (0, ROLLOUT, True),
        (11, ROLLOUT, True),
        (12, ROLLOUT, False),
        (-6, ROLLOUT, False),
        (0, replace(ROLLOUT, is_healthy=False), False),
        (0, replace(ROLLOUT, previous_version=""), False),
        (0, None, False),
    ],
)
def test_a_deployment_is_to_blame_for_what_began_shortly_after_it(
    began_minutes: int, rollout: Rollout | None, is_taken: bool
) -> None:
    began_at = NOON + timedelta(minutes=began_minutes)
    case = with_steps("ROLL_BACK_DEPLOYMENT", when=When.AFTER_ROLLOUT, began_at=began_at)

    assert (planned(case, Seen(rollout=rollout)).verdict is Verdict.ACT) is is_taken


@pytest.mark.parametrize(
    ("mode", "kind", "approval", "verdict", "manual_verdict"),
    [
        (Mode.AUTO, "RESTART_SERVICE", ApprovalRules(), Verdict.ACT, Verdict.ACT),
        (Mode.AUTO, "SCALE_UP", ApprovalRules(from_risk=Risk.MEDIUM), Verdict.ASK, Verdict.ASK),
        (Mode.AUTO, "WIPE", ApprovalRules(), Verdict.ASK, Verdict.ASK),
        (Mode.AUTO, "WIPE", ApprovalRules(never=True), Verdict.ACT, Verdict.ACT),
        (Mode.SUGGEST, "RESTART_SERVICE", ApprovalRules(), Verdict.ASK, Verdict.ACT),
        (Mode.SUGGEST, "WIPE", ApprovalRules(never=True), Verdict.ASK, Verdict.ACT),
        (Mode.OBSERVE, "RESTART_SERVICE", ApprovalRules(), Verdict.OBSERVE, Verdict.ACT),
        (Mode.OBSERVE, "WIPE", ApprovalRules(), Verdict.OBSERVE, Verdict.ASK),
    ],
)
def test_modes_and_risks_say_who_decides(
    mode: Mode, kind: str, approval: ApprovalRules, verdict: Verdict, manual_verdict: Verdict
) -> None:
    case = with_steps(kind)
    case = replace(case, policy=replace(case.policy, mode=mode, approval=approval))

    assert planned(case).verdict is verdict
    assert planned(replace(case, is_manual=True)).verdict is manual_verdict
    assert not planned(case).circuits or verdict is Verdict.ACT
    if verdict is Verdict.ASK:
        assert planned(replace(case, approved_step=0)).verdict is Verdict.ACT


def test_an_evaluation_tells_of_every_step() -> None:
    found = evaluate(CASE, Seen(), Brakes({"RESTART_SERVICE": OPEN}, Pause("work", "ada")), KNOWN, NOON)

    assert [(one.action, one.kind, one.reason) for one in found] == [
        ("RESTART_SERVICE", Decided.REFUSE, "PAUSED"),
        ("SCALE_UP", Decided.REFUSE, "PAUSED"),
    ]
    assert all(len(one.gates) == len(Gate) for one in found)


SEEN = st.builds(
    Seen,
    fleet=st.one_of(st.none(), st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))),
    is_flapping=st.booleans(),
    hushed_by=st.sampled_from([(), ("silences/1",), None]),
    rollout=st.sampled_from([None, ROLLOUT, replace(ROLLOUT, ended_at=None)]),
)
BRAKES = st.builds(
    Brakes,
    circuits=st.dictionaries(st.sampled_from(["RESTART_SERVICE", "SCALE_UP"]), st.sampled_from([OPEN, Circuit()])),
    pause=st.sampled_from([None, Pause("work", "ada"), Pause("work", "ada", NOON)]),
    acting=st.integers(0, 2),
)


@given(SEEN, BRAKES, st.frozensets(st.integers(0, 1)))
def test_an_action_is_taken_only_when_every_brake_is_open(seen: Seen, brakes: Brakes, used: frozenset[int]) -> None:
    found = planned(replace(CASE, used=used), seen, brakes)

    if found.verdict is Verdict.ACT:
        assert all(gate.is_open for gate in found.gates)
        assert found.step not in used
    else:
        assert not _begun(found.circuits, brakes.circuits)
    if found.verdict is Verdict.HOLD:
        assert found.refused_by is not None
        assert found.decisions[-1].reason


def _begun(after: Mapping[str, Circuit], before: Mapping[str, Circuit]) -> bool:
    return any(len(circuit.starts) > len(before.get(name, Circuit()).starts) for name, circuit in after.items())
