"""Rollouts of every strategy in a world where things go wrong at random: what is promised always holds.

The world itself checks at every turn that nobody without a healthy replica gets requests, that nothing is stopped
before it is drained, and that looking twice, or reloading the state, changes nothing.
"""

from dataclasses import replace
from datetime import timedelta
from random import Random

from fakes.rollout_world import CALM, SECOND, Behaviour, Faults, RolloutWorld
from hypothesis import given, settings
from hypothesis import strategies as st

from opsuite_deployer.domain.rollout_state import PauseReason
from opsuite_deployer.domain.rollout_wishes import RolloutVerb
from opsuite_deployer.domain.rollout_words import GateVerdict, RolloutPlan, VerdictKind
from opsuite_deployer.domain.strategy import (
    BlueGreen,
    Canary,
    GateStep,
    IntOrPercent,
    Pause,
    Rolling,
    RolloutGate,
    Safety,
    SetReplicas,
    SetWeight,
)
from opsuite_platforms.traffic.port import Match

BOUND = timedelta(hours=2)
"""Of simulated time, within which every rollout has ended."""

LIVES = settings(max_examples=25, deadline=None)

amounts = st.one_of(
    st.integers(0, 4).map(IntOrPercent), st.sampled_from((0, 25, 50, 100)).map(lambda n: IntOrPercent(n, True))
)
waits = st.integers(0, 40).map(lambda n: n * SECOND)
gates = st.none() | st.just(RolloutGate("looks-good"))
rollings = st.builds(
    Rolling, amounts, amounts, st.none() | st.integers(1, 3), st.sampled_from((0, 20)).map(lambda n: n * SECOND)
)
blue_greens = st.builds(
    BlueGreen,
    auto_promotion_after=waits,
    preview_replicas=st.none() | st.integers(1, 3),
    pre_promotion=gates,
    post_promotion=gates,
    scale_down_delay=waits,
)
weights = st.sampled_from((0, 1, 10, 25, 50, 75, 100)).map(SetWeight)
steps = st.one_of(
    weights, st.builds(Pause, waits), st.just(GateStep(RolloutGate("looks-good"))), st.integers(1, 3).map(SetReplicas)
)
routed_canaries = st.builds(
    Canary,
    st.lists(steps, min_size=1, max_size=5).map(tuple),
    background=gates,
    dynamic_stable_scale=st.booleans(),
    scale_down_delay=waits,
)
bare_canaries = st.builds(
    Canary,
    st.lists(weights | st.builds(Pause, waits), max_size=5).map(tuple),
    max_surge=amounts,
    max_unavailable=amounts,
)


@st.composite
def plans(draw: st.DrawFn) -> RolloutPlan:
    has_router = draw(st.booleans())
    strategy = draw(rollings | routed_canaries | blue_greens if has_router else rollings | bare_canaries)
    return RolloutPlan(
        "web",
        "web-new",
        "web-old",
        draw(st.integers(1, 6)),
        strategy,
        Safety(drain=draw(waits)),
        has_router=has_router,
        matches=(Match("canary", header="x-preview", value="yes"),) if draw(st.booleans()) else (),
    )


TROUBLE = Faults(
    decider_dies=0.1,
    call_lost=0.1,
    acknowledgement_lost=0.1,
    edge_leaves=0.05,
    old_replica_dies=0.02,
)
MEDDLING = Faults(decider_dies=0.05, foreign_scale=0.03, foreign_route=0.05)


def world(plan: RolloutPlan, seed: int, faults: Faults = CALM, **more: object) -> RolloutWorld:
    return RolloutWorld(plan, random=Random(seed), faults=faults, **more)  # type: ignore[arg-type]


seeds = st.integers(0, 2**32)
sizes = st.none() | st.integers(1, 8)


@LIVES
@given(plans(), seeds, sizes, st.booleans())
def test_a_good_version_is_promoted_within_a_bound(
    plan: RolloutPlan, seed: int, old_size: int | None, finds_endpoints: bool
) -> None:
    life = world(plan, seed, TROUBLE, old_size=old_size, finds_endpoints=finds_endpoints)

    decision = life.live()

    assert decision.verdict.kind is VerdictKind.SUCCEEDED, decision.verdict
    assert life.revisions["web-new"].desired == plan.replicas
    if plan.has_router:
        assert life.route is not None
        assert [track.workload for track in life.route.tracks if track.weight] == ["web-new"]


bad = st.sampled_from(
    (
        Behaviour(is_healthy=False),
        Behaviour(is_given_up=True),
        Behaviour(crashes_every=4 * SECOND),
        Behaviour(crashes_every=9 * SECOND),
    )
)


@LIVES
@given(plans(), seeds, sizes, bad)
def test_a_version_that_never_gets_healthy_goes_and_the_old_one_serves(
    plan: RolloutPlan, seed: int, old_size: int | None, behaviour: Behaviour
) -> None:
    life = world(plan, seed, TROUBLE, old_size=old_size, new=behaviour)

    decision = life.live()

    assert decision.verdict.kind is VerdictKind.FAILED, decision.verdict
    assert decision.verdict.is_safe
    old_serves(life)


