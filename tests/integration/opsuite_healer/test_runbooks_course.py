"""Runbooks over real gRPC and a real database: every way that a step can go, and what follows."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fakes.healer_runbooks import (
    DONE,
    FAILED,
    INCIDENT,
    REFUSED,
    RunbookStage,
    runbook_stage,
    stand,
    statuses,
    step,
    undo,
)
from google.protobuf import json_format

from opsuite.healer.v1 import runbook_pb2
from opsuite.healer.v1 import runbook_service_pb2 as pb
from opsuite_healer.application.actions import ActionOutcome, ActionResult
from opsuite_healer.application.runbook_runner import RunbookCall, RunbookState
from opsuite_kernel.errors import Conflict, Denied, InvalidInput, NotFound, Unavailable

NOW_S = {"delay": "0s"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[RunbookStage]:
    with tempfile.TemporaryDirectory(prefix="opsuite-") as place:
        async with runbook_stage(Path(place)) as stage:
            yield stage


@pytest.fixture
def stage(served: RunbookStage, request: pytest.FixtureRequest) -> RunbookStage:
    """The one healer of this file, with nothing left of the test before."""
    for what in (served.actions.answers, served.actions.unprepared, served.actions.held):
        what.clear()
    for told in (served.actions.taken, served.actions.cut_short, served.actions.calls, served.book.notes):
        told.clear()
    served.book.escalations.clear()
    return served


async def run(stage: RunbookStage, name: str, *steps: dict[str, Any], **fields: Any) -> runbook_pb2.Execution:
    """Execute a new runbook to its end."""
    await stage.create(*steps, name=name)
    return await stage.ended(await stage.execute(name, **fields))


async def test_steps_run_in_their_order(stage: RunbookStage) -> None:
    ended = await run(stage, "order", step("one"), step("two"), step("three"))

    assert (stand(ended), stage.actions.taken) == ("SUCCEEDED", ["one", "two", "three"])
    assert statuses(ended) == [("one", "SUCCEEDED"), ("two", "SUCCEEDED"), ("three", "SUCCEEDED")]
    assert ended.HasField("end_time")


# --- on_failure ------------------------------------------------------------------------------------------------------


async def test_abort_takes_back_what_succeeded_in_reverse_order(stage: RunbookStage) -> None:
    stage.actions.answers["three"] = [FAILED]

    ended = await run(
        stage,
        "abort",
        step("one", compensate=undo("one")),
        step("two", compensate=undo("two")),
        step("three", compensate=undo("three")),
        step("four"),
    )

    assert (stand(ended), ended.reason, ended.message) == ("FAILED", "STEP_FAILED", "three: it failed")
    assert stage.actions.taken == ["one", "two", "three", "undo two", "undo one"]
    assert statuses(ended)[2:] == [("three", "FAILED"), ("undo two", "SUCCEEDED"), ("undo one", "SUCCEEDED")]


async def test_continue_goes_on_with_the_next_step(stage: RunbookStage) -> None:
    stage.actions.answers["one"] = [FAILED]

    ended = await run(stage, "continue", step("one", onFailure="ON_FAILURE_CONTINUE"), step("two"))

    assert (stand(ended), statuses(ended)) == ("SUCCEEDED", [("one", "FAILED"), ("two", "SUCCEEDED")])


async def test_goto_goes_on_where_it_says(stage: RunbookStage) -> None:
    stage.actions.answers["one"] = [FAILED]

    ended = await run(
        stage, "goto", step("one", onFailure="ON_FAILURE_GOTO", gotoStep="three"), step("two"), step("three")
    )

    assert (stand(ended), stage.actions.taken) == ("SUCCEEDED", ["one", "three"])


async def test_goto_may_go_back_until_it_works(stage: RunbookStage) -> None:
    stage.actions.answers["check"] = [FAILED, FAILED, DONE]

    ended = await run(stage, "back", step("mend"), step("check", onFailure="ON_FAILURE_GOTO", gotoStep="mend"))

    assert (stand(ended), stage.actions.taken) == ("SUCCEEDED", ["mend", "check"] * 3)


async def test_what_goes_back_for_ever_comes_to_an_end(stage: RunbookStage) -> None:
    stage.actions.answers["loop"] = [FAILED]

    ended = await run(stage, "loop", step("loop", onFailure="ON_FAILURE_GOTO", gotoStep="loop"))

    assert (stand(ended), ended.reason, len(ended.steps)) == ("FAILED", "TOO_MANY_STEPS", 300)


async def test_escalate_tells_a_person_by_the_incident_and_aborts(stage: RunbookStage) -> None:
    stage.actions.answers["two"] = [REFUSED]

    ended = await run(
        stage,
        "escalate",
        step("one", compensate=undo("one")),
        step("two", onFailure="ON_FAILURE_ESCALATE"),
        incident=INCIDENT,
    )

    assert (stand(ended), stage.actions.taken) == ("FAILED", ["one", "two", "undo one"])
    assert stage.book.escalations == [f"{ended.name}: two: never"]
    assert stage.book.notes == ["runbooks/escalate begins", "runbooks/escalate failed: two: never"]


async def test_a_compensation_that_fails_is_told_and_the_others_still_run(stage: RunbookStage) -> None:
    stage.actions.answers |= {"three": [FAILED], "undo two": [FAILED]}

    ended = await run(
        stage,
        "worse",
        step("one", compensate=undo("one")),
        step("two", compensate=undo("two")),
        step("three"),
        incident=INCIDENT,
    )

    assert statuses(ended)[3:] == [("undo two", "FAILED"), ("undo one", "SUCCEEDED")]
    assert ended.message == "three: it failed; two could not be taken back: it failed"
    assert len(stage.book.escalations) == 1


# --- retry, conditions, templates ------------------------------------------------------------------------------------


async def test_an_action_is_tried_as_often_as_it_may_each_time_under_another_key(stage: RunbookStage) -> None:
    stage.actions.answers["one"] = [FAILED, FAILED, DONE]

    ended = await run(stage, "retry", step("one", retry={"attempts": 3} | NOW_S))

    assert (stand(ended), ended.steps[0].attempts) == ("SUCCEEDED", 3)
    assert len({call.key for call in stage.actions.calls}) == 3


async def test_what_is_refused_for_good_is_not_tried_again(stage: RunbookStage) -> None:
    stage.actions.answers["one"] = [REFUSED]

    ended = await run(stage, "refused", step("one", retry={"attempts": 3} | NOW_S))

    assert (stand(ended), stage.actions.taken) == ("FAILED", ["one"])


@pytest.mark.parametrize(
    ("name", "error"), [("gone", NotFound("workload", "shop")), ("taken", Conflict("it is taken"))]
)
async def test_an_action_that_cannot_be_prepared_is_refused_before_it_begins(
    stage: RunbookStage, name: str, error: NotFound
) -> None:
    stage.actions.unprepared["one"] = error

    ended = await run(stage, name, step("one", retry={"attempts": 3} | NOW_S))

    assert (stand(ended), stage.actions.taken, ended.steps[0].message) == ("FAILED", [], error.message)


async def test_what_is_away_while_an_action_is_prepared_is_asked_again(stage: RunbookStage) -> None:
    stage.actions.unprepared["one"] = Unavailable("it is away")

    ended = await run(stage, "away", step("one", retry={"attempts": 3} | NOW_S))

    assert (stand(ended), ended.steps[0].attempts) == ("FAILED", 3)


async def test_a_step_whose_condition_is_false_is_skipped(stage: RunbookStage) -> None:
    stage.actions.answers["look"] = [ActionResult(ActionOutcome.DONE, "", {"code": "3"})]

    ended = await run(
        stage,
        "when",
        step("look"),
        step("mend", when='steps.look.facts.code == "4"'),
        step("other", when='steps.look.facts.code == "3" && target.workload == "shop"'),
        target={"platform": "process", "workload": "shop"},
    )

    assert statuses(ended) == [("look", "SUCCEEDED"), ("mend", "SKIPPED"), ("other", "SUCCEEDED")]


async def test_a_condition_that_cannot_be_judged_is_a_failure(stage: RunbookStage) -> None:
    ended = await run(stage, "unjudged", step("one", when='steps.two.status == "FAILED"'), step("two"))

    assert (stand(ended), stage.actions.taken) == ("FAILED", [])
    assert "its condition cannot be judged" in ended.message


async def test_parameters_are_filled_in_when_their_step_begins(stage: RunbookStage) -> None:
    stage.actions.answers["look"] = [ActionResult(ActionOutcome.DONE, "", {"path.of": "/var/log"})]
    filled_in = {"kind": "STAGE", "params": {"name": "clear ${steps.look.facts.path.of} of ${params.host}"}}
    await stage.create(
        step("look"),
        {"name": "clear", "action": filled_in},
        name="filled",
        parameters=[{"name": "host", "required": True}, {"name": "other", "defaultValue": "x"}],
    )

    ended = await stage.ended(await stage.execute("filled", params={"host": "web-1"}))

    assert (stand(ended), stage.actions.taken[-1]) == ("SUCCEEDED", "clear /var/log of web-1")
    assert dict(ended.params) == {"host": "web-1", "other": "x"}


async def test_what_refers_to_nothing_is_a_failure_of_its_step(stage: RunbookStage) -> None:
    filled_in = {"kind": "STAGE", "params": {"name": "${steps.look.facts.nothing}"}}

    ended = await run(stage, "unfilled", step("look"), {"name": "clear", "action": filled_in})

    assert (stand(ended), stage.actions.taken) == ("FAILED", ["look"])


async def test_an_execution_that_takes_too_long_is_ended_and_taken_back(stage: RunbookStage) -> None:
    stage.actions.answers["two"] = [FAILED]
    await stage.create(
        step("one", compensate=undo("one")),
        step("two", retry={"attempts": 9, "delay": "60s"}),
        name="long",
        maxDuration="1s",
    )

    ended = await stage.ended(await stage.execute("long"))

    assert (stand(ended), ended.reason) == ("FAILED", "TIMED_OUT")
    assert stage.actions.taken == ["one", "two", "undo one"]


# --- people ----------------------------------------------------------------------------------------------------------

ASK: dict[str, Any] = {
    "question": "Which size?",
    "fields": [{"name": "size", "required": True, "choices": ["s", "m"]}, {"name": "note"}],
}


async def answer(stage: RunbookStage, execution: str, step_name: str, **fields: Any) -> runbook_pb2.Execution:
    form = {"name": execution, "step": step_name, **fields}
    answered: pb.RespondInquiryResponse = await stage.server.RespondInquiry(
        json_format.ParseDict(form, pb.RespondInquiryRequest())
    )
    return answered.execution


async def test_an_approval_lets_the_step_go_on_with_what_was_told(stage: RunbookStage) -> None:
    sized = {"kind": "STAGE", "params": {"name": "size ${answers.grow.size}"}}
    await stage.create({"name": "grow", "inquiry": ASK, "action": sized}, name="ask")
    name = await stage.execute("ask")
    waiting = await stage.until(name, "WAITING")

    await answer(stage, name, "grow", approved=True, answers={"size": "m"}, comment="go")
    ended = await stage.ended(name)

    assert waiting.steps[0].inquiry.question == "Which size?"
    assert (stand(ended), stage.actions.taken) == ("SUCCEEDED", ["size m"])
    assert (ended.steps[0].inquiry.answered_by, ended.steps[0].inquiry.comment) == ("local", "go")


async def test_a_rejection_is_a_failure_of_the_step(stage: RunbookStage) -> None:
    await stage.create(step("grow", inquiry=ASK), name="reject")
    name = await stage.execute("reject")
    await stage.until(name, "WAITING")

    await answer(stage, name, "grow", approved=False, comment="not today")
    ended = await stage.ended(name)

    assert (stand(ended), stage.actions.taken) == ("FAILED", [])
    assert ended.message == "grow: local has rejected it: not today"


async def test_a_question_that_nobody_answers_is_a_failure_of_the_step(stage: RunbookStage) -> None:
    ended = await run(
        stage,
        "expire",
        step("grow", inquiry=ASK | {"expiresIn": "1s"}, onFailure="ON_FAILURE_ESCALATE"),
        incident=INCIDENT,
    )

    assert (stand(ended), ended.message) == ("FAILED", "grow: nobody has answered in time")
    assert len(stage.book.escalations) == 1


async def test_wrong_answers_are_told_all_at_once_and_the_question_stays(stage: RunbookStage) -> None:
    await stage.create(step("grow", inquiry=ASK), name="wrong")
    name = await stage.execute("wrong")
    await stage.until(name, "WAITING")

    with pytest.raises(InvalidInput) as refused:
        await answer(stage, name, "grow", approved=True, answers={"size": "xl", "colour": "red"})

    assert {one.field for one in refused.value.violations} == {'answers["size"]', 'answers["colour"]'}
    assert stand(await stage.get(name)) == "WAITING"


async def test_who_has_started_it_may_be_kept_from_answering(stage: RunbookStage) -> None:
    await stage.create(step("grow", inquiry=ASK | {"notRequester": True}), name="four-eyes")
    name = await stage.execute("four-eyes")
    await stage.until(name, "WAITING")

    with pytest.raises(Denied) as refused:
        await answer(stage, name, "grow", approved=True, answers={"size": "m"})

    assert refused.value.reason == "REQUESTER_MAY_NOT_ANSWER"


async def test_a_question_is_answered_once(stage: RunbookStage) -> None:
    await stage.create({"name": "sure", "inquiry": {"question": "Sure?"}}, step("two"), name="once")
    name = await stage.execute("once")
    await stage.until(name, "WAITING")
    await answer(stage, name, "sure", approved=True)

    with pytest.raises(Conflict) as refused:
        await answer(stage, name, "sure", approved=True)

    assert refused.value.reason == "NO_INQUIRY"
    assert stand(await stage.ended(name)) == "SUCCEEDED"


async def test_a_pause_lets_the_action_end_and_holds_the_next_step_until_it_is_resumed(stage: RunbookStage) -> None:
    stage.actions.held["one"] = asyncio.Event()
    await stage.create(step("one"), step("two"), name="pause")
    name = await stage.execute("pause")
    while not stage.actions.taken:  # noqa: ASYNC110 - the action begins by itself
        await asyncio.sleep(0.005)

    paused: pb.PauseExecutionResponse = await stage.server.PauseExecution(pb.PauseExecutionRequest(name=name))
    stage.actions.held["one"].set()
    stands = await stage.until(name, "PAUSED")
    assert (paused.execution.pause_wanted, stage.actions.taken) == (True, ["one"])
    await stage.server.ResumeExecution(pb.ResumeExecutionRequest(name=name, etag=stands.etag))

    assert (stand(await stage.ended(name)), stage.actions.taken) == ("SUCCEEDED", ["one", "two"])


async def test_a_paused_question_can_be_answered_and_goes_on_when_it_is_resumed(stage: RunbookStage) -> None:
    await stage.create(step("grow", inquiry={"question": "Sure?"}), name="pause-ask")
    name = await stage.execute("pause-ask")
    await stage.until(name, "WAITING")
    await stage.server.PauseExecution(pb.PauseExecutionRequest(name=name))
    await stage.until(name, "PAUSED")

    await answer(stage, name, "grow", approved=True)
    assert stand(await stage.get(name)) == "PAUSED"
    await stage.server.ResumeExecution(pb.ResumeExecutionRequest(name=name))

    assert stand(await stage.ended(name)) == "SUCCEEDED"


async def test_a_cancelled_action_is_cut_short_and_taken_back(stage: RunbookStage) -> None:
    stage.actions.held["two"] = asyncio.Event()
    await stage.create(step("one", compensate=undo("one")), step("two", compensate=undo("two")), name="cancel")
    name = await stage.execute("cancel")
    while "two" not in stage.actions.taken:  # noqa: ASYNC110 - the action begins by itself
        await asyncio.sleep(0.005)

    await stage.server.CancelExecution(pb.CancelExecutionRequest(name=name, reason="enough"))
    ended = await stage.ended(name)

    assert (stand(ended), ended.message) == ("CANCELLED", "local has cancelled it: enough")
    assert stage.actions.cut_short == ["two"]
    assert stage.actions.taken == ["one", "two", "undo two", "undo one"]
    assert statuses(ended)[1] == ("two", "CANCELLED")


async def test_what_is_over_can_neither_be_paused_nor_resumed_nor_cancelled(stage: RunbookStage) -> None:
    ended = await run(stage, "over", step("one"))

    for call, request, reason in (
        (stage.server.PauseExecution, pb.PauseExecutionRequest(name=ended.name), "EXECUTION_OVER"),
        (stage.server.CancelExecution, pb.CancelExecutionRequest(name=ended.name), "EXECUTION_OVER"),
        (stage.server.ResumeExecution, pb.ResumeExecutionRequest(name=ended.name), "EXECUTION_NOT_PAUSED"),
    ):
        with pytest.raises(Conflict) as refused:
            await call(request)
        assert refused.value.reason == reason


async def test_a_repeated_call_does_what_it_asks_for_once(stage: RunbookStage) -> None:
    await stage.create(step("one"), name="repeat")
    request_id = "11111111-1111-4111-8111-111111111111"

    names = [await stage.execute("repeat", requestId=request_id) for _ in range(2)]
    await stage.ended(names[0])

    assert names[0] == names[1]
    assert stage.actions.taken == ["one"]


async def test_other_parts_begin_an_execution_once_for_each_key(stage: RunbookStage) -> None:
    await stage.create(step("one"), name="runner")
    call = RunbookCall("key-1", "runner", {}, None, "remediations/1", INCIDENT)

    names = [await stage.built.runner.start(call) for _ in range(2)]
    ended = await stage.ended(names[0])

    assert names[0] == names[1]
    assert (ended.started_by, await stage.built.runner.state(names[0])) == (
        "remediations/1",
        (RunbookState.SUCCEEDED, ""),
    )
    assert (ended.target.workload, stage.actions.calls[0].incident) == ("shop", INCIDENT)


async def test_a_runbook_that_is_changed_does_not_change_what_has_begun(stage: RunbookStage) -> None:
    stage.actions.held["one"] = asyncio.Event()
    made = await stage.create(step("one"), step("two"), name="changed")
    name = await stage.execute("changed")
    changed = runbook_pb2.Runbook()
    changed.CopyFrom(made)
    del changed.steps[1]

    updated: pb.UpdateRunbookResponse = await stage.server.UpdateRunbook(pb.UpdateRunbookRequest(runbook=changed))
    stage.actions.held["one"].set()

    assert (len(updated.runbook.steps), updated.runbook.etag != made.etag) == (1, True)
    assert [one.step for one in (await stage.ended(name)).steps] == ["one", "two"]


async def test_a_watch_goes_on_after_its_token_without_a_gap(stage: RunbookStage) -> None:
    await stage.create({"name": "sure", "inquiry": {"question": "Sure?"}}, step("two"), name="watch")
    name = await stage.execute("watch")
    await stage.until(name, "WAITING")
    call = stage.server.WatchExecution(pb.WatchExecutionRequest(name=name))
    first = await anext(aiter(call))
    call.cancel()
    await answer(stage, name, "sure", approved=True)

    revisions: list[int] = []
    resumed = pb.WatchExecutionRequest(name=name, resume_token=first.resume_token)
    async for told in stage.server.WatchExecution(resumed):
        revisions += [event.revision for event in told.events]

    assert revisions == list(range(revisions[0], revisions[-1] + 1))
    assert first.snapshot.status == runbook_pb2.EXECUTION_STATUS_WAITING


async def test_what_an_execution_has_begun_is_cancelled_with_it(stage: RunbookStage) -> None:
    await stage.create({"name": "sure", "inquiry": {"question": "Sure?"}}, name="family")
    parent = await stage.execute("family")
    child = await stage.built.runner.start(RunbookCall("child-1", "family", {}, None, parent))
    for name in (parent, child):
        await stage.until(name, "WAITING")

    await stage.server.CancelExecution(pb.CancelExecutionRequest(name=parent))

    assert [stand(await stage.ended(name)) for name in (parent, child)] == ["CANCELLED", "CANCELLED"]


async def test_runbooks_that_run_one_another_come_to_an_end(stage: RunbookStage) -> None:
    await stage.create({"name": "sure", "inquiry": {"question": "Sure?"}}, name="deep")
    actor = "ada"
    for depth in range(5):
        actor = await stage.built.runner.start(RunbookCall(f"deep-{depth}", "deep", {}, None, actor))

    with pytest.raises(Conflict) as refused:
        await stage.built.runner.start(RunbookCall("deep-5", "deep", {}, None, actor))

    assert refused.value.reason == "RUNBOOKS_TOO_DEEP"


async def test_steps_stand_in_the_trace_of_whoever_began_the_execution(stage: RunbookStage) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    await stage.create(step("one"), name="traced")
    request = pb.ExecuteRunbookRequest(name="runbooks/traced")
    begun: pb.ExecuteRunbookResponse = await stage.server.ExecuteRunbook(
        request, metadata=(("traceparent", f"00-{trace}-00f067aa0ba902b7-01"),)
    )

    ended = await stage.ended(begun.execution.name)

    assert ended.trace_id == trace
    _, of_step, span, _ = stage.actions.calls[0].traceparent.split("-")
    assert (of_step, span != "00f067aa0ba902b7") == (trace, True)


async def test_executions_that_are_over_for_long_are_forgotten_with_their_events(stage: RunbookStage) -> None:
    old = await run(stage, "old", step("one"))
    await stage.create({"name": "sure", "inquiry": {"question": "Sure?"}}, name="young")
    young = await stage.execute("young")
    await stage.until(young, "WAITING")

    for tidy in stage.built.part.tidy:
        await tidy(datetime.now(UTC) + timedelta(days=91))

    assert stand(await stage.get(young)) == "WAITING"
    with pytest.raises(NotFound):
        await stage.get(old.name)
