"""The life of each strategy, told as the wants that follow one another: "new+old share" of replicas and requests."""

from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.rollout_world import SECOND, Behaviour, RolloutWorld

from opsuite_deployer.domain.rollout import decide
from opsuite_deployer.domain.rollout_state import Phase
from opsuite_deployer.domain.rollout_wishes import RolloutVerb
from opsuite_deployer.domain.rollout_words import (
    Decision,
    GateVerdict,
    Retire,
    RolloutEvent,
    RolloutPlan,
    VerdictKind,
)
from opsuite_deployer.domain.strategy import (
    BlueGreen,
    Canary,
    GateStep,
    IntOrPercent,
    Pause,
    Rolling,
    RolloutGate,
    SetReplicas,
    SetWeight,
    Strategy,
)
from opsuite_platforms.port import ReplicaPhase
from opsuite_platforms.traffic.port import Match

ONE, NONE = IntOrPercent(1), IntOrPercent(0)
LOOK = RolloutGate("looks-good")


def a_plan(strategy: Strategy, **changes: object) -> RolloutPlan:
    plan = RolloutPlan("web", "web-new", "web-old", 4, strategy, has_router=True)
    return replace(plan, **changes)  # type: ignore[arg-type]  # fields of the plan


def told_as(decision: Decision) -> str:
    """Replicas and requests that are wanted: "1+4 25%"."""
    want = decision.want
    sizes = "+".join(str(want.replicas.get(name, 0)) for name in ("web-new", "web-old"))
    if want.tracks is None:
        return sizes
    total = sum(track.weight for track in want.tracks)
    share = sum(track.weight for track in want.tracks if track.workload == "web-new")
    return f"{sizes} {round(100 * share / total)}%"


def story(life: RolloutWorld) -> list[str]:
    """What is wanted until it ends or waits, one line for each change."""
    life.live(step=SECOND)
    lines = [told_as(decision) for decision in life.decisions if not decision.state.phase.is_terminal]
    return [line for index, line in enumerate(lines) if index == 0 or line != lines[index - 1]]


def kinds(life: RolloutWorld) -> list[RolloutEvent]:
    return [told.kind for told in life.told]


# --- happy paths -----------------------------------------------------------------------------------------------------


def test_rolling_adds_before_it_takes_away() -> None:
    life = RolloutWorld(a_plan(Rolling(ONE, NONE), replicas=2))

    assert story(life) == [
        "1+2 0%",
        "1+2 50%",  # the new one is available and gets its part; an old one leaves the route and is drained
        "1+1 50%",
        "2+1 50%",
        "2+1 100%",
        "2+0 100%",
    ]
    assert life.state.phase is Phase.SUCCEEDED


def test_rolling_without_surge_takes_away_before_it_adds() -> None:
    life = RolloutWorld(a_plan(Rolling(NONE, ONE), replicas=2, has_router=False))

    assert story(life) == ["0+1", "1+1", "1+0", "2+0"]


def test_rolling_in_batches_waits_between_them() -> None:
    strategy = Rolling(IntOrPercent(2), NONE, pause_between_batches=60 * SECOND)
    life = RolloutWorld(a_plan(strategy, has_router=False))

    assert story(life) == ["2+4", "2+2", "4+2", "4+0"]
    grown = [decision.state.progress_at for decision in life.decisions if told_as(decision) == "4+2"]
    shrunk = [decision.state.progress_at for decision in life.decisions if told_as(decision) == "2+2"]
    assert grown[0] - shrunk[0] >= 60 * SECOND


def test_rolling_starts_no_more_at_once_than_it_may() -> None:
    life = RolloutWorld(a_plan(Rolling(IntOrPercent(4), NONE, max_parallel=1), replicas=2, has_router=False))

    assert story(life) == ["1+2", "2+1", "2+0"]


def test_a_canary_without_steps_is_rolling() -> None:
    rolling = RolloutWorld(a_plan(Rolling()))
    canary = RolloutWorld(a_plan(Canary()))

    assert story(canary) == story(rolling)


