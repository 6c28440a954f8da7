"""Hooks among the stages of a deployment: when they run, what their failure means, and what a crash makes of them."""

from datetime import timedelta
from typing import Any

import pytest
from fakes.deployments import Play, a_pipeline, a_stage, a_step

from opsuite_deployer.domain.deployment import PartKey, PartKind, PartRun, PauseReason, Status, StepStatus
from opsuite_deployer.domain.hook_points import HookPoint, Moment, Phase
from opsuite_deployer.domain.hooks import field_of, to_repeat, usual_failure, woven
from opsuite_deployer.domain.pipeline import Docker, Hook, OnFailure, Pipeline, Retry, Stage, Webhook
from opsuite_deployer.domain.rollback import conclude
from opsuite_deployer.domain.turn import Adopted, Outcome, PartEnded, RunPart, StopPart, Verb, Wish

CALL = Webhook("http://127.0.0.1/")


def before(phase: Phase, name: str = "first", *, stage: str = "", **step: Any) -> Hook:
    return a_hook(HookPoint(Moment.BEFORE, phase), name, stage, step)


def after(phase: Phase, name: str = "last", *, stage: str = "", **step: Any) -> Hook:
    return a_hook(HookPoint(Moment.AFTER, phase), name, stage, step)


def a_hook(point: HookPoint, name: str, stage: str, step: dict[str, Any]) -> Hook:
    return Hook(point, a_step(name, **{"on_failure": usual_failure(point), **step}), stage)


def hooked(*hooks: Hook, stages: tuple[Stage, ...] = (), **changes: Any) -> Pipeline:
    return woven(a_pipeline(*(stages or (a_stage("web"),)), hooks=hooks, **changes))


def key_of(play: Play, stage: str, position: int = 0) -> PartKey:
    index = next(index for index, one in enumerate(play.pipeline.stages) if one.name == stage)
    return PartKey(index, PartKind.STEP, position)


def begun(play: Play) -> list[str]:
    """What the last turn started: stage/step."""
    stages = play.pipeline.stages
    return [f"{stages[key.stage].name}/{stages[key.stage].steps[key.position].name}" for key in play.started]


def life(play: Play, *failing: str) -> list[str]:
    """Play it to its end; everything ends well but what is in `failing`. What ran, in order."""
    play.start()
    ran: list[str] = []
    waiting = list(zip(play.started, begun(play), strict=True))
    while waiting:
        key, name = waiting.pop(0)
        ran.append(name)
        play.end(key, Outcome.FAILED if name in failing else Outcome.SUCCEEDED)
        waiting += zip(play.started, begun(play), strict=True)
    return ran


# --- when ------------------------------------------------------------------------------------------------------------


def test_a_pipeline_without_hooks_stays_the_same() -> None:
    pipeline = a_pipeline()

    assert woven(pipeline) is pipeline


def test_hooks_run_around_the_phases_that_they_name() -> None:
    play = Play(
        hooked(
            after(Phase.DEPLOYMENT, "thanks"),
            before(Phase.STAGE, "warm", stage="web"),
            after(Phase.STAGE, "cool", stage="web"),
            before(Phase.DEPLOYMENT, "announce"),
            before(Phase.ROLLBACK, "alarm"),
            after(Phase.ROLLBACK, "calm"),
            after(Phase.FAILURE, "collect"),
            stages=(a_stage("web", a_step("run")), a_stage("jobs", a_step("run"))),
        )
    )

    assert life(play) == [
        "before:DEPLOYMENT/announce",
        "before:web/warm",
        "web/run",
        "after:web/cool",
        "jobs/run",
        "after:DEPLOYMENT/thanks",
    ]
    assert (play.turn.concluded, play.deployment.ending) == (True, Status.SUCCEEDED)


def test_a_rollback_has_hooks_of_its_own_and_those_of_its_stages() -> None:
    hooks = (
        before(Phase.DEPLOYMENT, "announce"),
        before(Phase.STAGE, "warm"),
        before(Phase.ROLLBACK, "alarm"),
        after(Phase.ROLLBACK, "calm"),
        after(Phase.DEPLOYMENT, "thanks"),
    )

    ran = life(Play(hooked(*hooks), rollback_of="another"))

    assert ran == ["before:ROLLBACK/alarm", "before:web/warm", "web/build", "after:ROLLBACK/calm"]


