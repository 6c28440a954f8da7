from datetime import timedelta
from typing import Any

import pytest
from fakes.deployments import LIMITS, Play, a_deployment, a_gate, a_pipeline, a_stage, a_step, gate_key, names, step_key

from opsuite_deployer.domain.deployment import PauseReason, Status, StepStatus, follow, stage_status
from opsuite_deployer.domain.errors import IllegalTransition
from opsuite_deployer.domain.parts import parts_left_out
from opsuite_deployer.domain.pipeline import Docker, OnFailure, Retry, SiblingPolicy, Wait
from opsuite_deployer.domain.results import MAX_TAKEOVERS
from opsuite_deployer.domain.turn import (
    Adopted,
    EventKind,
    Outcome,
    PartEnded,
    PreflightEnded,
    RunPart,
    RunPreflight,
    StopPart,
    Verb,
    Wish,
)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def test_a_deployment_with_a_slot_looks_first_whether_everything_is_there() -> None:
    play = Play(a_pipeline())

    assert play.deployment.status is Status.STARTING
    assert play.deployment.holds_slot
    assert play.turn.actions == (RunPreflight(),)


def test_a_failed_preflight_ends_it_before_anything_runs() -> None:
    play = Play(a_pipeline())

    turn = play.take(PreflightEnded(("tool make: is not there", "disk: is full")))

    assert turn.concluded
    assert turn.deployment.ending is Status.FAILED
    assert turn.deployment.failure is not None
    assert turn.deployment.failure.message == "tool make: is not there; disk: is full"
    assert play.started == []


def test_steps_of_a_stage_run_one_after_the_other_and_each_boundary_is_one_turn() -> None:
    play = Play(a_pipeline(a_stage("build", a_step("one"), a_step("two"))))
    play.start()
    assert names(play.started, play.pipeline) == ["one"]

    play.end(step_key(0, 0))

    assert names(play.started, play.pipeline) == ["two"]
    assert [one.kind for one in play.turn.happened] == [EventKind.STEP_ENDED, EventKind.STEP_STARTED]


def test_steps_of_a_parallel_stage_start_together() -> None:
    play = Play(a_pipeline(a_stage("build", a_step("one"), a_step("two"), parallel=True)))

    play.start()

    assert names(play.started, play.pipeline) == ["one", "two"]


def test_a_stage_without_needs_waits_for_the_one_before_it() -> None:
    play = Play(a_pipeline(a_stage("one"), a_stage("two")))
    play.start()
    assert play.started == [step_key(0)]

    play.end(step_key(0))

    assert play.started == [step_key(1)]


def test_stages_overlap_through_needs() -> None:
    play = Play(a_pipeline(a_stage("one"), a_stage("two", needs=()), a_stage("three", needs=("one", "two"))))

    play.start()
    assert play.started == [step_key(0), step_key(1)]
    play.end(step_key(0))
    assert play.started == []
    play.end(step_key(1))

    assert play.started == [step_key(2)]


def test_gates_are_asked_together_when_the_last_step_is_through_and_show_as_verifying() -> None:
    play = Play(a_pipeline(a_stage("deliver", a_step(), gates=(a_gate("a"), a_gate("b")))))
    play.start()

    play.end(step_key())

    assert play.started == [gate_key(0, 0), gate_key(0, 1)]
    assert play.deployment.status is Status.VERIFYING


def test_it_succeeds_when_every_stage_is_through() -> None:
    play = Play(a_pipeline())
    play.start()

    turn = play.end(step_key())

    assert turn.concluded
    assert turn.deployment.ending is Status.SUCCEEDED


