"""What answers make of a subject: verdicts, grace, levels, restarts, flapping, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from fakes.clock import NOON
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.checks.answers import Answer
from opsuite_healer.domain.checks.check import CheckSpec, Levels, StateProbe
from opsuite_healer.domain.checks.subject import (
    Begun,
    Change,
    Over,
    Step,
    Subject,
    acted_on,
    answered,
    told_now,
)
from opsuite_healer.domain.targets import TargetRef
from opsuite_probes.hysteresis import HealthState, Thresholds
from opsuite_probes.port import HttpProbe, Outcome, PrometheusProbe

GOOD, BAD, NOTHING = Outcome.HEALTHY, Outcome.UNHEALTHY, Outcome.UNKNOWN
SHOP = TargetRef("process", "shop")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def a_spec(**fields: Any) -> CheckSpec:
    usual = CheckSpec("home", SHOP, HttpProbe("http://127.0.0.1/"), thresholds=Thresholds(success=2, failure=3))
    return replace(usual, **fields)


def a_subject(replica: str = "", **fields: Any) -> Subject:
    return replace(Subject(replica, first_seen_at=NOON), **fields)


def follow(spec: CheckSpec, subject: Subject, *answers: Answer) -> list[Step]:
    """Each step, with what was told written down as whoever tells does."""
    steps = []
    for answer in answers:
        step = answered(spec, subject, answer, answer.at)
        steps.append(step)
        subject = step.subject
        for telling in step.tellings:
            subject = told_now(subject, telling, answer.at, "00-trace")
        steps[-1] = replace(step, subject=subject)
    return steps


def said(*outcomes: Outcome, every: float = 30, start: float = 0, **fields: Any) -> Sequence[Answer]:
    return [
        Answer(outcome, f"said {outcome.value}", at(start + every * number), **fields)
        for number, outcome in enumerate(outcomes)
    ]


def tellings(steps: Sequence[Step]) -> list[Begun | Over]:
    return [one for step in steps for one in step.tellings]


# --- verdicts


def test_three_bad_answers_in_a_row_are_trouble_and_two_good_ones_end_it() -> None:
    steps = follow(a_spec(), a_subject(), *said(GOOD, GOOD, BAD, BAD, GOOD, BAD, BAD, BAD, GOOD, GOOD))

    assert [step.subject.outcome for step in steps] == [NOTHING, *[GOOD] * 6, BAD, BAD, GOOD]
    assert [step.subject.since for step in steps][-3:] == [at(210), at(210), at(270)]
    assert tellings(steps) == [Begun("UNHEALTHY"), Over("UNHEALTHY", "healthy again: said healthy")]


def test_what_cannot_be_asked_is_never_trouble() -> None:
    steps = follow(a_spec(), a_subject(), *said(*[NOTHING] * 50))

    assert tellings(steps) == []
    assert steps[-1].subject.outcome is NOTHING


def test_what_cannot_be_asked_does_not_end_trouble_nor_a_row() -> None:
    steps = follow(a_spec(), a_subject(), *said(BAD, BAD, NOTHING, BAD, NOTHING))

    assert steps[-1].subject.outcome is BAD
    assert tellings(steps) == [Begun("UNHEALTHY")]


def test_more_answers_of_the_same_kind_change_nothing_that_is_written_down() -> None:
    steps = follow(a_spec(), a_subject(), *said(*[GOOD] * 30))

    assert steps[22].subject == steps[29].subject
    assert steps[29].subject.health == HealthState(GOOD, 2, 0)


def test_trouble_that_goes_on_is_told_again_after_a_minute() -> None:
    steps = follow(a_spec(), a_subject(), *said(*[BAD] * 9, every=20))

    assert [bool(step.tellings) for step in steps] == [False, False, True, False, False, True, False, False, True]
    assert {step.subject.told.traceparent for step in steps[2:] if step.subject.told} == {"00-trace"}


def test_trouble_is_told_under_the_name_that_the_check_gives_it() -> None:
    steps = follow(a_spec(issue="SHOP_DOWN"), a_subject(), *said(BAD, BAD, BAD, issue="CRASHED"))

    assert tellings(steps) == [Begun("SHOP_DOWN")]


def test_trouble_that_becomes_another_is_over_and_begins_as_that() -> None:
    first, then = said(BAD, BAD, BAD, issue="CRASHED"), said(BAD, start=90, issue="RESTART_LOOP")

    steps = follow(a_spec(), a_subject(), *first, *then)

    assert tellings(steps) == [
        Begun("CRASHED"),
        Over("CRASHED", "it is RESTART_LOOP now: said unhealthy"),
        Begun("RESTART_LOOP"),
    ]


# --- levels


@pytest.mark.parametrize(
    ("levels", "values", "bad"),
    [
        (Levels(90, 80), [89.9, 90, 85, 80.1, 80, 85, 90], [False, True, True, True, False, False, True]),
        (Levels(90, 90), [90, 90, 89.9], [True, True, False]),
        (Levels(10, 20, below=True), [10.1, 10, 15, 19.9, 20, 15], [False, True, True, True, False, False]),
    ],
)
def test_between_two_levels_a_value_stays_what_it_was(levels: Levels, values: list[float], bad: list[bool]) -> None:
    spec = a_spec(question=PrometheusProbe("", "up"), levels=levels, thresholds=Thresholds(1, 1))
    answers = [
        replace(one, value=value, issue="THRESHOLD") for one, value in zip(said(*[GOOD] * 9), values, strict=False)
    ]

    steps = follow(spec, a_subject(), *answers)

    assert [step.subject.outcome is BAD for step in steps] == bad
    assert {one.issue for one in tellings(steps)} == {"THRESHOLD"}


@given(st.lists(st.floats(0, 100), max_size=40), st.floats(0, 100), st.floats(0, 100))
def test_a_value_that_was_bad_is_bad_until_it_reaches_the_clear_level(
    values: list[float], one: float, other: float
) -> None:
    levels, was_bad = Levels(max(one, other), min(one, other)), False
    for value in values:
        is_bad = levels.is_bad(value, was_bad=was_bad)
        assert is_bad == (value >= levels.raise_at or (was_bad and value > levels.clear_at))
        was_bad = is_bad


# --- grace

REPLICAS = a_spec(question=HttpProbe("http://127.0.0.1:${port}/"), startup_grace=timedelta(seconds=60))


def test_a_slow_start_is_no_trouble() -> None:
    started = said(*[BAD] * 6, every=10, start=5, started_at=NOON)

    steps = follow(REPLICAS, a_subject("shop-0"), *started)

    assert {step.subject.outcome for step in steps} == {NOTHING}
    assert steps[0].subject.last == replace(started[0], outcome=NOTHING, message="does not count yet: said unhealthy")


def test_a_replica_that_does_not_come_up_is_trouble_when_its_grace_is_over() -> None:
    steps = follow(REPLICAS, a_subject("shop-0"), *said(*[BAD] * 9, every=10, start=0, started_at=NOON))

    assert [step.subject.outcome for step in steps] == [NOTHING] * 8 + [BAD]


def test_the_first_good_answer_ends_the_grace() -> None:
    steps = follow(REPLICAS, a_subject("shop-0"), *said(GOOD, GOOD, BAD, BAD, BAD, every=5, started_at=NOON))

    assert steps[-1].subject.outcome is BAD


def test_a_new_life_has_a_grace_of_its_own() -> None:
    before = said(GOOD, GOOD, every=5, started_at=NOON)
    after = said(*[BAD] * 5, every=5, start=300, started_at=at(299))

    steps = follow(REPLICAS, a_subject("shop-0"), *before, *after)

    assert steps[-1].subject.outcome is GOOD
    assert tellings(steps) == []


def test_a_crash_is_trouble_however_young_the_replica_is() -> None:
    steps = follow(REPLICAS, a_subject("shop-0"), *said(BAD, BAD, BAD, every=1, started_at=NOON, is_crash=True))

    assert steps[-1].subject.outcome is BAD


def test_a_replica_whose_start_nobody_knows_is_as_old_as_its_first_look() -> None:
    steps = follow(REPLICAS, a_subject("shop-0"), *said(*[BAD] * 8, every=10, start=0))

    assert steps[5].subject.outcome is NOTHING
    assert follow(REPLICAS, steps[5].subject, *said(BAD, BAD, BAD, start=60))[-1].subject.outcome is BAD


# --- something was done


def test_after_an_action_all_is_counted_from_nothing() -> None:
    broken = follow(a_spec(), a_subject(), *said(BAD, BAD, BAD))[-1].subject

    after = acted_on(broken, until=at(120))

    assert (after.outcome, after.health, after.owes_answer) == (NOTHING, HealthState(), True)
    assert after.told == broken.told


def test_bad_answers_do_not_count_within_the_grace_of_an_action() -> None:
    broken = follow(a_spec(), a_subject(), *said(BAD, BAD, BAD))[-1].subject

    steps = follow(a_spec(), acted_on(broken, until=at(180)), *said(BAD, BAD, BAD, BAD, BAD, BAD, start=90))

    assert [step.subject.outcome for step in steps] == [NOTHING] * 5 + [BAD]


def test_trouble_is_over_only_when_good_answers_have_come_after_the_action() -> None:
    broken = follow(a_spec(), a_subject(), *said(BAD, BAD, BAD))[-1].subject

    steps = follow(a_spec(), acted_on(broken, until=at(180)), *said(NOTHING, GOOD, GOOD, start=90))

    assert [bool(one) for one in (step.subject.owes_answer for step in steps)] == [True, True, False]
    assert [one for step in steps[:2] for one in step.tellings] == [Begun("UNHEALTHY")]  # it still goes on
    assert tellings(steps)[-1] == Over("UNHEALTHY", "healthy again: said healthy")


def test_a_second_action_still_owes_the_answer_to_the_first() -> None:
    broken = follow(a_spec(), a_subject(), *said(BAD, BAD, BAD))[-1].subject

    assert acted_on(acted_on(broken, at(90)), at(120)).owes_answer


# --- restarts

STATE = a_spec(question=StateProbe(restart_limit=3, restart_window=timedelta(minutes=10)), thresholds=Thresholds(1, 1))


def restarted(*counts: int, every: float = 30, start: float = 0) -> list[Answer]:
    answers = said(*[GOOD] * len(counts), every=every, start=start)
    return [replace(one, restarts=count, started_at=NOON) for one, count in zip(answers, counts, strict=True)]


def test_a_replica_that_is_started_again_and_again_is_in_a_loop_though_it_runs() -> None:
    steps = follow(STATE, a_subject("shop-0"), *restarted(5, 6, 6, 7, 8))

    assert [step.subject.outcome for step in steps] == [GOOD, GOOD, GOOD, GOOD, BAD]
    assert tellings(steps) == [Begun("RESTART_LOOP")]
    assert steps[-1].subject.last is not None
    assert steps[-1].subject.last.message == "was started again 3 times within 10 min"


def test_the_loop_is_over_when_its_restarts_are_long_ago() -> None:
    steps = follow(STATE, a_subject("shop-0"), *restarted(0, 3), *restarted(3, start=629), *restarted(3, start=631))

    assert [step.subject.outcome for step in steps] == [GOOD, BAD, BAD, GOOD]


def test_restarts_that_we_asked_for_are_no_loop() -> None:
    looping = follow(STATE, a_subject("shop-0"), *restarted(0, 3))[-1].subject

    steps = follow(STATE, acted_on(looping, until=at(60)), *restarted(4, 4, start=60))

    assert steps[-1].subject.outcome is GOOD


def test_rare_restarts_are_no_loop() -> None:
    steps = follow(STATE, a_subject("shop-0"), *restarted(0, 1, 2, 3, 4, every=400))

    assert {step.subject.outcome for step in steps} == {GOOD}


# --- flapping

QUICK = a_spec(thresholds=Thresholds(1, 1))


def flapping(count: int = 7) -> list[Step]:
    return follow(QUICK, a_subject(), *said(*[GOOD if number % 2 else BAD for number in range(count)]))


def test_while_it_flaps_only_that_is_told() -> None:
    steps = flapping(13)

    assert [change for step in steps for change in step.changes].count(Change.FLAPPING_STARTED) == 1
    begun = next(number for number, step in enumerate(steps) if Begun("FLAPPING") in step.tellings)
    assert {one.issue for one in tellings(steps[begun + 1 :])} <= {"FLAPPING"}
    assert steps[-1].subject.suppressed == 13 - begun - 1


def test_trouble_that_turns_into_flapping_is_over() -> None:
    told = tellings(flapping(8))

    assert told[-1] == Begun("FLAPPING")
    assert sum(isinstance(one, Begun) for one in told) - sum(isinstance(one, Over) for one in told) == 1


def test_when_it_rests_what_it_is_then_is_told_once() -> None:
    steps = follow(QUICK, flapping(8)[-1].subject, *said(*[BAD] * 25, start=240))

    assert [change for step in steps for change in step.changes].count(Change.FLAPPING_STOPPED) == 1
    last = [one for one in tellings(steps) if one != Begun("FLAPPING")][:2]
    assert last == [Over("FLAPPING", "it is UNHEALTHY now: said unhealthy"), Begun("UNHEALTHY")]
    assert steps[-1].subject.suppressed == 0


def test_one_that_is_never_said_to_flap_is_told_each_time() -> None:
    spec = replace(QUICK, flapping=None)

    steps = follow(spec, a_subject(), *said(*[GOOD if number % 2 else BAD for number in range(12)]))

    assert tellings(steps).count(Begun("UNHEALTHY")) == 6


# --- properties

ANSWERS = st.lists(
    st.tuples(st.sampled_from([GOOD, BAD, NOTHING]), st.sampled_from(["", "CRASHED"]), st.booleans()), max_size=60
)


@given(ANSWERS)
def test_trouble_begins_before_it_is_over_and_one_is_told_at_a_time(
    answers: list[tuple[Outcome, str, bool]],
) -> None:
    open_issue, subject = "", a_subject()
    for number, (outcome, issue, is_acted_on) in enumerate(answers):
        answer = Answer(outcome, "said", at(30 * number), issue=issue)
        step = answered(QUICK, acted_on(subject, answer.at) if is_acted_on else subject, answer, answer.at)
        subject = step.subject
        for telling in step.tellings:
            if isinstance(telling, Begun):
                assert open_issue in ("", telling.issue)
                open_issue = telling.issue
            else:
                assert open_issue == telling.issue
                open_issue = ""
            subject = told_now(subject, telling, answer.at)
        assert (subject.told.issue if subject.told else "") == open_issue


@given(ANSWERS)
def test_trouble_is_told_exactly_while_the_verdict_is_bad_or_it_flaps(
    answers: list[tuple[Outcome, str, bool]],
) -> None:
    steps = follow(
        QUICK, a_subject(), *(Answer(one, "said", at(30 * n), issue=i) for n, (one, i, _) in enumerate(answers))
    )

    for step in steps:
        is_told = step.subject.told is not None
        assert is_told == (step.subject.outcome is BAD or step.subject.flap.is_flapping)
