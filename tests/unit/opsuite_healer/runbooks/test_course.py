"""What an execution does next, as tables over what has become of it; no database, no clock, no actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from fakes.clock import NOON
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.runbooks import wishes
from opsuite_healer.domain.runbooks.course import MOST_RUNS, Act, ConditionFailed, Over, Wait, acted, advance, prepared
from opsuite_healer.domain.runbooks.execution import Answer, Execution, ExecutionStatus, StepStatus, scope_of
from opsuite_healer.domain.runbooks.runbook import (
    Inquiry,
    OnFailure,
    Retry,
    Runbook,
    RunbookStep,
    pause_before,
    with_defaults,
)
from opsuite_kernel.errors import Conflict

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DO = ActionSpec("DO", {"what": "it"})
UNDO = ActionSpec("UNDO")
ASK = Inquiry("Sure?", expires_in=10 * MINUTE)


def always(expression: str, scope: Mapping[str, Any]) -> bool:
    return True


def an_execution(*steps: RunbookStep, **fields: Any) -> Execution:
    runbook = Runbook("fix", steps, max_duration=fields.pop("max_duration", timedelta(hours=1)))
    return Execution("e", runbook, "k", {}, None, "ada", NOON, steps[0].name, **fields)


def ended_try(execution: Execution, now: datetime, *, is_done: bool, is_final: bool = False) -> Execution:
    """Let the present try end."""
    begun = prepared(execution, {})
    return acted(begun, is_done=is_done, is_final=is_final, message="m", facts={}, now=now)


def test_an_action_gets_the_time_of_its_step_but_never_more_than_is_left() -> None:
    execution = an_execution(RunbookStep("a", DO, timeout=10 * MINUTE), max_duration=15 * MINUTE)

    _, at_first = advance(execution, NOON, always)
    _, later = advance(execution, NOON + 10 * MINUTE, always)

    assert isinstance(at_first, Act)
    assert isinstance(later, Act)
    assert (at_first.timeout, later.timeout) == (10 * MINUTE, 5 * MINUTE)


@pytest.mark.parametrize(("attempt", "expected"), [(2, 10), (3, 20), (4, 40), (5, 80), (6, 100), (7, 100)])
def test_pauses_between_tries_double_up_to_the_longest(attempt: int, expected: int) -> None:
    assert pause_before(Retry(9, 10 * SECOND, 100 * SECOND), attempt) == expected * SECOND


def test_a_failed_try_waits_before_the_next_one_which_has_a_number_of_its_own() -> None:
    execution, _ = advance(an_execution(RunbookStep("a", DO, retry=Retry(3, MINUTE))), NOON, always)
    execution = ended_try(execution, NOON, is_done=False)

    assert advance(execution, NOON + 59 * SECOND, always)[1] == Wait(NOON + MINUTE)
    execution, move = advance(execution, NOON + MINUTE, always)
    assert isinstance(move, Act)
    assert (move.run.attempt, move.run.before) == (2, None)


@pytest.mark.parametrize(
    ("on_failure", "goto", "cursor", "status"),
    [
        (OnFailure.ABORT, "", "a", ExecutionStatus.FAILED),
        (OnFailure.ESCALATE, "", "a", ExecutionStatus.FAILED),
        (OnFailure.CONTINUE, "", "b", ExecutionStatus.RUNNING),
        (OnFailure.GOTO, "c", "c", ExecutionStatus.RUNNING),
    ],
)
def test_what_follows_a_failure(on_failure: OnFailure, goto: str, cursor: str, status: ExecutionStatus) -> None:
    steps = RunbookStep("a", DO, on_failure=on_failure, goto=goto), RunbookStep("b", DO), RunbookStep("c", DO)
    execution, _ = advance(an_execution(*steps), NOON, always)

    after, _ = advance(ended_try(execution, NOON, is_done=False), NOON, always)

    assert (after.status, after.is_escalated) == (status, on_failure is OnFailure.ESCALATE)
    assert after.runs[-1].step == cursor


def test_a_question_waits_for_its_answer_until_it_expires_or_the_execution_does() -> None:
    asking, move = advance(an_execution(RunbookStep("a", inquiry=ASK)), NOON, always)
    shorter, sooner = advance(an_execution(RunbookStep("a", inquiry=ASK), max_duration=MINUTE), NOON, always)

    assert (asking.status, move, sooner) == (
        ExecutionStatus.WAITING,
        Wait(NOON + 10 * MINUTE),
        Wait(NOON + MINUTE),
    )
    assert advance(asking, NOON + 10 * MINUTE, always)[0].reason == "STEP_FAILED"
    assert advance(shorter, NOON + MINUTE, always)[0].reason == "TIMED_OUT"


def test_paused_time_counts_for_no_question_and_no_pause_between_tries_but_for_the_whole() -> None:
    execution = an_execution(RunbookStep("a", inquiry=ASK), max_duration=timedelta(hours=1))
    asking, _ = advance(execution, NOON, always)
    paused, move = advance(wishes.pause(asking), NOON + MINUTE, always)

    resumed = wishes.resume(paused, NOON + 31 * MINUTE)

    assert (paused.status, move) == (ExecutionStatus.PAUSED, Wait(NOON + timedelta(hours=1)))
    assert resumed.status is ExecutionStatus.WAITING
    assert advance(resumed, NOON + 31 * MINUTE, always)[1] == Wait(NOON + 40 * MINUTE)
    assert advance(paused, NOON + timedelta(hours=1), always)[0].reason == "TIMED_OUT"


def test_an_answer_given_in_a_pause_is_heard_when_it_is_over() -> None:
    asking, _ = advance(an_execution(RunbookStep("a", DO, ASK)), NOON, always)
    paused, _ = advance(wishes.pause(asking), NOON, always)
    answered = wishes.respond(paused, "a", Answer("bob", is_approved=True), NOON)

    assert isinstance(advance(answered, NOON, always)[1], Wait)
    assert isinstance(advance(wishes.resume(answered, NOON), NOON, always)[1], Act)


def test_what_was_cut_short_after_it_had_begun_is_taken_back_and_what_had_not_is_not() -> None:
    steps = RunbookStep("a", DO, compensate=UNDO), RunbookStep("b", DO, compensate=UNDO)
    execution, _ = advance(an_execution(*steps), NOON, always)
    execution, _ = advance(ended_try(execution, NOON, is_done=True), NOON, always)

    not_begun, _ = advance(wishes.cancel(execution, "ada", "", NOON), NOON, always)
    begun, _ = advance(wishes.cancel(prepared(execution, {}), "ada", "", NOON), NOON, always)

    assert (not_begun.runs[-1].step, begun.runs[-1].step) == ("a", "b")
    assert {not_begun.status, begun.status} == {ExecutionStatus.COMPENSATING}


def test_compensations_run_though_the_time_is_over() -> None:
    steps = RunbookStep("a", DO, compensate=UNDO), RunbookStep("b", inquiry=ASK)
    execution, _ = advance(an_execution(*steps, max_duration=MINUTE), NOON, always)
    execution, _ = advance(ended_try(execution, NOON, is_done=True), NOON, always)

    late, move = advance(execution, NOON + timedelta(hours=2), always)

    assert isinstance(move, Act)
    assert (late.reason, move.run.spec, move.run.compensates) == ("TIMED_OUT", UNDO, 0)
    over, end = advance(ended_try(late, NOON + timedelta(hours=2), is_done=True), NOON + timedelta(hours=3), always)
    assert (over.status, end) == (ExecutionStatus.FAILED, Over())


def test_a_condition_decides_and_one_that_cannot_be_judged_fails_the_step() -> None:
    def judged(expression: str, scope: Mapping[str, Any]) -> bool:
        if expression == "?":
            raise ConditionFailed("nobody knows")
        return expression == "yes"

    steps = RunbookStep("a", DO, when="no"), RunbookStep("b", DO, when="?", on_failure=OnFailure.CONTINUE)
    execution, move = advance(an_execution(*steps, RunbookStep("c", DO, when="yes")), NOON, judged)

    assert [run.status for run in execution.runs] == [StepStatus.SKIPPED, StepStatus.FAILED, StepStatus.RUNNING]
    assert isinstance(move, Act)


@pytest.mark.parametrize("wish", [wishes.pause, lambda execution: wishes.cancel(execution, "ada", "", NOON)])
def test_what_goes_back_already_is_left_alone(wish: Any) -> None:
    execution, _ = advance(an_execution(RunbookStep("a", DO, compensate=UNDO), RunbookStep("b", DO)), NOON, always)
    execution, _ = advance(ended_try(execution, NOON, is_done=True), NOON, always)
    back, _ = advance(ended_try(execution, NOON, is_done=False), NOON, always)

    with pytest.raises(Conflict) as refused:
        wish(back)

    assert refused.value.reason == "EXECUTION_COMPENSATING"


def test_the_scope_knows_what_became_of_steps_and_what_people_told() -> None:
    steps = RunbookStep("a", DO, ASK), RunbookStep("b", DO)
    asking, _ = advance(an_execution(*steps), NOON, always)
    told = wishes.respond(asking, "a", Answer("bob", is_approved=True), NOON)
    answer = Answer("bob", is_approved=True, values={"size": "m"})
    begun, _ = advance(told.with_last(answer=answer), NOON, always)

    scope = scope_of(acted(prepared(begun, {}), is_done=True, is_final=False, message="", facts={"x": "1"}, now=NOON))

    assert scope["steps"]["a"] == {
        "status": "SUCCEEDED",
        "message": "",
        "facts": {"x": "1"},
        "answers": {"size": "m"},
    }
    assert scope["answers"] == {"a": {"size": "m"}}


def test_parameters_that_nobody_told_are_their_defaults() -> None:
    assert with_defaults(Runbook("fix", ()), {"x": "1"}) == {}


# --- whatever happens ------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
STEPS = st.builds(
    RunbookStep,
    name=st.just("a"),
    action=st.sampled_from([DO, None]),
    inquiry=st.sampled_from([None, ASK]),
    retry=st.builds(Retry, attempts=st.integers(1, 3), delay=st.just(MINUTE)),
    on_failure=st.sampled_from(OnFailure),
    goto=st.sampled_from(NAMES),
    compensate=st.sampled_from([None, UNDO]),
)
WORLD = st.lists(
    st.sampled_from(["done", "failed", "refused", "approve", "reject", "wait", "pause", "resume", "cancel"]),
    max_size=60,
)


@given(st.tuples(STEPS, STEPS, STEPS), WORLD)
def test_whatever_happens_it_comes_to_an_end_and_takes_back_each_thing_once(
    steps: tuple[RunbookStep, ...], world: list[str]
) -> None:
    named = (replace(step, name=name) for step, name in zip(steps, NAMES, strict=True))
    execution, now = an_execution(*named), NOON
    for event in [*world, *(["resume", "wait", "wait"] * (2 * MOST_RUNS))]:
        execution, move = advance(execution, now, always)
        if isinstance(move, Over):
            break
        execution, now = _lived(execution, move, event, now)

    assert execution.is_over
    assert not any(run.is_open for run in execution.runs)
    taken_back = [run.compensates for run in execution.runs if run.compensates is not None]
    assert len(taken_back) == len(set(taken_back))
    assert taken_back == sorted(taken_back, reverse=True)
    if execution.status is ExecutionStatus.SUCCEEDED:
        assert not taken_back


def _lived(execution: Execution, move: Act | Wait, event: str, now: datetime) -> tuple[Execution, datetime]:
    """One event of the world; what does not fit the moment lets time pass instead."""
    run = execution.runs[-1]
    if isinstance(move, Act) and event in {"done", "failed", "refused", "wait"}:
        is_done = event in {"done", "wait"}
        return ended_try(execution, now, is_done=is_done, is_final=event == "refused"), now + SECOND
    try:
        match event:
            case "approve" | "reject":
                return wishes.respond(execution, run.step, Answer("bob", event == "approve"), now), now
            case "pause":
                return wishes.pause(execution), now
            case "resume":
                return wishes.resume(execution, now), now
            case "cancel":
                return wishes.cancel(execution, "ada", "", now), now
    except Conflict:
        pass
    return execution, max(now, move.until) if isinstance(move, Wait) else now