def test_a_failed_attempt_is_followed_by_another_after_its_back_off() -> None:
    step = a_step(retry=Retry(attempts=3, backoff=minutes(1), max_backoff=minutes(1.5)))
    play = Play(a_pipeline(a_stage("s", step)))
    play.start()

    turn = play.end(step_key(), Outcome.FAILED)
    assert turn.wake_at == play.now + minutes(1)
    assert play.later(minutes(0.5)).actions == ()
    assert play.later(minutes(0.5)).actions == (RunPart(step_key(), 2),)

    play.end(step_key(), Outcome.FAILED)
    assert play.later(minutes(1.5)).actions == (RunPart(step_key(), 3),)
    turn = play.end(step_key(), Outcome.FAILED)

    assert turn.concluded
    assert turn.deployment.failure is not None
    assert turn.deployment.failure.reason == "STEP_FAILED"


def test_a_step_that_takes_too_long_fails_by_that_name() -> None:
    play = Play(a_pipeline())
    play.start()

    turn = play.end(step_key(), Outcome.TIMED_OUT)

    assert turn.deployment.failure is not None
    assert turn.deployment.failure.reason == "STEP_TIMED_OUT"
    assert turn.deployment.part(step_key()).status is StepStatus.TIMED_OUT


def test_a_failed_gate_fails_the_deployment_with_what_the_checks_said() -> None:
    play = Play(a_pipeline(a_stage("s", a_step(), gates=(a_gate("up"),))))
    play.start()
    play.end(step_key())

    turn = play.end(gate_key(), Outcome.FAILED, message="home: HTTP 503")

    assert turn.concluded
    assert turn.deployment.failure is not None
    assert (turn.deployment.failure.reason, turn.deployment.failure.gate) == ("HEALTH_GATE_FAILED", "up")
    assert "HTTP 503" in turn.deployment.failure.message


def test_a_gate_that_pauses_is_asked_again_when_it_is_resumed() -> None:
    play = Play(a_pipeline(a_stage("s", a_step(), gates=(a_gate(on_failure=OnFailure.PAUSE),))))
    play.start()
    play.end(step_key())

    play.end(gate_key(), Outcome.FAILED)
    assert (play.deployment.status, play.deployment.pause_reason) == (Status.PAUSED, PauseReason.GATE)
    play.take(Wish(Verb.RESUME, "ann"))

    assert play.started == [gate_key()]
    assert play.deployment.part(gate_key()).attempt == 2
    assert play.end(gate_key()).concluded


def test_a_gate_that_continues_leaves_a_warning() -> None:
    play = Play(a_pipeline(a_stage("s", a_step(), gates=(a_gate(on_failure=OnFailure.CONTINUE),))))
    play.start()
    play.end(step_key())

    turn = play.end(gate_key(), Outcome.FAILED)

    assert turn.deployment.ending is Status.SUCCEEDED
    assert turn.deployment.failed_steps == 1
    assert len(turn.deployment.warnings) == 1


def test_a_stage_that_continues_on_failure_goes_on_with_a_count_of_what_failed() -> None:
    play = Play(a_pipeline(a_stage("s", a_step("one"), a_step("two"), continue_on_failure=True)))
    play.start()

    play.end(step_key(0, 0), Outcome.FAILED)
    assert play.started == [step_key(0, 1)]
    turn = play.end(step_key(0, 1))

    assert turn.deployment.ending is Status.SUCCEEDED
    assert turn.deployment.failed_steps == 1
    assert stage_status(turn.deployment, play.pipeline.stages[0], 0) is StepStatus.FAILED_CONTINUED


def test_a_failed_sibling_stops_the_others_when_the_stage_fails_fast() -> None:
    play = Play(a_pipeline(a_stage("s", a_step("one"), a_step("two"), parallel=True)))
    play.start()

    turn = play.end(step_key(0, 0), Outcome.FAILED)
    assert turn.actions == (StopPart(step_key(0, 1)),)
    assert not turn.concluded

    assert play.end(step_key(0, 1), Outcome.CANCELLED).concluded


