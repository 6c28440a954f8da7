"""Windows as clamps, and what is remembered."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from fakes.clock import NOON
from fakes.scaling import SECOND, a_policy, ago, one, queue, rules, seen, step

from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import Outcome, Recommendation, State
from opsuite_scaler.domain.policy import Behavior
from opsuite_scaler.domain.stabilization import remembered

Entries = Sequence[tuple[float, int]]
"""Seconds ago, and what was wanted then; oldest first."""


def log(entries: Entries) -> tuple[Recommendation, ...]:
    return tuple(Recommendation(ago(seconds), replicas) for seconds, replicas in entries)


def after(current: int, wanted: int, entries: Entries, up: float = 0, down: float = 0) -> Outcome:
    policy = a_policy(queue(1), behavior=Behavior(rules(window=up), rules(window=down)))
    return decide(policy, seen(current, queue=one(wanted)), State(recommendations=log(entries)))


@pytest.mark.parametrize(
    ("current", "wanted", "entries", "expected"),
    [
        pytest.param(5, 2, [(200, 4), (100, 3)], 4, id="the most of the window"),
        pytest.param(5, 2, [(299, 4)], 4, id="just inside"),
        pytest.param(5, 2, [(300, 4)], 2, id="exactly as old as the window is outside"),
        pytest.param(5, 2, [(200, 9)], 5, id="more than there is: it stays, it never grows on a wish to shrink"),
        pytest.param(5, 2, [(200, 1)], 2, id="less does not matter"),
        pytest.param(5, 9, [(200, 2)], 9, id="growing is not its business"),
        pytest.param(5, 5, [(200, 9)], 5, id="nor is staying"),
    ],
)
def test_a_window_for_shrinking_takes_the_most_that_was_wanted(
    current: int, wanted: int, entries: Entries, expected: int
) -> None:
    assert after(current, wanted, entries, down=300).decision.desired == expected


@pytest.mark.parametrize(
    ("current", "wanted", "entries", "expected"),
    [
        pytest.param(5, 20, [(50, 7), (20, 9)], 7, id="the least of the window"),
        pytest.param(5, 20, [(59, 7)], 7, id="just inside"),
        pytest.param(5, 20, [(60, 7)], 20, id="exactly as old as the window is outside"),
        pytest.param(5, 20, [(50, 2)], 5, id="less than there is: it stays, it never shrinks on a wish to grow"),
        pytest.param(5, 20, [(50, 99)], 20, id="more does not matter"),
        pytest.param(5, 2, [(50, 9)], 2, id="shrinking is not its business"),
    ],
)
def test_a_window_for_growing_takes_the_least_that_was_wanted(
    current: int, wanted: int, entries: Entries, expected: int
) -> None:
    assert after(current, wanted, entries, up=60).decision.desired == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(10, 6), (6, 6), (5, 5), (4, 5), (2, 5)],
    ids=["the least of 60 s", "the least itself", "stays", "the most holds it", "the most holds it"],
)
def test_both_windows_clamp_the_present_size(wanted: int, expected: int) -> None:
    entries = [(200, 8), (50, 6)]

    assert after(5, wanted, entries, up=60, down=300).decision.desired == expected


@pytest.mark.parametrize(
    ("current", "wanted", "entries", "expected"),
    [
        (5, 2, [(200, 4)], 4),
        (5, 2, [(300, 4)], 4),
        (5, 2, [(301, 4)], 2),
        (5, 2, [(200, 9)], 9),
        (5, 9, [(200, 2)], 9),
    ],
    ids=["inside", "exactly as old as the window still counts", "outside", "the most as it is", "up is free"],
)
def test_without_behavior_the_most_of_300_seconds_counts_as_it_is(
    current: int, wanted: int, entries: Entries, expected: int
) -> None:
    policy = a_policy(queue(1), behavior=None)

    outcome = decide(policy, seen(current, queue=one(wanted)), State(recommendations=log(entries)))

    assert outcome.decision.desired == expected


def test_the_reason_and_the_number_that_bound_are_told() -> None:
    down = step(after(5, 2, [(200, 4)], down=300), "stabilization_down")
    up = step(after(5, 20, [(50, 7)], up=60), "stabilization_up")

    assert (down.reason, down.before, down.after) == ("ScaleDownStabilized", 2, 4)
    assert down.inputs["window_seconds"] == 300
    assert "highest of the last 300 s" in down.message
    assert (up.reason, up.before, up.after) == ("ScaleUpStabilized", 20, 7)
    assert up.inputs["window_seconds"] == 60
    assert "lowest of the last 60 s" in up.message


def test_what_is_remembered_is_what_was_wanted_before_it_was_held() -> None:
    outcome = after(5, 2, [(200, 4)], down=300)

    assert outcome.state.recommendations[-1] == Recommendation(NOON, 2)


@pytest.mark.parametrize(
    ("entries", "wanted", "expected"),
    [
        pytest.param([], 3, [(0, 3)], id="the first"),
        pytest.param([(10, 3)], 3, [(0, 3)], id="the same again, younger"),
        pytest.param([(20, 5), (10, 4)], 3, [(20, 5), (10, 4), (0, 3)], id="falling: each may become the most"),
        pytest.param([(20, 1), (10, 2)], 3, [(20, 1), (10, 2), (0, 3)], id="rising: each may become the least"),
        pytest.param([(30, 9), (20, 4), (10, 2)], 5, [(30, 9), (10, 2), (0, 5)], id="4 is neither any more"),
        pytest.param([(61, 9)], 5, [(0, 5)], id="too old"),
        pytest.param([(60, 9)], 5, [(60, 9), (0, 5)], id="as old as the window: may still count without behavior"),
    ],
)
def test_only_entries_that_can_still_bind_are_kept(entries: Entries, wanted: int, expected: Entries) -> None:
    assert remembered(log(entries), wanted, NOON, 60 * SECOND) == log(expected)


def test_the_log_of_a_steady_load_does_not_grow() -> None:
    state, policy = State(), a_policy(queue(1), behavior=Behavior(rules(), rules(window=300)))
    for tick in range(100):
        seen_now = seen(5, about={"now": NOON + tick * SECOND}, queue=one(5, at=None))
        state = decide(policy, seen_now, state).state

    assert len(state.recommendations) == 1
