from datetime import timedelta

import pytest
from fakes.rollout_world import SECOND

from opsuite_deployer.domain.rollout_explain import explain
from opsuite_deployer.domain.rollout_words import RolloutPlan
from opsuite_deployer.domain.strategy import (
    BlueGreen,
    Canary,
    GateStep,
    IntOrPercent,
    Pause,
    Rolling,
    RolloutGate,
    SetWeight,
    Strategy,
    TrafficLimits,
)

COUNTED = RolloutGate("counted", traffic=TrafficLimits(window=40 * SECOND))
STEPS = (SetWeight(25), Pause(60 * SECOND), GateStep(COUNTED), SetWeight(50))
NONE, ONE = IntOrPercent(0), IntOrPercent(1)


@pytest.mark.parametrize(
    ("strategy", "promote", "back"),
    [
        (BlueGreen(), 10, 0),
        (BlueGreen(auto_promotion_after=60 * SECOND, pre_promotion=COUNTED), 110, 0),
        (Canary(STEPS), 130, 0),  # 10 + 60 + 40 + 10 + 10
        (Canary(STEPS, dynamic_stable_scale=True), 130, 10),  # the old version has to grow again
        (Rolling(IntOrPercent(100, is_percent=True), NONE), 10, 10),
        (Rolling(NONE, ONE), 160, 160),  # four times drain and health
    ],
)
def test_it_is_told_how_long_promotion_and_way_back_take(strategy: Strategy, promote: int, back: int) -> None:
    found = explain(RolloutPlan("web", "web-new", "web-old", 4, strategy, has_router=True))

    assert found.least_to_promote == promote * SECOND
    assert found.most_to_roll_back == back * SECOND
    assert not found.waits_for_person


def test_it_is_told_that_a_person_is_needed() -> None:
    found = explain(RolloutPlan("web", "web-new", "web-old", 4, Canary((SetWeight(5), Pause())), has_router=True))

    assert found.waits_for_person
    assert found.steps == ("5 % of the requests", "wait for a promotion")


def test_the_longest_gate_is_what_it_takes_to_notice() -> None:
    plan = RolloutPlan("web", "web-new", "web-old", 4, Canary(STEPS, background=COUNTED), has_router=True)

    assert explain(plan).most_to_notice == 40 * SECOND


def test_a_first_version_has_no_steps_and_nothing_to_go_back_to() -> None:
    found = explain(RolloutPlan("web", "web-new", None, 4, Canary(STEPS), has_router=True))

    assert found.steps == ()
    assert (found.least_to_promote, found.most_to_roll_back) == (10 * SECOND, timedelta(0))