def test_siblings_run_to_their_end_when_the_stage_waits_for_all() -> None:
    stage = a_stage("s", a_step("one"), a_step("two"), parallel=True, on_sibling_failure=SiblingPolicy.WAIT_ALL)
    play = Play(a_pipeline(stage))
    play.start()

    turn = play.end(step_key(0, 0), Outcome.FAILED)
    assert turn.actions == ()

    turn = play.end(step_key(0, 1))
    assert turn.concluded
    assert turn.deployment.part(step_key(0, 1)).status is StepStatus.SUCCEEDED


def test_a_failure_stops_what_runs_in_other_stages() -> None:
    play = Play(a_pipeline(a_stage("one"), a_stage("two", needs=())))
    play.start()

    turn = play.end(step_key(0), Outcome.FAILED)

    assert turn.actions == (StopPart(step_key(1)),)


def test_cancelling_stops_what_runs_and_starts_nothing_more() -> None:
    play = Play(a_pipeline(a_stage("s", a_step("one"), a_step("two"))))
    play.start()

    turn = play.take(Wish(Verb.CANCEL, "ann", "wrong version"))
    assert turn.actions == (StopPart(step_key(0, 0)),)
    turn = play.end(step_key(0, 0), Outcome.CANCELLED)

    assert turn.concluded
    assert turn.deployment.ending is Status.CANCELLED
    assert turn.deployment.message == "cancelled by ann: wrong version"
    assert play.started == []


def test_a_pause_lets_the_running_step_end_and_starts_nothing_more() -> None:
    play = Play(a_pipeline(a_stage("s", a_step("one"), a_step("two"))))
    play.start()
    play.take(Wish(Verb.PAUSE, "ann"))

    play.end(step_key(0, 0))
    assert play.started == []
    assert play.deployment.status is Status.PAUSED
    play.take(Wish(Verb.RESUME, "ann"))

    assert play.started == [step_key(0, 1)]


def test_a_pause_does_not_count_towards_the_timeout() -> None:
    play = Play(a_pipeline(timeout=minutes(10)))
    play.start()
    play.later(minutes(5), Wish(Verb.PAUSE, "ann"))
    assert play.later(minutes(60)).deployment.ending is None
    play.take(Wish(Verb.RESUME, "ann"))

    assert play.later(minutes(4.9)).deployment.ending is None
    turn = play.later(minutes(0.1))

    assert turn.deployment.ending is Status.TIMED_OUT
    assert turn.deployment.failure is not None
    assert turn.deployment.failure.reason == "DEPLOYMENT_TIMED_OUT"
    assert turn.actions == (StopPart(step_key()),)


def test_max_duration_counts_pauses_as_well() -> None:
    play = Play(a_pipeline(max_duration=minutes(30)))
    play.start()
    play.take(Wish(Verb.PAUSE, "ann"))

    turn = play.later(minutes(30))

    assert turn.deployment.ending is Status.TIMED_OUT
    assert turn.deployment.reason == "DEPLOYMENT_TOO_LONG"


def test_the_server_gives_the_timeout_to_pipelines_that_say_nothing() -> None:
    play = Play(a_pipeline())

    assert play.start().wake_at == play.now + LIMITS.timeout


def test_a_local_step_whose_deployer_died_is_interrupted_and_waits_for_a_person() -> None:
    play = Play(a_pipeline(a_stage("s", a_step("migrate"), a_step("next"))))
    play.start()

    turn = play.take(Adopted())

    assert turn.deployment.part(step_key()).status is StepStatus.INTERRUPTED
    assert (turn.deployment.status, turn.deployment.pause_reason) == (Status.PAUSED, PauseReason.INTERRUPTED)
    assert turn.actions == ()


def test_an_idempotent_local_step_whose_deployer_died_runs_again() -> None:
    play = Play(a_pipeline(a_stage("s", a_step(idempotent=True))))
    play.start()

    turn = play.take(Adopted())

    assert turn.actions == (RunPart(step_key(), 2),)
    assert turn.deployment.status is Status.RUNNING


