"""One look at a target and what follows from it, on both databases, with deaths and other hands in between."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes.scaler_stage import ADA, Died, Stage
from scaler import a_policy

from opsuite.scaler.v1 import decision_pb2
from opsuite_kernel.errors import Conflict, InvalidInput, OpsuiteError, Unavailable
from opsuite_runs.port import FencedOut
from opsuite_scaler.adapters import tables
from opsuite_scaler.application.errors import PolicyNotFound, SizeChanged
from opsuite_scaler.application.policies import SizeWish
from opsuite_scaler.application.records import Cause, Result
from opsuite_scaler.application.store import Overtaken
from opsuite_scaler.composition import MIGRATIONS
from opsuite_scaler.domain.decision import Verdict
from opsuite_scaler.domain.policy import Mode, ModeSetting
from opsuite_storage.migrations import migrate
from opsuite_storage.store import Store

KIND = decision_pb2.ScalingEventKind.Name


@pytest.fixture
async def stage(store: Store) -> Stage:
    await migrate(store, MIGRATIONS)
    return Stage(store)


async def a_shop(stage: Stage, *, size: int = 1, jobs: float | None = None, **fields: Any) -> None:
    """The policy "shop": ten jobs for each of 1 to 5 replicas."""
    await stage.create(a_policy("shop", **fields), size=size)
    if jobs is not None:
        stage.sources.values["jobs"] = jobs


def kinds(events: list[decision_pb2.ScalingEvent]) -> list[str]:
    return [KIND(event.kind).removeprefix("SCALING_EVENT_KIND_") for event in events]


# --- deciding and doing ----------------------------------------------------------------------------------------------


async def test_a_decision_is_recorded_with_its_reasons_and_carried_out(stage: Stage) -> None:
    await a_shop(stage, jobs=35)

    await stage.look()

    last = await stage.last()
    assert stage.targets.changes == [("shop", 1, 4)]
    assert (last.result, last.decision.verdict, last.decision.desired) == (Result.ACCEPTED, Verdict.SCALE, 4)
    assert last.steps
    assert last.snapshot is not None
    assert last.snapshot.readings["queue"].total == 35
    state = (await stage.standing()).target.state
    assert state is not None
    assert state.last_up is not None
    assert kinds(await stage.events()) == ["CREATED", "DECIDED", "SCALED"]


async def test_equal_decisions_one_after_the_other_are_one_activity_and_one_event(stage: Stage) -> None:
    await a_shop(stage, jobs=10)

    for _ in range(3):
        await stage.look()

    assert [(one.evaluations, one.result) for one in await stage.activities()] == [(3, Result.NONE)]
    assert kinds(await stage.events()) == ["CREATED", "DECIDED"]


async def test_a_metric_that_fails_shrinks_nothing(stage: Stage) -> None:
    await a_shop(stage, size=4)

    await stage.look()

    assert stage.targets.changes == []
    assert (await stage.last()).decision.verdict is Verdict.NO_CHANGE


async def test_a_dry_run_decides_and_touches_nothing(stage: Stage) -> None:
    await a_shop(stage, jobs=35, mode={"mode": "SCALING_MODE_DRY_RUN"})

    await stage.look()

    last = await stage.last()
    assert stage.targets.changes == []
    assert (last.result, last.decision.desired) == (Result.DRY_RUN, 4)


async def test_a_look_begun_before_somebody_paused_the_policy_changes_nothing(stage: Stage) -> None:
    await a_shop(stage, jobs=35)
    await stage.claim_all()
    stage.sources.interlude = lambda: stage.policies.set_mode("shop", ModeSetting(Mode.PAUSED), "", ADA)

    with pytest.raises(Overtaken):
        await stage.look()
    assert stage.targets.changes == []

    await stage.look()
    assert stage.targets.changes == []
    assert (await stage.last()).decision.reason == "Paused"


# --- deaths ----------------------------------------------------------------------------------------------------------


async def test_who_died_after_the_target_had_accepted_did_it_once(stage: Stage) -> None:
    await a_shop(stage, jobs=35)
    stage.targets.after_set = _die
    with pytest.raises(Died):
        await stage.look()
    stage.targets.after_set = _live
    await stage.claim_all()

    await stage.look()

    scaled = [one for one in await stage.activities() if one.decision.verdict is Verdict.SCALE]
    assert stage.targets.changes == [("shop", 1, 4)]
    assert [one.result for one in scaled] == [Result.ACCEPTED]
    state = (await stage.standing()).target.state
    assert state is not None
    assert state.last_up is not None


async def test_who_died_before_telling_the_target_decides_anew(stage: Stage) -> None:
    await a_shop(stage, jobs=35)
    stage.targets.before_set = _die
    with pytest.raises(Died):
        await stage.look()
    stage.targets.before_set = _live
    stage.sources.values["jobs"] = 25
    await stage.claim_all()

    await stage.look()

    assert stage.targets.changes == [("shop", 1, 3)]
    scaled = [one.result for one in await stage.activities() if one.decision.verdict is Verdict.SCALE]
    assert sorted(scaled, key=str) == sorted([Result.DROPPED, Result.ACCEPTED], key=str)


async def test_a_decider_that_lost_its_target_changes_nothing(stage: Stage) -> None:
    await a_shop(stage, jobs=35)
    await stage.claim_all()
    other = Stage(stage.database, stage)
    await other.claim_all()

    with pytest.raises(FencedOut):
        await stage.look()
    assert stage.targets.changes == []

    await other.look()
    assert stage.targets.changes == [("shop", 1, 4)]


async def test_nobody_looks_at_the_target_of_a_deleted_policy(stage: Stage) -> None:
    await a_shop(stage, jobs=35)
    await stage.claim_all()
    await stage.policies.delete("shop", "", ADA)

    with pytest.raises(FencedOut):
        await stage.look()
    assert stage.targets.changes == []
    assert stage.foresight.forgotten == ["shop"]
    assert kinds(await stage.events()) == ["CREATED", "DELETED"]
    with pytest.raises(PolicyNotFound):
        await stage.standing()


async def test_a_policy_may_have_the_name_of_one_that_was_deleted(stage: Stage) -> None:
    await a_shop(stage, jobs=35)
    await stage.look()
    await stage.policies.delete("shop", "", ADA)

    await a_shop(stage, jobs=25)
    await stage.claim_all()
    await stage.look()

    assert stage.targets.changes == [("shop", 1, 4), ("shop", 1, 3)]
    events = await stage.events()
    assert [event.revision for event in events] == list(range(1, len(events) + 1))
    assert kinds(events) == ["CREATED", "DECIDED", "SCALED", "DELETED", "CREATED", "DECIDED", "SCALED"]


# --- other hands -----------------------------------------------------------------------------------------------------


async def test_a_size_that_changed_under_our_hands_is_respected_and_told(stage: Stage) -> None:
    await a_shop(stage, jobs=35)

    def interfere() -> None:
        stage.targets.sizes["shop"] = 2

    stage.targets.before_set = interfere
    looked = await stage.look()
    stage.targets.before_set = _live

    assert looked.again_at_once
    assert (await stage.last()).result is Result.FAILED
    await stage.look()
    assert stage.targets.changes == [("shop", 2, 4)]
    foreign = [one for one in await stage.activities() if one.cause is Cause.FOREIGN]
    assert [(one.decision.current, one.decision.desired) for one in foreign] == [(1, 2)]


async def test_a_foreign_change_is_recorded_and_not_undone_by_itself(stage: Stage) -> None:
    await a_shop(stage, jobs=10)
    await stage.look()
    stage.targets.sizes["shop"] = 3
    stage.sources.values["jobs"] = 30

    await stage.look()

    assert stage.targets.changes == []
    assert [one.cause for one in await stage.activities()].count(Cause.FOREIGN) == 1
    assert "FOREIGN_CHANGE" in kinds(await stage.events())
    await stage.look()
    assert [one.cause for one in await stage.activities()].count(Cause.FOREIGN) == 1


async def test_a_target_that_does_not_answer_whether_it_was_done_is_asked_at_the_next_look(stage: Stage) -> None:
    await a_shop(stage, jobs=35)
    stage.targets.after_set = _lose_the_answer
    await stage.look()
    assert (await stage.last()).result is Result.PENDING
    stage.targets.after_set = _live

    await stage.look()

    assert stage.targets.changes == [("shop", 1, 4)]
    assert [one.result for one in await stage.activities()][:1] == [Result.ACCEPTED]


async def test_a_target_that_was_not_reached_is_decided_about_anew(stage: Stage) -> None:
    await a_shop(stage, jobs=35)
    stage.targets.before_set = _lose_the_answer
    await stage.look()
    stage.targets.before_set = _live

    await stage.look()

    assert stage.targets.changes == [("shop", 1, 4)]
    results = [one.result for one in await stage.activities() if one.decision.verdict is Verdict.SCALE]
    assert results == [Result.ACCEPTED]


@pytest.mark.parametrize("refusal", [Unavailable("away"), Conflict("two revisions serve", reason="ROLLOUT_UNDER_WAY")])
async def test_a_failure_that_goes_on_is_one_activity_and_told_once(stage: Stage, refusal: OpsuiteError) -> None:
    await a_shop(stage, jobs=35)

    def refuse() -> None:
        raise refusal

    stage.targets.before_set = refuse
    looks = [await stage.look() for _ in range(4)]
    stage.targets.before_set = _live

    assert not any(look.again_at_once for look in looks)
    assert [(one.evaluations, one.error) for one in await stage.activities()] == [(4, refusal.message)]
    assert kinds(await stage.events()) == ["CREATED", "DECIDED", "FAILED"]
    await stage.look()
    assert stage.targets.changes == [("shop", 1, 4)]
    assert [one.result for one in await stage.activities()] == [Result.ACCEPTED]


async def test_who_died_while_doing_what_a_person_wanted_does_it_once(stage: Stage) -> None:
    await a_shop(stage, jobs=10)
    await stage.policies.set_size(SizeWish("shop", 3), ADA)
    for moment in ("before_set", "after_set"):
        setattr(stage.targets, moment, _die)
        with pytest.raises(Died):
            await stage.look()
        setattr(stage.targets, moment, _live)
        await stage.claim_all()

    await stage.look()

    assert stage.targets.changes == [("shop", 1, 3)]
    assert [one.result for one in await stage.activities()] == [Result.ACCEPTED]


async def test_a_target_that_cannot_be_read_is_told_once_and_again_when_it_can(stage: Stage) -> None:
    await a_shop(stage, jobs=10)
    stage.targets.is_away = True
    await stage.look()
    await stage.look()
    assert (await stage.standing()).target.error == "the target is away"
    stage.targets.is_away = False

    await stage.look()

    assert (await stage.standing()).target.error == ""
    assert kinds(await stage.events()) == ["CREATED", "TARGET_ERROR", "TARGET_ERROR", "DECIDED"]


# --- people ----------------------------------------------------------------------------------------------------------


async def test_a_size_set_by_hand_is_made_true_and_held(stage: Stage) -> None:
    await a_shop(stage, jobs=10)
    hold = datetime.now(UTC) + timedelta(hours=1)
    await stage.policies.set_size(SizeWish("shop", 3, hold_until=hold), ADA)

    await stage.look()
    await stage.look()

    last = await stage.last()
    assert stage.targets.changes == [("shop", 1, 3)]
    assert (last.decision.verdict, last.decision.reason, last.decision.withheld) == (Verdict.WAIT, "ManualHold", 1)


async def test_resuming_ends_the_hold(stage: Stage) -> None:
    await a_shop(stage, jobs=10)
    hold = datetime.now(UTC) + timedelta(hours=1)
    await stage.policies.set_size(SizeWish("shop", 3, hold_until=hold), ADA)
    await stage.look()

    await stage.policies.set_mode("shop", ModeSetting(), "", ADA, ends_hold=True)
    await stage.look()

    assert stage.targets.changes == [("shop", 1, 3), ("shop", 3, 1)]


async def test_the_newer_of_two_wishes_wins(stage: Stage) -> None:
    await a_shop(stage, jobs=10)
    first = await stage.policies.set_size(SizeWish("shop", 3), ADA)
    second = await stage.policies.set_size(SizeWish("shop", 5), ADA)

    await stage.look()

    results = {one.id: one.result for one in await stage.activities()}
    assert stage.targets.changes == [("shop", 1, 5)]
    assert (results[first.id], results[second.id]) == (Result.DROPPED, Result.ACCEPTED)


async def test_a_wish_waits_for_a_target_that_is_away(stage: Stage) -> None:
    await a_shop(stage, jobs=10)
    await stage.policies.set_size(SizeWish("shop", 3, hold_until=datetime.now(UTC) + timedelta(hours=1)), ADA)
    stage.targets.before_set = _lose_the_answer
    await stage.look()
    stage.targets.before_set = _live

    await stage.look()

    assert stage.targets.changes == [("shop", 1, 3)]
    assert (await stage.activities())[0].result is Result.ACCEPTED


@pytest.mark.parametrize("replicas", [0, 6])
async def test_a_size_outside_the_bounds_is_refused(stage: Stage, replicas: int) -> None:
    await a_shop(stage)

    with pytest.raises(InvalidInput):
        await stage.policies.set_size(SizeWish("shop", replicas), ADA)


async def test_a_size_other_than_expected_is_refused(stage: Stage) -> None:
    await a_shop(stage, jobs=10)
    await stage.look()

    with pytest.raises(SizeChanged):
        await stage.policies.set_size(SizeWish("shop", 3, expected=2), ADA)
    assert [one.cause for one in await stage.activities()] == [Cause.POLICY]


async def test_what_is_evaluated_is_neither_done_nor_recorded(stage: Stage) -> None:
    await a_shop(stage, jobs=35)

    _, _, outcome = await stage.policies.evaluate("shop")

    assert outcome.decision.desired == 4
    assert stage.targets.changes == []
    assert await stage.activities() == []


# --- neighbours ------------------------------------------------------------------------------------------------------


async def test_a_rollout_holds_the_size(stage: Stage) -> None:
    await a_shop(stage, jobs=35)
    stage.rollouts.under_way = True

    await stage.look()

    last = await stage.last()
    assert stage.targets.changes == []
    assert (last.decision.verdict, last.decision.reason) == (Verdict.WAIT, "RolloutUnderWay")


async def test_while_nobody_tells_of_rollouts_a_target_grows_and_does_not_shrink(stage: Stage) -> None:
    await a_shop(stage, jobs=35)
    stage.rollouts.is_away = True

    await stage.look()
    stage.sources.values["jobs"] = 10
    await stage.look()

    assert stage.targets.changes == [("shop", 1, 4)]
    assert (await stage.last()).decision.reason == "ScaleUpOnly"


async def test_a_policy_that_ignores_rollouts_does_not_ask(stage: Stage) -> None:
    await a_shop(stage, size=4, jobs=10, holdDuringRollout=False)
    stage.rollouts.is_away = stage.rollouts.under_way = True

    await stage.look()

    assert stage.targets.changes == [("shop", 4, 1)]


async def test_a_pool_that_is_too_small_goes_to_the_higher_priority(stage: Stage) -> None:
    await stage.pools.create("gpu", 5, "", ADA)
    for name, priority in (("high", 10), ("low", 0)):
        policy = a_policy(name, pool="capacityPools/gpu", priority=priority)
        await stage.create(policy, size=1)
    stage.sources.values["jobs"] = 45
    await stage.claim_all()

    for _ in range(3):
        for name in ("low", "high"):
            await stage.look(name)

    assert stage.targets.sizes == {"high": 4, "low": 1}
    _, shares = await stage.pools.get("gpu")
    assert [(share.policy, share.wanted, share.granted) for share in shares] == [("high", 5, 4), ("low", 5, 1)]


async def test_a_pool_takes_nothing_from_a_target_that_it_sees_for_the_first_time(stage: Stage) -> None:
    await stage.pools.create("gpu", 5, "", ADA)
    await a_shop(stage, size=4, jobs=40, pool="capacityPools/gpu")

    await stage.look()

    assert stage.targets.changes == []


async def test_a_pool_is_never_overdrawn_whoever_looks_when(stage: Stage) -> None:
    capacity, names = 7, ("one", "two", "three")
    await stage.pools.create("gpu", capacity, "", ADA)
    for number, name in enumerate(names):
        queue = {"name": "queue", "queueLength": {"maxItems": 10, "source": "push", "query": name}}
        policy = a_policy(name, pool="capacityPools/gpu", priority=number % 2, metrics=[queue])
        await stage.create(policy, size=1)
    await stage.claim_all()

    chance = random.Random(7)
    for _ in range(40):
        stage.sources.values[chance.choice(names)] = chance.randrange(0, 60)
        await stage.look(chance.choice(names))
        assert sum(stage.targets.sizes.values()) <= capacity
    assert len(stage.targets.changes) > 5


async def test_what_another_target_takes_of_a_pool_meanwhile_is_not_taken_twice(stage: Stage) -> None:
    await stage.pools.create("gpu", 6, "", ADA)
    for name in ("one", "two"):
        await stage.create(a_policy(name, pool="capacityPools/gpu"), size=1)
    stage.sources.values["jobs"] = 10
    for name in ("one", "two"):
        await stage.look(name)
    stage.sources.values["jobs"] = 50
    stage.sources.interlude = lambda: stage.look("two")

    with pytest.raises(Overtaken):
        await stage.look("one")

    assert sum(stage.targets.sizes.values()) <= 6
    await stage.look("one")
    assert sum(stage.targets.sizes.values()) <= 6


async def test_what_a_target_costs_is_added_up(stage: Stage) -> None:
    await a_shop(stage, size=2, jobs=20, cost={"pricePerReplicaHour": 3600, "budget": 1e9})

    for _ in range(3):
        await stage.look()

    used = await stage.database.read(lambda connection: connection.execute(tables.spending.select()).all())
    assert sum(row.replica_seconds for row in used) > 0
    _, sight, _ = await stage.policies.evaluate("shop")
    assert sight.snapshot.spent == pytest.approx(sum(row.replica_seconds for row in used))


async def test_what_was_seen_is_kept_for_forecasts(stage: Stage) -> None:
    await a_shop(stage, size=2, jobs=20)

    await stage.look()
    await stage.look()

    kept = await stage.database.read(lambda connection: connection.execute(tables.observations.select()).all())
    assert (kept[0].policy, kept[0].size, kept[0].values) == ("shop", 2, {"queue": 20.0})


# --- what they are made of -------------------------------------------------------------------------------------------


def _die() -> None:
    raise Died


def _live() -> None:
    return


def _lose_the_answer() -> None:
    raise Unavailable("nobody answers")
