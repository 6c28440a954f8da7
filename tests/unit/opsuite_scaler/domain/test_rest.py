"""Holds, the reversal budget, and cooldowns."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.clock import NOON
from fakes.scaling import HOUR, MINUTE, SECOND, a_policy, ago, decision, one, queue, rules_of, seen

from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import State, Verdict
from opsuite_scaler.domain.policy import Cooldown, FlapGuard, Mode, ModeSetting

UP, DOWN, SAME = one(90), one(20), one(50)
"""At five replicas: to nine, to two, neither."""


def test_a_rollout_holds_the_size_for_as_long_as_it_lasts() -> None:
    snapshot = seen(5, about={"rollout_under_way": True}, queue=UP)

    found = decision(a_policy(queue()), snapshot)

    assert (found.verdict, found.desired, found.reason) == (Verdict.WAIT, 9, "RolloutUnderWay")
    assert found.remaining == 0 * SECOND
    assert decision(a_policy(queue(), hold_during_rollout=False), snapshot).verdict is Verdict.SCALE


def test_a_size_set_by_hand_is_kept_until_its_time() -> None:
    def at(until: Any) -> Any:
        return decision(a_policy(queue()), seen(5, about={"manual_until": until}, queue=DOWN))

    held = at(NOON + 90 * SECOND)
    assert (held.verdict, held.desired, held.reason) == (Verdict.WAIT, 2, "ManualHold")
    assert held.remaining == 90 * SECOND
    assert at(NOON).verdict is Verdict.SCALE
    assert at(NOON - SECOND).verdict is Verdict.SCALE


@pytest.mark.parametrize("about", [{"rollout_under_way": True}, {"manual_until": NOON + HOUR}])
def test_holds_bind_corrections_too_and_say_nothing_when_nothing_would_change(about: dict[str, Any]) -> None:
    policy = a_policy(queue(), max_replicas=3)

    assert decision(policy, seen(5, about=about, queue=UP)).verdict is Verdict.WAIT
    assert decision(a_policy(queue()), seen(5, about=about, queue=SAME)).verdict is Verdict.NO_CHANGE


@pytest.mark.parametrize(
    ("cooldown", "state", "reading", "remaining"),
    [
        pytest.param({"after_up": MINUTE}, {"last_up": ago(50)}, UP, 10, id="growing rests after growing"),
        pytest.param({"after_up": MINUTE}, {"last_up": ago(60)}, UP, None, id="until exactly its end"),
        pytest.param({"after_up": MINUTE}, {"last_down": ago(1)}, UP, None, id="not after shrinking"),
        pytest.param({"after_up": HOUR}, {"last_up": ago(1)}, DOWN, None, id="it does not bind shrinking"),
        pytest.param({"after_down": MINUTE}, {"last_down": ago(50)}, DOWN, 10, id="shrinking rests after shrinking"),
        pytest.param({"after_down": MINUTE}, {"last_up": ago(40)}, DOWN, 20, id="and after growing"),
        pytest.param({"after_down": MINUTE}, {"last_up": ago(40), "last_down": ago(50)}, DOWN, 20, id="the later one"),
        pytest.param(
            {"after_down": MINUTE}, {"last_up": ago(50), "last_down": ago(40)}, DOWN, 20, id="the later, again"
        ),
        pytest.param({"after_down": MINUTE}, {"last_down": ago(60)}, DOWN, None, id="until exactly its end, again"),
        pytest.param({"after_down": HOUR}, {"last_down": ago(1)}, UP, None, id="it never delays growing"),
        pytest.param({"after_down": HOUR, "after_up": HOUR}, {}, UP, None, id="nothing was done yet"),
        pytest.param({"after_down": HOUR, "after_up": HOUR}, {}, DOWN, None, id="nothing was done yet, again"),
    ],
)
def test_a_target_rests_after_a_change(
    cooldown: dict[str, Any], state: dict[str, Any], reading: Any, remaining: float | None
) -> None:
    found = decision(a_policy(queue(), cooldown=Cooldown(**cooldown)), seen(5, queue=reading), State(**state))

    if remaining is None:
        assert found.verdict is Verdict.SCALE
    else:
        assert (found.verdict, found.reason) == (Verdict.WAIT, "CoolingDown")
        assert found.remaining == remaining * SECOND
        assert (found.current, found.desired, found.withheld) == (5, *[9 if reading is UP else 2] * 2)


def test_rest_says_nothing_when_nothing_would_change() -> None:
    policy = a_policy(queue(), cooldown=Cooldown(HOUR, HOUR))

    assert decision(policy, seen(5, queue=SAME), State(last_up=ago(1))).verdict is Verdict.NO_CHANGE


@pytest.mark.parametrize(("size", "bounds"), [(5, (1, 3)), (5, (7, 9))])
def test_corrections_pass_cooldowns_and_the_reversal_budget(size: int, bounds: tuple[int, int]) -> None:
    policy = a_policy(
        queue(), min_replicas=bounds[0], max_replicas=bounds[1], cooldown=Cooldown(HOUR, HOUR), flaps=FlapGuard(0)
    )
    state = State(last_up=ago(1), last_down=ago(1), last_direction="up")

    assert decision(policy, seen(size, queue=SAME), state).verdict is Verdict.SCALE


REVERSALS = (ago(3599), ago(1800), ago(60))


@pytest.mark.parametrize(
    ("most", "state", "reading", "remaining"),
    [
        pytest.param(3, {}, DOWN, 1, id="spent, until the first is an hour old"),
        pytest.param(2, {}, DOWN, 1800, id="overspent, until only one is left"),
        pytest.param(0, {}, DOWN, 3600, id="none allowed"),
        pytest.param(4, {}, DOWN, None, id="one is left"),
        pytest.param(None, {}, DOWN, None, id="no limit"),
        pytest.param(3, {}, UP, None, id="growing is never bound"),
        pytest.param(3, {"last_direction": "down"}, DOWN, None, id="no turn"),
        pytest.param(0, {"last_direction": ""}, DOWN, None, id="never moved"),
        pytest.param(3, {"reversals": (ago(3600), *REVERSALS[1:])}, DOWN, None, id="one is exactly an hour old"),
    ],
)
def test_too_much_back_and_forth_stops_shrinking(
    most: int | None, state: dict[str, Any], reading: Any, remaining: float | None
) -> None:
    policy = a_policy(queue(), flaps=FlapGuard(most))
    given = State(**{"last_direction": "up", "reversals": REVERSALS} | state)

    found = decision(policy, seen(5, queue=reading), given)

    if remaining is None:
        assert found.verdict is Verdict.SCALE
    else:
        assert (found.verdict, found.reason) == (Verdict.WAIT, "TooManyReversals")
        assert found.remaining == remaining * SECOND


def test_what_withholds_first_is_named_modes_before_holds_before_cooldowns() -> None:
    policy = a_policy(queue(), cooldown=Cooldown(HOUR, HOUR))
    state = State(last_up=ago(1))
    held = seen(5, about={"manual_until": NOON + HOUR, "rollout_under_way": True}, queue=UP)
    paused = a_policy(queue(), mode=ModeSetting(Mode.PAUSED))

    assert decision(paused, held, state).reason == "Paused"
    assert decision(policy, held, state).reason == "ManualHold"
    assert decision(policy, seen(5, about={"rollout_under_way": True}, queue=UP), state).reason == "RolloutUnderWay"
    assert decision(policy, seen(5, queue=UP), state).reason == "CoolingDown"


def test_a_wait_explains_what_it_withholds() -> None:
    outcome = decide(a_policy(queue(), cooldown=Cooldown(HOUR)), seen(5, queue=UP), State(last_up=ago(1)))

    last = outcome.steps[-1]
    assert rules_of(outcome) == ["metric_proposal", "cooldown"]
    assert (last.before, last.after, last.inputs) == (9, 5, {"remaining_seconds": 3599})