def test_a_canary_behind_a_router_grows_with_its_weight_and_the_old_version_stays_whole() -> None:
    steps = (SetWeight(10), Pause(60 * SECOND), SetWeight(50), GateStep(LOOK), SetWeight(100))
    life = RolloutWorld(a_plan(Canary(steps), replicas=10))

    assert story(life) == [
        "1+10 0%",
        "1+10 10%",
        "5+10 10%",
        "5+10 50%",
        "10+10 50%",
        "10+10 100%",
        "10+0 100%",  # 30 s later
    ]


def test_a_canary_with_dynamic_stable_scale_lets_the_old_version_shrink() -> None:
    steps = (SetWeight(25), Pause(60 * SECOND), SetWeight(50), Pause(60 * SECOND))
    life = RolloutWorld(a_plan(Canary(steps, dynamic_stable_scale=True)))

    assert story(life) == [
        "1+4 0%",
        "1+4 25%",  # acknowledged, an old replica leaves the route
        "1+3 25%",  # drained
        "2+3 25%",
        "2+3 50%",
        "2+2 50%",
        "4+2 50%",
        "4+2 100%",  # what is left stays for a way back
        "4+0 100%",
    ]


def test_a_canary_without_a_router_splits_replicas() -> None:
    steps = (SetWeight(25), Pause(30 * SECOND), SetWeight(50))
    life = RolloutWorld(a_plan(Canary(steps, max_surge=ONE, max_unavailable=NONE), has_router=False))

    assert story(life) == ["1+4", "1+3", "2+3", "2+2", "3+2", "3+1", "4+1", "4+0"]


def test_a_step_may_set_replicas_whatever_the_weight_is() -> None:
    life = RolloutWorld(a_plan(Canary((SetReplicas(3), SetWeight(5), Pause(10 * SECOND)))))

    assert story(life) == ["3+4 0%", "3+4 5%", "4+4 5%", "4+4 100%", "4+0 100%"]


def test_less_weight_is_given_at_once_and_replicas_go_when_they_are_drained() -> None:
    life = RolloutWorld(a_plan(Canary((SetWeight(50), SetWeight(25), Pause(40 * SECOND)))))

    assert story(life)[:4] == ["2+4 0%", "2+4 50%", "2+4 25%", "1+4 25%"]


def test_blue_green_switches_all_requests_at_once_and_keeps_the_old_version_for_a_while() -> None:
    life = RolloutWorld(a_plan(BlueGreen(pre_promotion=LOOK, post_promotion=LOOK)))

    assert story(life) == ["4+4 0%", "4+4 100%", "4+0 100%"]
    assert kinds(life).count(RolloutEvent.GATE_PASSED) == 2


def test_a_preview_may_be_smaller_and_is_brought_to_full_size_before_the_switch() -> None:
    life = RolloutWorld(a_plan(BlueGreen(preview_replicas=1)))

    assert story(life) == ["1+4 0%", "4+4 0%", "4+4 100%", "4+0 100%"]


def test_testers_get_the_preview_until_it_is_promoted() -> None:
    match = Match("canary", header="x-preview", value="yes")
    life = RolloutWorld(a_plan(BlueGreen(auto_promotion_after=10 * SECOND), matches=(match,)))
    life.live(step=SECOND)

    before = [one.want.matches for one in life.decisions if told_as(one) == "4+4 0%"]
    assert before[0] == ()  # nobody is there yet
    assert before[-1] == (match,)
    assert life.decisions[-1].want.matches == ()


def test_the_new_version_gets_copies_until_it_is_promoted() -> None:
    life = RolloutWorld(a_plan(Canary((SetWeight(0), Pause(10 * SECOND), SetWeight(50))), mirror_percent=5.0))
    life.live(step=SECOND)

    assert {one.want.mirror_percent for one in life.decisions if one.state.phase is Phase.PROMOTING} == {5.0}
    assert life.decisions[-1].want.mirror_percent == 0.0