@pytest.mark.parametrize("kind", [Docker("app:1"), Wait(minutes(1))])
def test_what_outlives_its_deployer_is_found_again_under_the_same_attempt(kind: Any) -> None:
    play = Play(a_pipeline(a_stage("s", a_step(kind=kind))))
    play.start()

    assert play.take(Adopted()).actions == (RunPart(step_key(), 1),)


def test_a_step_that_had_ended_is_not_touched_by_the_next_owner() -> None:
    play = Play(a_pipeline(a_stage("s", a_step("one"), a_step("two", kind=Docker("app:1")))))
    play.start()
    play.end(step_key(0, 0))

    turn = play.take(Adopted())

    assert turn.actions == (RunPart(step_key(0, 1), 1),)


def test_an_interrupted_step_may_run_again() -> None:
    play = Play(a_pipeline())
    play.start()
    play.take(Adopted())

    turn = play.take(Wish(Verb.RETRY_STEP, "ann", key=step_key()))

    assert turn.actions == (RunPart(step_key(), 2),)
    assert turn.deployment.status is Status.RUNNING
    assert turn.deployment.pause_reason is None


def test_an_interrupted_step_may_count_as_done() -> None:
    play = Play(a_pipeline(a_stage("s", a_step("one"), a_step("two"))))
    play.start()
    play.take(Adopted())

    play.take(Wish(Verb.SKIP_STEP, "ann", key=step_key()))

    assert play.deployment.part(step_key()).status is StepStatus.SKIPPED
    assert play.started == [step_key(0, 1)]


def test_two_interrupted_steps_both_have_to_be_decided() -> None:
    play = Play(a_pipeline(a_stage("s", a_step("one"), a_step("two"), parallel=True)))
    play.start()
    play.take(Adopted())

    play.take(Wish(Verb.SKIP_STEP, "ann", key=step_key(0, 0)))
    assert play.deployment.status is Status.PAUSED

    assert play.take(Wish(Verb.SKIP_STEP, "ann", key=step_key(0, 1))).concluded


def test_a_deployment_that_kills_its_owners_is_given_up_and_names_the_step() -> None:
    play = Play(a_pipeline(a_stage("s", a_step("poison", idempotent=True))))
    play.start()

    for _ in range(MAX_TAKEOVERS - 1):
        assert play.take(Adopted()).deployment.ending is None
    turn = play.take(Adopted())

    assert turn.deployment.failure is not None
    assert (turn.deployment.failure.reason, turn.deployment.failure.step) == ("TAKEN_OVER_TOO_OFTEN", "poison")


def test_being_given_up_is_a_failure() -> None:
    play = Play(a_pipeline(a_stage("s", a_step("poison", idempotent=True))))
    play.start()

    for _ in range(MAX_TAKEOVERS):
        play.take(Adopted())

    assert play.deployment.ending is Status.FAILED


def test_owners_that_let_go_in_good_order_do_not_count_against_a_deployment() -> None:
    play = Play(a_pipeline(a_stage("s", a_step("rest", kind=Wait(timedelta(days=1))))))
    play.start()

    for _ in range(2 * MAX_TAKEOVERS):
        play.take(Adopted(given_back=True))

    assert (play.deployment.ending, play.deployment.takeovers) == (None, 0)


def test_a_paused_deployment_outlives_any_number_of_owners() -> None:
    play = Play(a_pipeline(a_stage("s", a_step(), a_step("next"))))
    play.start()
    play.take(Wish(Verb.PAUSE, "ann"))
    play.end(step_key())

    for _ in range(2 * MAX_TAKEOVERS):
        play.take(Adopted())

    assert (play.deployment.status, play.deployment.ending) == (Status.PAUSED, None)


