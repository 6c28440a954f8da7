from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.rollout_world import SECOND, Behaviour, RolloutWorld

from opsuite_deployer.domain.rollout_state import PauseReason, Phase
from opsuite_deployer.domain.rollout_wishes import RolloutRefused, RolloutVerb, wish
from opsuite_deployer.domain.rollout_words import GateVerdict, RolloutPlan, VerdictKind
from opsuite_deployer.domain.strategy import (
    BlueGreen,
    Canary,
    GateStep,
    Pause,
    Rolling,
    RolloutGate,
    SetWeight,
    Strategy,
)

LOOK = RolloutGate("looks-good")
PROMOTIONS = (RolloutVerb.PROMOTE_NEXT_STEP, RolloutVerb.PROMOTE_SKIP_STEP, RolloutVerb.PROMOTE_FULL)


def a_world(strategy: Strategy, **more: object) -> RolloutWorld:
    plan = RolloutPlan("web", "web-new", "web-old", 2, strategy, has_router=True)
    return RolloutWorld(plan, **more)  # type: ignore[arg-type]


def a_paused_canary() -> RolloutWorld:
    life = a_world(Canary((SetWeight(50), Pause(), SetWeight(60), Pause())))
    life.live(step=SECOND)
    return life


def refusal(life: RolloutWorld, verb: RolloutVerb) -> RolloutRefused:
    with pytest.raises(RolloutRefused) as refused:
        wish(life.plan, life.state, verb, life.now)
    return refused.value


# --- promoting -------------------------------------------------------------------------------------------------------


def test_promoting_ends_the_pause_that_it_is_in() -> None:
    life = a_paused_canary()

    assert life.wish(RolloutVerb.PROMOTE_NEXT_STEP) == ""

    assert life.live(step=SECOND).verdict.pause_reason is PauseReason.STEP
    assert life.state.step == 3


def test_promoting_what_does_not_wait_is_refused_with_where_it_stands() -> None:
    life = a_world(Canary((SetWeight(50), Pause())))
    life.turn()
    life.state = replace(life.state, available=1, wanted=1)

    message = refusal(life, RolloutVerb.PROMOTE_NEXT_STEP).message

    assert message == "nothing waits for a promotion: step 1 of 2: 50 % of the requests"


@pytest.mark.parametrize("verb", PROMOTIONS)
def test_promoting_what_is_not_healthy_is_refused_with_the_numbers(verb: RolloutVerb) -> None:
    life = a_world(BlueGreen(auto_promotion_enabled=False), new=Behaviour(is_healthy=False))
    for _ in range(3):
        life.turn()
        life.pass_time(SECOND)

    refused = refusal(life, verb)

    assert (refused.reason, refused.message) == ("NOT_HEALTHY", "0/2 healthy")


@pytest.mark.parametrize("verb", PROMOTIONS)
def test_once_an_abort_is_recorded_promotions_are_refused(verb: RolloutVerb) -> None:
    life = a_paused_canary()
    life.wish(RolloutVerb.ABORT)

    refused = refusal(life, verb)

    assert (refused.reason, refused.message) == ("ABORTING", "it is ABORTING: aborted by ann")


def test_an_abort_wins_over_a_promotion_that_was_recorded_before() -> None:
    life = a_paused_canary()
    assert life.wish(RolloutVerb.PROMOTE_FULL) == ""
    assert life.wish(RolloutVerb.ABORT) == ""

    decision = life.live(step=SECOND)

    assert decision.verdict.kind is VerdictKind.FAILED
    assert life.sent("web-new") == 0


def test_a_full_promotion_skips_all_that_is_left() -> None:
    life = a_world(Canary((SetWeight(50), Pause(), GateStep(LOOK), Pause())), gates={"looks-good": GateVerdict.FAILED})
    life.live(step=SECOND)
    life.wish(RolloutVerb.PROMOTE_FULL)

    assert life.live(step=SECOND).verdict.kind is VerdictKind.SUCCEEDED
    assert not life.asked_a_gate


def test_a_full_promotion_of_blue_green_skips_the_gate_after_it() -> None:
    strategy = BlueGreen(auto_promotion_enabled=False, post_promotion=LOOK)
    life = a_world(strategy, gates={"looks-good": GateVerdict.FAILED})
    life.live(step=SECOND)
    life.wish(RolloutVerb.PROMOTE_FULL)

    assert life.live(step=SECOND).verdict.kind is VerdictKind.SUCCEEDED