def test_hooks_of_one_moment_run_one_after_the_other_as_written() -> None:
    play = Play(hooked(before(Phase.DEPLOYMENT, "b"), before(Phase.DEPLOYMENT, "a")))
    play.start()

    assert begun(play) == ["before:DEPLOYMENT/b"]
    play.end(play.started[0])
    assert begun(play) == ["before:DEPLOYMENT/a"]


def test_a_hook_that_names_no_stage_runs_at_every_one() -> None:
    stages = (a_stage("a", needs=()), a_stage("b", needs=()), a_stage("c", needs=("a", "b")))

    ran = life(Play(hooked(after(Phase.STAGE, "look"), stages=stages)))

    assert [name for name in ran if name.endswith("/look")] == ["after:a/look", "after:b/look", "after:c/look"]


def test_what_needs_a_stage_waits_for_the_hooks_after_it() -> None:
    stages = (a_stage("a", needs=("b",)), a_stage("b", needs=()))

    ran = life(Play(hooked(after(Phase.STAGE, "look", stage="b"), stages=stages)))

    assert ran == ["b/build", "after:b/look", "a/build"]


def test_every_stage_that_waits_for_nothing_waits_for_the_hooks_before_the_deployment() -> None:
    stages = (a_stage("a", needs=()), a_stage("b", needs=()))
    play = Play(hooked(before(Phase.DEPLOYMENT, "announce"), stages=stages))
    play.start()

    assert begun(play) == ["before:DEPLOYMENT/announce"]
    play.end(play.started[0])
    assert begun(play) == ["a/build", "b/build"]


def test_the_slot_is_held_until_the_last_hook_has_ended() -> None:
    play = Play(hooked(after(Phase.DEPLOYMENT, "thanks")))
    play.start()
    play.end(play.started[0])

    assert begun(play) == ["after:DEPLOYMENT/thanks"]
    assert (play.deployment.holds_slot, play.turn.concluded) == (True, False)
    play.end(play.started[0])
    assert play.turn.concluded


# --- what a failure means --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "usual"),
    [
        (HookPoint(Moment.BEFORE, Phase.DEPLOYMENT), OnFailure.FAIL),
        (HookPoint(Moment.BEFORE, Phase.PROMOTION), OnFailure.FAIL),
        (HookPoint(Moment.BEFORE, Phase.ROLLBACK), OnFailure.CONTINUE),
        (HookPoint(Moment.AFTER, Phase.DEPLOYMENT), OnFailure.CONTINUE),
        (HookPoint(Moment.AFTER, Phase.FAILURE), OnFailure.CONTINUE),
    ],
)
def test_a_hook_stops_what_it_comes_before_and_never_a_way_back(point: HookPoint, usual: OnFailure) -> None:
    assert usual_failure(point) is usual


def test_a_hook_that_fails_keeps_its_phase_from_beginning() -> None:
    play = Play(hooked(before(Phase.STAGE, "check", stage="web")))

    assert life(play, "before:web/check") == ["before:web/check"]
    failure = play.deployment.failure
    assert failure is not None
    assert (failure.reason, failure.stage, failure.step) == ("HOOK_FAILED", "before:web", "check")
    assert conclude(play.pipeline, play.deployment, None, play.now).deployment.status is Status.FAILED


def test_a_hook_that_may_fail_leaves_a_warning() -> None:
    play = Play(hooked(after(Phase.STAGE, "tell", stage="web")))

    life(play, "after:web/tell")

    assert play.deployment.ending is Status.SUCCEEDED
    assert play.deployment.warnings == ("hook tell (after:web) failed: failed",)


def test_a_failed_hook_after_a_rollback_does_not_undo_it() -> None:
    play = Play(hooked(after(Phase.ROLLBACK, "calm")), rollback_of="another")

    assert "after:ROLLBACK/calm" in life(play, "after:ROLLBACK/calm")
    assert play.deployment.ending is Status.SUCCEEDED


def test_a_hook_after_a_stage_may_fail_the_deployment() -> None:
    play = Play(hooked(after(Phase.STAGE, "test", stage="web", on_failure=OnFailure.FAIL)))

    life(play, "after:web/test")

    assert play.deployment.ending is Status.FAILED


def test_a_hook_has_attempts() -> None:
    hook = before(Phase.DEPLOYMENT, "ask", retry=Retry(attempts=2))
    play = Play(hooked(hook))
    play.start()
    play.end(key_of(play, "before:DEPLOYMENT"), Outcome.TIMED_OUT)

    play.later(timedelta(seconds=1))

    assert begun(play) == ["before:DEPLOYMENT/ask"]
    assert play.deployment.ending is None