def test_a_late_answer_of_a_decided_attempt_changes_nothing() -> None:
    play = Play(a_pipeline(a_stage("s", a_step(retry=Retry(attempts=2)))))
    play.start()
    play.end(step_key(), Outcome.FAILED)
    before = play.deployment

    assert play.end(step_key(), Outcome.SUCCEEDED).deployment == before


def test_nothing_new_starts_while_the_process_is_about_to_stop() -> None:
    play = Play(a_pipeline(a_stage("s", a_step("one"), a_step("two"))))
    play.start()

    turn = play.take(PartEnded(step_key(0, 0), 1, Outcome.SUCCEEDED), hold=True)

    assert turn.deployment.part(step_key(0, 0)).status is StepStatus.SUCCEEDED
    assert turn.actions == ()
    assert play.take().actions == (RunPart(step_key(0, 1), 1),)


def test_a_rollback_leaves_out_the_steps_that_say_so_and_a_retry_the_stages_that_were_done() -> None:
    pipeline = a_pipeline(a_stage("one", a_step("migrate", skip_on_rollback=True), a_step("run")), a_stage("two"))

    rollback = parts_left_out(pipeline, is_rollback=True)
    retry = parts_left_out(pipeline, is_rollback=False, done=[0])

    assert list(rollback) == [step_key(0, 0)]
    assert list(retry) == [step_key(0, 0), step_key(0, 1)]


def test_terminal_is_terminal() -> None:
    for status in Status:
        for ended in (Status.SUCCEEDED, Status.FAILED, Status.ROLLED_BACK, Status.ROLLBACK_FAILED, Status.CANCELLED):
            if status is not ended:
                with pytest.raises(IllegalTransition):
                    follow(ended, status)


def test_an_ended_deployment_takes_no_more_inputs() -> None:
    play = Play(a_pipeline())
    ended = a_deployment(status=Status.SUCCEEDED)
    play.turn = type(play.turn)(ended)

    turn = play.take(Wish(Verb.CANCEL, "ann"), Adopted())

    assert turn.deployment == ended
    assert turn.happened == ()


def test_a_retry_that_comes_due_in_a_pause_waits_for_the_end_of_the_pause() -> None:
    step = a_step(retry=Retry(attempts=2, backoff=minutes(1), max_backoff=minutes(1)))
    play = Play(a_pipeline(a_stage("s", step)))
    play.start()
    play.end(step_key(), Outcome.FAILED)
    play.take(Wish(Verb.PAUSE, "ann"))

    turn = play.later(minutes(2))
    assert turn.actions == ()
    assert turn.wake_at is None or turn.wake_at > play.now

    assert play.take(Wish(Verb.RESUME, "ann")).actions == (RunPart(step_key(), 2),)


def test_a_retry_that_comes_due_before_a_hand_over_is_left_to_the_next_owner() -> None:
    step = a_step(retry=Retry(attempts=2, backoff=minutes(1), max_backoff=minutes(1)))
    play = Play(a_pipeline(a_stage("s", step)))
    play.start()
    play.end(step_key(), Outcome.FAILED)
    play.now += minutes(2)

    turn = play.take(hold=True)

    assert turn.actions == ()
    assert turn.wake_at is None or turn.wake_at > play.now


def test_what_is_found_again_too_late_is_stopped_and_not_begun() -> None:
    play = Play(a_pipeline(a_stage("s", a_step(kind=Docker("app:1"))), timeout=minutes(1)))
    play.start()

    turn = play.later(minutes(2), Adopted())

    assert turn.actions == (StopPart(step_key()),)
    assert not turn.concluded
    assert play.end(step_key(), Outcome.CANCELLED).concluded


def test_a_container_of_a_cancelled_deployment_is_stopped_by_the_next_owner() -> None:
    play = Play(a_pipeline(a_stage("s", a_step(kind=Docker("app:1")))))
    play.start()
    play.take(Wish(Verb.CANCEL, "ann"))

    turn = play.take(Adopted())

    assert turn.actions == (StopPart(step_key()),)
    assert not turn.concluded
