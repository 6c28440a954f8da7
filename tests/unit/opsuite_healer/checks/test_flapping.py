"""Flap detection by its table of expected values, and by its properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.checks.flapping import (
    ANSWERS,
    PAIRS,
    WEIGHTS,
    FlapLevels,
    FlapState,
    counts,
    evaluate,
    record,
)
from opsuite_probes.hysteresis import Thresholds
from opsuite_probes.port import Outcome

GOOD, BAD, NOTHING = Outcome.HEALTHY, Outcome.UNHEALTHY, Outcome.UNKNOWN
LEVELS = FlapLevels()


def state_of(history: str, *, is_flapping: bool = False) -> FlapState:
    return FlapState(tuple(letter == "+" for letter in history), is_flapping)


@pytest.mark.parametrize(
    ("history", "percent"),
    [
        ("", 0.0),
        ("+", 0.0),
        ("+++++++++++++++++++++", 0.0),
        ("+-", 6.25),  # one change, the newest: 1.25 * 5
        ("++++++++++++++++++++-", 6.25),
        ("+--------------------", 3.75),  # one change, the oldest: 0.75 * 5
        ("+-+-+-+-+-+-+-+-+-+-+", 100.0),
        # Changes at pairs 0 and 19: 0.75 + 1.25.
        ("+-------------------+", 10.0),
        # Nagios' own example has changes at 1, 4, 5, 8, 12 … of its picture; here five evenly spread ones.
        ("++++----++++----++++-", sum((WEIGHTS[3], WEIGHTS[7], WEIGHTS[11], WEIGHTS[15], WEIGHTS[19])) * 5),
    ],
)
def test_the_share_of_changes_is_weighted_from_0_75_to_1_25(history: str, percent: float) -> None:
    assert state_of(history).percent == pytest.approx(percent)


def test_all_pairs_together_weigh_a_hundred_percent() -> None:
    assert (WEIGHTS[0], WEIGHTS[-1], len(WEIGHTS)) == (0.75, 1.25, PAIRS)
    assert sum(WEIGHTS) * 100 / PAIRS == pytest.approx(100)


@pytest.mark.parametrize(
    ("before", "was_flapping", "answer", "percent", "is_flapping"),
    [
        ("-+-+-", False, "+", 29.9342, False),
        ("+-+-+-", False, "+", 35.5263, True),
        ("++++++++++++++++-+-++", True, "+", 23.1579, True),
        ("++++++++++++++++-+-++", False, "+", 23.1579, False),
        ("++++++++++++-+-++++++", True, "+", 21.0526, True),
        ("++++++++-+-++++++++++", True, "+", 18.9474, False),
    ],
)
def test_it_flaps_from_the_high_level_on_and_until_the_low_one(
    before: str, was_flapping: bool, answer: str, percent: float, is_flapping: bool
) -> None:
    after = record(state_of(before, is_flapping=was_flapping), is_good=answer == "+", levels=LEVELS)

    assert (round(after.percent, 4), after.is_flapping) == (percent, is_flapping)


def test_the_levels_themselves_belong_to_the_change() -> None:
    exactly = FlapLevels(high=6.25, low=6.25)
    low = state_of("+--").percent

    assert record(state_of("+"), is_good=False, levels=exactly).is_flapping
    assert not record(state_of("+-", is_flapping=True), is_good=False, levels=FlapLevels(50, low)).is_flapping


def test_without_levels_nothing_flaps() -> None:
    assert not record(state_of("-+-+-+-+-+-+-", is_flapping=True), is_good=True, levels=None).is_flapping


@pytest.mark.parametrize(
    ("outcome", "verdict", "is_counted"),
    [
        (GOOD, GOOD, True),
        (GOOD, BAD, True),  # on the way up, a soft recovery
        (GOOD, None, True),
        (BAD, BAD, True),
        (BAD, GOOD, False),  # on the way down, a soft problem
        (BAD, None, False),
        (NOTHING, BAD, False),
    ],
)
def test_soft_recoveries_count_and_soft_problems_do_not(
    outcome: Outcome, verdict: Outcome | None, is_counted: bool
) -> None:
    assert counts(outcome, verdict) is is_counted


def test_a_series_is_evaluated_answer_by_answer() -> None:
    answers = [GOOD, GOOD, BAD, NOTHING, BAD, GOOD]

    steps = evaluate(answers, Thresholds(success=2, failure=2), LEVELS)

    assert [step.health.verdict for step in steps] == [None, GOOD, GOOD, GOOD, BAD, BAD]
    assert [step.counts for step in steps] == [True, True, False, False, True, True]
    assert steps[-1].flap.history == (True, False, True)
    assert not steps[-1].flap.is_flapping


def test_one_that_changes_with_every_answer_flaps_until_it_rests() -> None:
    restless = [GOOD, BAD] * 15

    steps = evaluate([*restless, *[GOOD] * 25], Thresholds(1, 1), LEVELS)

    flapping = [step.flap.is_flapping for step in steps]
    assert flapping.index(True) == 6
    assert flapping[29]
    assert not flapping[-1]
    assert flapping.index(False, 6) == 46  # four changes are left then: (0.75 * 4 + 0.5 * 6 / 19) * 5 = 15.8 percent


ANSWER = st.lists(st.sampled_from([GOOD, BAD, NOTHING]), max_size=80)


@given(ANSWER)
def test_percent_is_a_percentage_and_history_is_bounded(answers: list[Outcome]) -> None:
    for step in evaluate(answers, Thresholds(1, 1), LEVELS):
        assert 0 <= step.flap.percent <= 100.000001
        assert len(step.flap.history) <= ANSWERS


@given(ANSWER)
def test_between_the_levels_nothing_changes(answers: list[Outcome]) -> None:
    before = False
    for step in evaluate(answers, Thresholds(1, 1), LEVELS):
        if step.counts and LEVELS.low < step.flap.percent < LEVELS.high:
            assert step.flap.is_flapping == before
        before = step.flap.is_flapping


@given(ANSWER)
def test_answers_that_say_nothing_change_nothing(answers: list[Outcome]) -> None:
    with_silence = [one for answer in answers for one in (answer, NOTHING)]

    plain = evaluate(answers, Thresholds(2, 3), LEVELS)
    spread = evaluate(with_silence, Thresholds(2, 3), LEVELS)

    assert [step.flap for step in spread[::2]] == [step.flap for step in plain]


@given(st.integers(1, 60), st.booleans())
def test_one_that_never_changes_never_flaps(count: int, is_good: bool) -> None:
    steps = evaluate([GOOD if is_good else BAD] * count, Thresholds(1, 1), LEVELS)

    assert not any(step.flap.is_flapping for step in steps)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_what_is_left_out_of_the_history_changes_no_percentage(answers: list[bool]) -> None:
    state = FlapState()
    for number, is_good in enumerate(answers, start=1):
        state = record(state, is_good=is_good, levels=LEVELS)

        assert state.percent == pytest.approx(FlapState(tuple(answers[:number][-ANSWERS:])).percent)


def test_one_that_never_changes_has_nothing_new_to_remember() -> None:
    once = record(FlapState(), is_good=True, levels=LEVELS)

    assert record(once, is_good=True, levels=LEVELS) == once