def test_the_route_ends_with_the_new_version_as_the_stable_one() -> None:
    life = RolloutWorld(a_plan(Canary((SetWeight(50),))))
    life.live(step=SECOND)

    assert life.route is not None
    assert [(track.name, track.workload, track.weight) for track in life.route.tracks] == [("stable", "web-new", 100)]
    assert len(life.route.tracks[0].endpoints) == 4


# --- when the strategy does not count --------------------------------------------------------------------------------


def test_a_first_version_skips_the_strategy_and_says_so() -> None:
    life = RolloutWorld(a_plan(Canary((SetWeight(5), Pause())), stable=None))

    assert story(life) == ["4+0", "4+0 100%"]
    assert "first version" in next(told.message for told in life.told if told.kind is RolloutEvent.STRATEGY_SKIPPED)


@pytest.mark.parametrize("changes", [{"is_rollback": True}, {"within_rollback_window": True}])
def test_going_back_leaves_out_steps_and_gates(changes: dict[str, bool]) -> None:
    life = RolloutWorld(a_plan(Canary((SetWeight(5), Pause(), GateStep(LOOK))), **changes))

    assert story(life) == ["4+4 0%", "4+4 100%", "4+0 100%"]
    assert not life.asked_a_gate


def test_going_back_to_what_still_runs_takes_one_look_and_an_acknowledgement() -> None:
    life = RolloutWorld(a_plan(Canary(), is_rollback=True))
    life.scale("web-new", 4)
    life.pass_time(5 * SECOND)

    assert told_as(life.turn()) == "4+4 100%"
    life.pass_time(SECOND)
    assert life.turn().state.phase is Phase.COMPLETING


def test_going_back_does_not_wait_for_a_silent_edge() -> None:
    life = RolloutWorld(a_plan(BlueGreen(), is_rollback=True), edges=2)
    life.edges[1].leave()

    assert story(life) == ["4+4 0%", "4+4 100%", "4+0 100%"]


def test_the_version_that_is_stable_already_is_put_right() -> None:
    life = RolloutWorld(a_plan(Rolling(), stable="web-new"))
    life.scale("web-new", 2)

    assert story(life) == ["4+0", "4+0 100%"]
    assert life.state.phase is Phase.SUCCEEDED


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_version_that_dies_at_half_of_the_requests_loses_them_at_once() -> None:
    life = RolloutWorld(a_plan(Canary((SetWeight(25), SetWeight(50)))), new=Behaviour(dies_at_weight=50))

    assert story(life)[-2:] == ["2+4 50%", "2+4 0%"]
    assert life.decisions[-1].verdict.reason == "HEALTH_LOST"
    assert life.decisions[-1].verdict.message == "web-new has died: 0/2 healthy"
    assert life.decisions[-1].want.retire == (Retire("web-new", life.now + 30 * SECOND),)


def test_a_version_that_dies_after_the_switch_is_switched_back() -> None:
    life = RolloutWorld(a_plan(BlueGreen()), new=Behaviour(dies_when_promoted=True))

    assert story(life)[-2:] == ["4+4 100%", "4+4 0%"]


def test_a_gate_after_the_switch_switches_back() -> None:
    life = RolloutWorld(a_plan(BlueGreen(post_promotion=LOOK)), gates={"looks-good": GateVerdict.FAILED})

    assert story(life) == ["4+4 0%", "4+4 100%", "4+4 0%"]
    assert life.decisions[-1].verdict.reason == "GATE_FAILED"


def test_a_version_that_was_aborted_stays_when_its_delay_is_nothing() -> None:
    strategy = BlueGreen(post_promotion=LOOK, abort_scale_down_delay=timedelta(0))
    life = RolloutWorld(a_plan(strategy), gates={"looks-good": GateVerdict.FAILED})
    life.live(step=SECOND)

    assert life.decisions[-1].want.retire == ()