class Asking(Play):
    """A deployment whose first hook has failed and waits for a person."""

    def __init__(self, outcome: Outcome = Outcome.FAILED) -> None:
        super().__init__(hooked(before(Phase.DEPLOYMENT, "ask", on_failure=OnFailure.PAUSE)))
        self.start()
        self.key = key_of(self, "before:DEPLOYMENT")
        self.end(self.key, outcome, message="not yet")


def test_a_hook_may_ask_a_person() -> None:
    play = Asking()

    assert (play.deployment.status, play.deployment.pause_reason) == (Status.PAUSED, PauseReason.HOOK)
    assert play.deployment.message == "hook ask (before:DEPLOYMENT) failed: not yet"
    assert not play.started


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMED_OUT])
@pytest.mark.parametrize("verb", [Verb.RESUME, Verb.RETRY_STEP])
def test_the_hook_runs_again_when_the_person_says_so(verb: Verb, outcome: Outcome) -> None:
    play = Asking(outcome)

    play.take(Wish(verb, "ann", key=play.key))

    assert begun(play) == ["before:DEPLOYMENT/ask"]
    assert play.deployment.status is Status.RUNNING
    play.end(play.key)
    assert begun(play) == ["web/build"]


def test_the_person_may_go_on_without_the_hook() -> None:
    play = Asking()

    play.take(Wish(Verb.SKIP_STEP, "ann", key=play.key))

    assert begun(play) == ["web/build"]
    assert play.deployment.part(play.key).status is StepStatus.SKIPPED


def test_a_hook_that_asks_is_shown_although_somebody_has_paused_before() -> None:
    play = Play(hooked(before(Phase.DEPLOYMENT, "ask", on_failure=OnFailure.PAUSE)))
    play.start()
    play.take(Wish(Verb.PAUSE, "ann"))
    play.end(key_of(play, "before:DEPLOYMENT"), Outcome.FAILED)

    assert play.deployment.pause_reason is PauseReason.HOOK


# --- after a failure -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "ending"),
    [
        (None, Status.FAILED),
        (Verb.CANCEL, Status.CANCELLED),
        (Verb.ROLLBACK, Status.ROLLING_BACK),
    ],
)
def test_hooks_after_a_failure_run_when_everything_else_has_stopped(wish: Verb | None, ending: Status) -> None:
    play = Play(hooked(after(Phase.FAILURE, "collect"), after(Phase.FAILURE, "tell")))
    play.start()
    web = play.started[0]
    if wish is not None:
        play.take(Wish(wish, "ann"))
        assert play.turn.actions == (StopPart(web),)
    play.end(web, Outcome.FAILED if wish is None else Outcome.CANCELLED)

    assert begun(play) == ["after:FAILURE/collect"]
    assert not play.turn.concluded
    play.end(play.started[0])
    assert begun(play) == ["after:FAILURE/tell"]
    play.end(play.started[0])
    assert (play.turn.concluded, play.deployment.ending) == (True, ending)


def test_hooks_after_a_failure_cannot_change_how_it_ends_and_run_all() -> None:
    play = Play(hooked(after(Phase.FAILURE, "collect"), after(Phase.FAILURE, "tell")))

    ran = life(play, "web/build", "after:FAILURE/collect")

    assert ran == ["web/build", "after:FAILURE/collect", "after:FAILURE/tell"]
    assert (play.turn.concluded, play.deployment.ending) == (True, Status.FAILED)
    assert play.deployment.failure is not None
    assert play.deployment.failure.stage == "web"


def test_hooks_after_a_failure_have_attempts() -> None:
    play = Play(hooked(after(Phase.FAILURE, "collect", retry=Retry(attempts=2))))
    play.start()
    play.end(play.started[0], Outcome.FAILED)
    play.end(play.started[0], Outcome.FAILED)

    assert (begun(play), play.turn.concluded) == ([], False)
    assert play.turn.wake_at is not None
    play.later(play.turn.wake_at - play.now)
    assert begun(play) == ["after:FAILURE/collect"]


def test_what_was_never_begun_has_no_hooks_after_its_failure() -> None:
    play = Play(hooked(after(Phase.FAILURE, "collect")))
    play.take(Wish(Verb.CANCEL, "ann"))

    assert (begun(play), play.turn.concluded) == ([], True)


