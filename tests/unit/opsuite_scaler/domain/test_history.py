from __future__ import annotations

from fakes.clock import NOON
from fakes.scaling import HOUR, a_policy, ago, percent, pods, queue, rules

from opsuite_scaler.domain.decide import acted
from opsuite_scaler.domain.decision import Decision, SizeEvent, State, Verdict
from opsuite_scaler.domain.policy import Behavior, ScalingPolicy

POLICY = a_policy(queue(), behavior=Behavior(rules(pods(4, 15), percent(10, 60)), rules(pods(1, 120))))


def change(current: int, desired: int, state: State | None = None, policy: ScalingPolicy = POLICY) -> State:
    decision = Decision(Verdict.SCALE, current, desired, "AboveTarget", "")
    return acted(policy, state or State(), decision, NOON)


def test_a_change_is_an_event_of_its_direction() -> None:
    assert change(2, 5).ups == (SizeEvent(NOON, 3),)
    assert change(2, 5).downs == ()
    assert change(5, 2).downs == (SizeEvent(NOON, 3),)
    assert change(5, 2).ups == ()


def test_an_event_takes_the_place_of_one_that_is_older_than_every_period_of_its_direction() -> None:
    fresh, exact, old = SizeEvent(ago(10), 1), SizeEvent(ago(60), 2), SizeEvent(ago(61), 3)

    assert change(2, 5, State(ups=(fresh,))).ups == (fresh, SizeEvent(NOON, 3))
    assert change(2, 5, State(ups=(exact, fresh))).ups == (exact, fresh, SizeEvent(NOON, 3))
    assert change(2, 5, State(ups=(old, fresh))).ups == (SizeEvent(NOON, 3), fresh)
    assert change(5, 2, State(downs=(old, SizeEvent(ago(121), 1)))).downs == (old, SizeEvent(NOON, 3))


def test_without_behavior_nobody_reads_events_so_none_are_kept() -> None:
    after = change(2, 5, policy=a_policy(queue(), behavior=None))

    assert (after.ups, after.last_up) == ((), NOON)


def test_when_it_last_grew_and_shrank_is_remembered() -> None:
    before = State(last_up=ago(60), last_down=ago(30))

    assert (change(2, 5, before).last_up, change(2, 5, before).last_down) == (NOON, ago(30))
    assert (change(5, 2, before).last_up, change(5, 2, before).last_down) == (ago(60), NOON)


def test_only_turns_of_direction_are_reversals_and_only_those_of_the_last_hour() -> None:
    first = change(2, 5)
    again = change(5, 8, first)
    turned = change(8, 5, again)

    assert (first.reversals, again.reversals, turned.reversals) == ((), (), (NOON,))
    old = State(last_direction="down", reversals=(NOON - HOUR, ago(3599)))
    assert change(2, 5, old).reversals == (ago(3599), NOON)


def test_a_zero_of_the_policy_is_told_from_one_of_a_person() -> None:
    assert change(1, 0).scaled_to_zero
    assert not change(0, 1, State(scaled_to_zero=True)).scaled_to_zero


def test_no_change_changes_nothing() -> None:
    state = State(last_up=ago(5))

    assert change(3, 3, state) is state


def test_of_several_old_events_the_last_one_is_replaced() -> None:
    old, older = SizeEvent(ago(61), 3), SizeEvent(ago(90), 4)

    assert change(2, 5, State(ups=(older, old))).ups == (older, SizeEvent(NOON, 3))
