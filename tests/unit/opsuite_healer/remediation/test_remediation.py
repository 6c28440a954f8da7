"""The states of a remediation, and what may follow what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.clock import NOON

from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.remediation.policy import FleetRules, HealingPolicy, Step
from opsuite_healer.domain.remediation.remediation import (
    BUSY,
    TERMINAL,
    TRANSITIONS,
    IllegalTransition,
    Remediation,
    State,
    follow,
    use_up,
)
from opsuite_healer.domain.targets import TargetRef

WEB = TargetRef("process", "web", "web-0")
NEW = Remediation(
    id="1",
    incident="i1",
    round=1,
    issue="UNHEALTHY",
    target=WEB,
    policy=HealingPolicy("web", (Step(ActionSpec("RESTART_SERVICE")),)),
    policy_number=1,
    state=State.PENDING,
    created_at=NOON,
    began_at=NOON,
)


def test_every_state_has_a_place_in_the_table() -> None:
    assert set(TRANSITIONS) | TERMINAL == set(State)
    assert not set(TRANSITIONS) & TERMINAL
    reached = {state for states in TRANSITIONS.values() for state in states}
    assert reached | {State.PENDING} == set(State)


@pytest.mark.parametrize("present", list(State))
@pytest.mark.parametrize("wanted", list(State))
def test_only_what_the_table_says_follows(present: State, wanted: State) -> None:
    remediation = replace(NEW, state=present)
    if wanted is present or wanted in TRANSITIONS.get(present, ()):
        assert follow(remediation, wanted, "", "").state is wanted
    else:
        with pytest.raises(IllegalTransition):
            follow(remediation, wanted, "", "")


def test_terminal_is_terminal() -> None:
    assert all(state not in TRANSITIONS for state in TERMINAL)


def test_an_action_begins_only_where_an_intent_is_recorded() -> None:
    assert {state for state, after in TRANSITIONS.items() if State.ACTING in after} == {State.PENDING, State.HELD}
    assert {state for state, after in TRANSITIONS.items() if State.VERIFYING in after} == {State.ACTING}


def test_whoever_rests_leaves_the_target_to_others() -> None:
    assert frozenset(State) - TERMINAL - {State.RESTING} == BUSY


def test_a_step_that_is_used_up_needs_a_new_approval_for_the_next() -> None:
    used = use_up(replace(NEW, step=0, tries=2, approved_step=0, approved_by="ada"))

    assert (used.used, used.tries, used.approved_step, used.approved_by) == (frozenset({0}), 0, None, "")


@pytest.mark.parametrize(
    ("remediation", "fleet"),
    [
        (NEW, "process/web"),
        (replace(NEW, target=None), ""),
        (replace(NEW, policy=HealingPolicy("web", (), fleet=FleetRules(group="front"))), "group:front"),
    ],
)
def test_the_fleet_is_the_workload_or_a_group(remediation: Remediation, fleet: str) -> None:
    assert remediation.fleet == fleet