def test_a_background_gate_is_asked_from_its_step_on() -> None:
    steps = (SetWeight(5), Pause(10 * SECOND), SetWeight(50), Pause(10 * SECOND))
    life = RolloutWorld(a_plan(Canary(steps, background=LOOK, background_from=2)))
    life.live(step=SECOND)

    asked = {one.state.step for one in life.decisions if one.want.gates}
    assert min(asked) == 2
    assert all(ask.is_background for one in life.decisions for ask in one.want.gates)


def test_a_rollout_fails_early_when_the_platform_has_given_up() -> None:
    life = RolloutWorld(a_plan(Rolling()), new=Behaviour(is_given_up=True))
    life.live(step=SECOND)

    assert life.decisions[-1].verdict.reason == "REPLICA_FAILED"
    assert life.time < 10 * SECOND


def test_a_rollout_fails_early_when_a_replica_restarts_too_often() -> None:
    life = RolloutWorld(a_plan(Rolling()), new=Behaviour(crashes_every=3 * SECOND))
    life.live(step=SECOND)

    assert life.decisions[-1].verdict.reason == "RESTARTED_TOO_OFTEN"


def test_a_replica_that_is_never_healthy_has_a_deadline() -> None:
    life = RolloutWorld(a_plan(Canary((SetWeight(5),))), new=Behaviour(is_healthy=False))
    life.live(step=SECOND)

    assert life.decisions[-1].verdict.message == "web-new-0 was not healthy within 300 s"
    assert life.time == 301 * SECOND  # the replica was first seen after 1 s


def test_an_abort_gives_the_old_version_the_size_that_it_had() -> None:
    life = RolloutWorld(a_plan(Rolling(), replicas=2), old_size=6, new=Behaviour(dies_at_weight=60))
    life.live(step=SECOND)

    assert life.decisions[-1].verdict.kind is VerdictKind.FAILED
    assert life.revisions["web-old"].desired == 6


def test_a_silent_edge_bars_the_way_forward_and_is_told_once() -> None:
    life = RolloutWorld(a_plan(Canary((SetWeight(50),))))
    life.edges[1].leave()
    life.live(step=SECOND)

    assert life.decisions[-1].verdict.reason == "PROGRESS_DEADLINE"
    assert "silent edges: edge-1" in life.decisions[-1].verdict.message
    assert {told_as(one) for one in life.decisions[:-1]} == {"2+4 0%"}
    assert kinds(life).count(RolloutEvent.EDGES_SILENT) == 1


def test_an_edge_that_falls_silent_after_the_promotion_does_not_undo_it() -> None:
    life = RolloutWorld(a_plan(BlueGreen(scale_down_delay=timedelta(0))))
    while life.turn().state.phase is not Phase.COMPLETING:
        life.pass_time(SECOND)
    life.edges[1].leave()
    decision = life.live(step=SECOND)

    assert decision.verdict.kind is VerdictKind.SUCCEEDED
    assert decision.want.replicas == {"web-new": 4, "web-old": 4}  # the edge may still send it something
    assert [one.revision for one in decision.want.retire] == ["web-old"]


def test_when_the_old_version_dies_what_is_healthy_of_the_new_one_gets_its_requests() -> None:
    life = RolloutWorld(a_plan(Canary((SetWeight(25), Pause()))))
    life.live(step=SECOND)
    life.kill("web-old")
    life.pass_time(SECOND)

    assert told_as(life.turn()) == "1+4 100%"
    assert kinds(life)[-1] is RolloutEvent.STABLE_LOST


def test_a_replica_that_the_platform_took_away_is_not_a_death() -> None:
    life = RolloutWorld(a_plan(Canary((SetWeight(25), Pause()))))
    life.live(step=SECOND)
    life.scale("web-new", 0)
    life.scale("web-new", 1)
    life.pass_time(SECOND)
    decision = life.turn()

    assert decision.verdict.kind is VerdictKind.PAUSED
    assert told_as(decision) == "1+4 0%"