def old_serves(life: RolloutWorld) -> None:
    old = life.revisions["web-old"]
    assert old.desired == life.state.stable_size
    if life.plan.has_router:
        assert life.route is not None
        assert [track.workload for track in life.route.tracks] == ["web-old"]
        for edge in life.edges:
            if edge.connected and edge.version == life.version:
                assert [track.workload for track in edge.tracks] == ["web-old"]


@LIVES
@given(plans(), seeds, sizes, st.sampled_from((1, 25, 50, 100)))
def test_a_version_that_dies_of_its_requests_never_becomes_stable_behind_a_router(
    plan: RolloutPlan, seed: int, old_size: int | None, dies_at: int
) -> None:
    life = world(plan, seed, TROUBLE, old_size=old_size, new=Behaviour(dies_at_weight=dies_at))

    decision = life.live()

    if plan.has_router:
        assert decision.verdict.kind is VerdictKind.FAILED, decision.verdict
        old_serves(life)


@LIVES
@given(plans(), seeds)
def test_a_version_that_dies_after_its_promotion_leaves_the_old_one_serving(plan: RolloutPlan, seed: int) -> None:
    life = world(plan, seed, TROUBLE, new=Behaviour(dies_when_promoted=True))

    decision = life.live()

    if decision.verdict.kind is VerdictKind.FAILED:
        old_serves(life)
    else:  # it was over before anybody could see that it died
        assert life.revisions["web-old"].desired == 0 or decision.want.retire


@LIVES
@given(plans(), seeds)
def test_a_route_that_edges_refuse_ends_the_rollout_with_their_words(plan: RolloutPlan, seed: int) -> None:
    life = world(plan, seed, Faults(decider_dies=0.1, call_lost=0.1), rejects="web-new")

    decision = life.live()

    if plan.has_router:
        assert decision.verdict.reason == "ROUTE_REJECTED"
        assert "invalid cluster" in decision.verdict.message
        old_serves(life)


@LIVES
@given(plans(), seeds, st.sampled_from((GateVerdict.FAILED, GateVerdict.INCONCLUSIVE)))
def test_a_gate_that_does_not_pass_bars_the_way(plan: RolloutPlan, seed: int, verdict: GateVerdict) -> None:
    life = world(plan, seed, TROUBLE, gates={"looks-good": verdict})

    decision = life.live()

    if not life.asked_a_gate:
        assert decision.verdict.kind is VerdictKind.SUCCEEDED
    elif verdict is GateVerdict.FAILED:
        assert decision.verdict.reason == "GATE_FAILED"
        old_serves(life)
    else:
        assert decision.verdict.kind is VerdictKind.PAUSED
        assert decision.verdict.pause_reason is PauseReason.INCONCLUSIVE


@LIVES
@given(plans(), seeds, st.integers(0, 120))
def test_an_abort_at_any_time_brings_everything_back(plan: RolloutPlan, seed: int, turns: int) -> None:
    life = world(plan, seed, TROUBLE)
    for _ in range(turns):
        if life.turn().state.phase.is_terminal:
            break
        life.pass_time(SECOND)
    if life.state.phase.is_terminal:
        return

    life.wish(RolloutVerb.ABORT)
    decision = life.live(most=life.time + BOUND)

    assert decision.verdict.kind is VerdictKind.FAILED
    assert decision.verdict.reason == "ABORTED"
    assert decision.verdict.is_safe
    old_serves(life)


@LIVES
@given(plans(), seeds, st.booleans())
def test_what_somebody_else_changes_is_put_right(plan: RolloutPlan, seed: int, is_good: bool) -> None:
    life = world(plan, seed, MEDDLING, new=Behaviour(is_healthy=is_good))

    decision = life.live()

    if is_good:
        assert decision.verdict.kind is VerdictKind.SUCCEEDED, decision.verdict
        assert life.revisions["web-new"].desired == plan.replicas or life.disturbed
    else:
        assert decision.verdict.kind is VerdictKind.FAILED


@LIVES
@given(plans(), seeds, st.lists(st.sampled_from(list(RolloutVerb)), max_size=8))
def test_whatever_people_wish_and_in_whatever_order_it_ends(
    plan: RolloutPlan, seed: int, verbs: list[RolloutVerb]
) -> None:
    life = world(plan, seed, TROUBLE)
    for verb in verbs:
        for _ in range(life.random.randint(0, 30)):
            life.turn()
            life.pass_time(SECOND)
        life.wish(verb)

    life.wish(RolloutVerb.RESUME)
    decision = life.live(most=life.time + BOUND)

    assert decision.verdict.kind in {VerdictKind.SUCCEEDED, VerdictKind.FAILED}
    if decision.verdict.kind is VerdictKind.FAILED:
        assert decision.verdict.reason == "ABORTED"
        old_serves(life)


@LIVES
@given(plans(), seeds)
def test_when_replicas_of_either_version_die_now_and_then_one_of_them_serves_in_the_end(
    plan: RolloutPlan, seed: int
) -> None:
    life = world(plan, seed, replace(TROUBLE, new_replica_dies=0.03))

    decision = life.live()

    if decision.verdict.kind is VerdictKind.FAILED:
        assert decision.verdict.is_safe
        old_serves(life)
    else:
        assert life.revisions["web-new"].desired == plan.replicas
