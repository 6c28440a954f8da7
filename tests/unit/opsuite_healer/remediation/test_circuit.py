"""The circuit of one action on one target, as tables with the expected answers, and as properties."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from fakes.clock import NOON
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.remediation.circuit import (
    Circuit,
    CircuitState,
    ask,
    failed,
    half_open_at,
    helped,
    state_at,
    undecided,
)
from opsuite_healer.domain.remediation.policy import CircuitRules

RULES = CircuitRules()
"""3 in 15 min, 10 in 24 h, 2 failures, 10 min doubling to 80 min, forgotten after 30 min."""


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def played(story: str, rules: CircuitRules = RULES) -> tuple[Circuit, list[str]]:
    """A circuit after "minute:event" words (w wanted, h helped, f failed, u undecided), and what it said to wishes."""
    circuit, answers = Circuit(), []
    for word in story.split():
        minute, _, event = word.partition(":")
        now = at(float(minute))
        match event:
            case "w":
                circuit, gate = ask(rules, circuit, now)
                answers.append("yes" if gate.is_open else gate.reason)
            case "h":
                circuit = helped(rules, circuit, now)
            case "f":
                circuit = failed(rules, circuit, now)
            case _:
                circuit = undecided(circuit)
    return circuit, answers


@pytest.mark.parametrize(
    ("story", "answers", "reason", "minute_of_trial"),
    [
        ("0:w 1:h", ["yes"], "", None),
        ("0:w 1:h 2:w 3:h 4:w 5:h", ["yes"] * 3, "", None),
        ("0:w 1:h 2:w 3:h 4:w 5:h 6:w", ["yes"] * 3 + ["CIRCUIT_OPEN"], "BUDGET", 16),
        ("0:w 1:h 2:w 3:h 4:w 5:h 15:w", ["yes"] * 4, "", None),
        ("0:w 1:f", ["yes"], "", None),
        ("0:w 1:f 2:w 3:f", ["yes"] * 2, "FAILURES", 13),
        ("0:w 1:f 2:w 3:h 4:w 5:f", ["yes"] * 3, "", None),
        ("0:w 1:f 2:w 3:f 12:w", ["yes"] * 2 + ["CIRCUIT_OPEN"], "FAILURES", 13),
        ("0:w 1:f 2:w 3:f 13:w", ["yes"] * 3, "FAILURES", 13),
        ("0:w 1:f 2:w 3:f 13:w 14:w", ["yes"] * 3 + ["TRIAL_UNDER_WAY"], "FAILURES", 13),
        ("0:w 1:f 2:w 3:f 13:w 14:u 15:w", ["yes"] * 4, "FAILURES", 13),
        ("0:w 1:f 2:w 3:f 13:w 14:f", ["yes"] * 3, "TRIAL_FAILED", 34),
        ("0:w 1:f 2:w 3:f 13:w 14:f 34:w 35:f", ["yes"] * 4, "TRIAL_FAILED", 75),
        ("0:w 1:f 2:w 3:f 13:w 14:f 34:w 35:f 75:w 76:f", ["yes"] * 5, "TRIAL_FAILED", 156),
        ("0:w 1:f 2:w 3:f 13:w 14:f 34:w 35:f 75:w 76:f 156:w 157:f", ["yes"] * 6, "TRIAL_FAILED", 237),
        ("0:w 1:f 2:w 3:f 13:w 14:h 15:w", ["yes"] * 4, "", None),
        ("0:w 1:f 2:w 3:f 13:w 14:h 15:w 16:f 17:w 18:f", ["yes"] * 5, "FAILURES", 38),
        ("0:w 1:f 2:w 3:f 13:w 14:h 60:w 61:f 62:w 63:f", ["yes"] * 5, "FAILURES", 73),
        ("0:w 1:f 32:w 33:f", ["yes"] * 2, "", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_circuit_says(story: str, answers: list[str], reason: str, minute_of_trial: float | None) -> None:
    circuit, said = played(story)

    assert said == answers
    assert circuit.reason == reason
    assert half_open_at(RULES, circuit) == (None if minute_of_trial is None else at(minute_of_trial))


def test_a_slow_loop_that_the_short_budget_never_meets_is_caught_by_the_long_one() -> None:
    story = " ".join(f"{60 * hour}:w {60 * hour + 1}:h" for hour in range(11))

    circuit, answers = played(story)

    assert answers == ["yes"] * 10 + ["CIRCUIT_OPEN"]
    assert circuit.reason == "LONG_BUDGET"
    assert half_open_at(RULES, circuit) == at(24 * 60)  # when the first of the ten does not count any more
    later, gate = ask(RULES, circuit, at(24 * 60 + 1))
    assert gate.is_open
    assert len(later.starts) == 10


def test_a_circuit_says_what_it_decided_by() -> None:
    circuit, _ = played("0:w 1:f 2:w 3:f")

    gate = ask(RULES, circuit, at(4))[1]

    assert gate.until == at(13)
    assert gate.values == {
        "state": "OPEN",
        "actions": "2 of 3",
        "long_actions": "2 of 10",
        "failures": "2 of 2",
        "opened_because": "FAILURES",
    }


EVENTS = st.lists(st.tuples(st.integers(0, 90), st.sampled_from("whfu")), max_size=60)


@given(EVENTS)
def test_never_more_than_allowed_within_a_window_except_for_trials(events: list[tuple[int, str]]) -> None:
    minute, circuit = 0, Circuit()
    passed: list[datetime] = []
    for pause, event in events:
        minute += pause
        now = at(minute)
        if event == "w":
            was = state_at(RULES, circuit, now)
            circuit, gate = ask(RULES, circuit, now)
            assert gate.is_open is False or was is not CircuitState.OPEN
            if gate.is_open and was is CircuitState.CLOSED:
                counted = [start for start in passed if start > now - RULES.window]
                counted = [one for one in counted if circuit.counted_from is None or one >= circuit.counted_from]
                assert len(counted) < RULES.max_actions
            if gate.is_open:
                passed.append(now)
                assert len([start for start in passed if start > now - RULES.long_window]) <= RULES.long_max_actions
        elif event == "h":
            circuit = helped(RULES, circuit, now)
        elif event == "f":
            circuit = failed(RULES, circuit, now)
        else:
            circuit = undecided(circuit)


@given(EVENTS)
def test_every_circuit_lets_something_through_again_by_itself(events: list[tuple[int, str]]) -> None:
    minute, circuit = 0, Circuit()
    for pause, event in events:
        minute += pause
        if event == "w":
            circuit = ask(RULES, circuit, at(minute))[0]
        elif event == "h":
            circuit = helped(RULES, circuit, at(minute))
        else:
            circuit = failed(RULES, circuit, at(minute))
    rested = undecided(circuit)

    _, gate = ask(RULES, rested, at(minute) + RULES.long_window + RULES.max_cool_down)

    assert gate.is_open


@given(EVENTS)
def test_a_cool_down_never_exceeds_the_longest(events: list[tuple[int, str]]) -> None:
    minute, circuit = 0, Circuit()
    for pause, event in events:
        minute += pause
        circuit = ask(RULES, circuit, at(minute))[0] if event == "w" else failed(RULES, circuit, at(minute))
        assert circuit.cool_down is None or RULES.cool_down <= circuit.cool_down <= RULES.max_cool_down