def test_a_full_promotion_of_rolling_skips_pauses_between_batches() -> None:
    life = a_world(Rolling(max_parallel=1, pause_between_batches=timedelta(days=1)))
    while life.state.available < 1:
        life.turn()
        life.pass_time(SECOND)
    life.wish(RolloutVerb.PROMOTE_FULL)

    assert life.live(step=SECOND).verdict.kind is VerdictKind.SUCCEEDED


def test_what_was_inconclusive_is_asked_again_or_skipped() -> None:
    life = a_world(Canary((SetWeight(50), GateStep(LOOK))), gates={"looks-good": GateVerdict.INCONCLUSIVE})
    assert life.live(step=SECOND).verdict.pause_reason is PauseReason.INCONCLUSIVE
    first = [ask.key for one in life.decisions for ask in one.want.gates]

    life.wish(RolloutVerb.PROMOTE_NEXT_STEP)
    assert life.live(step=SECOND).verdict.pause_reason is PauseReason.INCONCLUSIVE
    second = [ask.key for one in life.decisions for ask in one.want.gates if ask.key not in first]
    assert len(set(second)) == 1

    life.wish(RolloutVerb.PROMOTE_SKIP_STEP)
    assert life.live(step=SECOND).verdict.kind is VerdictKind.SUCCEEDED


def test_the_gate_after_a_switch_may_be_skipped() -> None:
    life = a_world(BlueGreen(post_promotion=LOOK), gates={"looks-good": GateVerdict.INCONCLUSIVE})
    assert life.live(step=SECOND).verdict.pause_reason is PauseReason.INCONCLUSIVE

    life.wish(RolloutVerb.PROMOTE_SKIP_STEP)

    assert life.live(step=SECOND).verdict.kind is VerdictKind.SUCCEEDED


def test_where_there_is_no_step_none_is_skipped() -> None:
    life = a_world(Rolling())

    assert refusal(life, RolloutVerb.PROMOTE_SKIP_STEP).message.startswith("there is no step to skip: PROGRESSING")


# --- pausing ---------------------------------------------------------------------------------------------------------


def test_a_paused_rollout_stands_still_and_is_watched_all_the_same() -> None:
    life = a_world(Canary((SetWeight(50), SetWeight(60))))
    while life.sent("web-new") == 0:
        life.turn()
        life.pass_time(SECOND)
    life.turn()
    assert life.wish(RolloutVerb.PAUSE) == ""
    for _ in range(60):
        decision = life.turn()
        life.pass_time(20 * SECOND)
    assert decision.verdict.pause_reason is PauseReason.MANUAL
    assert life.sent("web-new") == 50

    life.kill("web-new")
    life.pass_time(SECOND)

    assert life.turn().state.phase is Phase.ABORTING or life.state.phase is Phase.FAILED


def test_resuming_goes_on_where_it_stopped() -> None:
    life = a_world(Canary((SetWeight(50), SetWeight(60))))
    life.turn()
    life.wish(RolloutVerb.PAUSE)
    life.pass_time(timedelta(days=2))
    life.turn()

    assert life.wish(RolloutVerb.RESUME) == ""

    assert life.live(step=SECOND, most=life.time + timedelta(hours=1)).verdict.kind is VerdictKind.SUCCEEDED


def test_a_pause_of_a_person_and_that_of_a_step_are_two() -> None:
    life = a_paused_canary()
    life.wish(RolloutVerb.PAUSE)
    assert life.state.is_held

    life.wish(RolloutVerb.RESUME)

    assert (life.state.is_held, life.state.pause_reason) == (False, PauseReason.STEP)
    assert refusal(life, RolloutVerb.RESUME).message.startswith("it waits for a promotion: step 2 of 4")


@pytest.mark.parametrize("verb", [RolloutVerb.PAUSE, RolloutVerb.ABORT])
def test_a_wish_that_is_granted_already_changes_nothing(verb: RolloutVerb) -> None:
    life = a_paused_canary()
    life.wish(verb)
    before = life.state
    life.pass_time(SECOND)

    assert life.wish(verb) == ""
    assert life.state == before


def test_resuming_what_is_not_paused_changes_nothing() -> None:
    life = a_world(Rolling())
    life.turn()
    before = life.state

    assert life.wish(RolloutVerb.RESUME) == ""
    assert life.state == before


def test_the_way_back_is_not_paused() -> None:
    life = a_paused_canary()
    life.wish(RolloutVerb.ABORT)

    assert "not paused" in refusal(life, RolloutVerb.PAUSE).message


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", list(RolloutVerb))
def test_what_has_ended_well_grants_nothing(verb: RolloutVerb) -> None:
    life = a_world(Rolling())
    assert life.live(step=SECOND).verdict.kind is VerdictKind.SUCCEEDED

    refusal(life, verb)