def test_a_deployer_that_stops_leaves_the_hooks_to_the_next_one() -> None:
    play = Play(hooked(after(Phase.FAILURE, "collect")))
    play.start()
    web = play.started[0]
    play.take(Wish(Verb.CANCEL, "ann"))
    play.take(PartEnded(web, 1, Outcome.CANCELLED), hold=True)
    assert (begun(play), play.turn.concluded) == ([], False)

    play.take(Adopted())
    assert begun(play) == ["after:FAILURE/collect"]


# --- crashes ---------------------------------------------------------------------------------------------------------


def test_an_interrupted_hook_waits_for_a_person() -> None:
    play = Play(hooked(before(Phase.DEPLOYMENT, "announce")))
    play.start()

    play.take(Adopted())

    assert (play.deployment.status, play.deployment.pause_reason) == (Status.PAUSED, PauseReason.INTERRUPTED)
    assert play.deployment.message == "hook announce (before:DEPLOYMENT) was interrupted"


def test_an_idempotent_hook_runs_again() -> None:
    play = Play(hooked(before(Phase.DEPLOYMENT, "announce", idempotent=True)))
    play.start()

    play.take(Adopted())

    assert begun(play) == ["before:DEPLOYMENT/announce"]
    assert play.deployment.part(key_of(play, "before:DEPLOYMENT")).attempt == 2


@pytest.mark.parametrize("kind", [CALL, Docker("busybox")])
def test_a_hook_that_can_be_found_again_is(kind: Webhook | Docker) -> None:
    play = Play(hooked(after(Phase.FAILURE, "collect", kind=kind)))
    play.start()
    play.end(play.started[0], Outcome.FAILED)
    hook = play.started[0]

    play.take(Adopted())

    assert play.turn.actions == (RunPart(hook, 1),)


def test_an_interrupted_hook_after_a_failure_is_not_waited_for() -> None:
    play = Play(hooked(after(Phase.FAILURE, "collect"), after(Phase.FAILURE, "tell")))
    play.start()
    play.end(play.started[0], Outcome.FAILED)

    play.take(Adopted())

    assert begun(play) == ["after:FAILURE/tell"]
    assert play.deployment.warnings == ("hook collect (after:FAILURE) was interrupted",)


def test_a_hook_after_a_failure_that_its_owners_die_of_is_given_up() -> None:
    play = Play(hooked(after(Phase.FAILURE, "collect", idempotent=True)))
    play.start()
    play.end(play.started[0], Outcome.FAILED)

    for _ in range(5):
        assert not play.turn.concluded
        play.take(Adopted())

    assert play.turn.concluded


# --- trying again, and where things were written ---------------------------------------------------------------------


def test_what_is_tried_again_has_its_hooks_again() -> None:
    stages = (a_stage("a"), a_stage("b"))
    hooks = (
        before(Phase.DEPLOYMENT, "x"),
        before(Phase.STAGE, "y"),
        after(Phase.STAGE, "z"),
        after(Phase.FAILURE, "w"),
    )
    pipeline = hooked(*hooks, stages=stages)
    names = [stage.name for stage in pipeline.stages]
    assert names == ["before:DEPLOYMENT", "before:a", "a", "after:a", "before:b", "b", "after:b", "after:FAILURE"]
    through = {
        index
        for index, name in enumerate(names)
        if name in {"before:DEPLOYMENT", "before:a", "a", "after:a", "before:b"}
    }

    repeated = {names[index] for index in to_repeat(pipeline, through)}

    assert repeated & {names[index] for index in through} == {"before:DEPLOYMENT", "before:b"}


def test_what_is_done_already_does_not_let_the_rest_pass_the_hooks_before_the_deployment() -> None:
    pipeline = hooked(before(Phase.DEPLOYMENT, "announce"), stages=(a_stage("a"), a_stage("b")))
    done = {PartKey(1, PartKind.STEP, 0): PartRun(StepStatus.SKIPPED)}
    play = Play(pipeline, parts=done)
    play.start()

    assert begun(play) == ["before:DEPLOYMENT/announce"]


def test_paths_are_those_of_what_was_written() -> None:
    play = Play(
        hooked(after(Phase.STAGE, "z", stage="b"), before(Phase.STAGE, "y"), stages=(a_stage("a"), a_stage("b")))
    )

    paths = {
        name: field_of(play.pipeline, key_of(play, name)) for name in ("before:a", "a", "before:b", "b", "after:b")
    }

    assert paths == {
        "before:a": "hooks[1]",
        "a": "stages[0].steps[0]",
        "before:b": "hooks[1]",
        "b": "stages[1].steps[0]",
        "after:b": "hooks[0]",
    }