def test_no_clock_runs_while_it_waits_for_a_person() -> None:
    life = RolloutWorld(a_plan(Canary((SetWeight(25), Pause()))))
    life.live(step=SECOND)
    life.pass_time(timedelta(days=3))
    assert life.turn().verdict.kind is VerdictKind.PAUSED

    assert life.wish(RolloutVerb.PROMOTE_NEXT_STEP) == ""
    assert life.live(step=SECOND, most=life.time + timedelta(hours=1)).verdict.kind is VerdictKind.SUCCEEDED


def test_a_long_pause_does_not_use_up_the_progress_deadline() -> None:
    life = RolloutWorld(a_plan(Canary((SetWeight(25), Pause(timedelta(hours=1)), SetWeight(50)))))

    assert life.live(step=7 * SECOND).verdict.kind is VerdictKind.SUCCEEDED


# --- what somebody else does -----------------------------------------------------------------------------------------


def paused_canary() -> RolloutWorld:
    life = RolloutWorld(a_plan(Canary((SetWeight(25), Pause()))))
    life.live(step=SECOND)
    return life


def test_a_foreign_change_of_replicas_is_put_right_and_told_once() -> None:
    life = paused_canary()
    life.scale("web-old", 9)
    life.pass_time(SECOND)

    assert told_as(life.turn()) == "1+4 25%"
    assert life.told[-1].message == "somebody changed web-old to 9 replicas; 4 are put back"
    life.pass_time(SECOND)
    life.turn()
    assert kinds(life).count(RolloutEvent.DRIFT_CORRECTED) == 1


def test_a_replica_that_somebody_stops_is_told_once_each_time() -> None:
    life = paused_canary()
    whole = life.seen()
    first, *others = whole.revisions["web-old"].replicas
    stopped = replace(first, phase=ReplicaPhase.STOPPED, healthy=False, is_astray=True)
    old = replace(whole.revisions["web-old"], replicas=(stopped, *others))
    without = replace(whole, revisions={**whole.revisions, "web-old": old})
    state, told = life.state, []

    for seen in (without, without, whole, without):
        decision = decide(life.plan, state, seen, life.now)
        state = decision.state
        told.append([one.message for one in decision.told if one.kind is RolloutEvent.DRIFT_CORRECTED])

    words = [f"somebody stopped {first.name}, which is started again"]
    assert told == [words, [], [], words]


def test_a_foreign_change_of_the_route_is_put_right_and_told_once() -> None:
    life = paused_canary()
    assert life.route is not None
    life.route = replace(life.route, tracks=life.route.tracks[:1])
    life.pass_time(SECOND)

    assert told_as(life.turn()) == "1+4 25%"
    assert life.told[-1].kind is RolloutEvent.DRIFT_CORRECTED
    life.pass_time(SECOND)
    life.turn()
    assert kinds(life).count(RolloutEvent.DRIFT_CORRECTED) == 1


def test_replicas_of_a_new_owner_count_as_healthy_until_they_are_asked() -> None:
    life = paused_canary()
    life.is_fresh = True
    life.pass_time(SECOND)

    assert told_as(life.turn()) == "1+4 25%"


def test_nothing_moves_before_what_is_there_was_asked_how_it_is() -> None:
    life = RolloutWorld(a_plan(Rolling()))
    life.is_fresh = True

    assert told_as(life.turn()) == "0+4"


def test_a_replica_that_restarts_must_prove_itself_anew() -> None:
    life = paused_canary()
    replica = life.revisions["web-old"].replicas[0]
    replica.restarts += 1
    life.pass_time(SECOND)
    decision = life.turn()

    assert replica.phase is ReplicaPhase.RUNNING
    assert decision.want.tracks is not None
    assert replica.endpoint not in decision.want.tracks[0].endpoints
