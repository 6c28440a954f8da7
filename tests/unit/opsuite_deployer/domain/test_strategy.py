"""Defaults are promises: they are in the contract and in ADR 23."""

from datetime import timedelta

import pytest

from opsuite_deployer.domain.strategy import (
    BlueGreen,
    Canary,
    CanaryStep,
    GateStep,
    IntOrPercent,
    Pause,
    Rolling,
    RolloutGate,
    Safety,
    SetReplicas,
    SetWeight,
    Strategy,
    TrafficLimits,
    said,
    steps_of,
)

SECOND = timedelta(seconds=1)
QUARTER = IntOrPercent(25, is_percent=True)
LOOK = RolloutGate("looks-good")


def test_the_defaults_are_those_of_the_field() -> None:
    assert Rolling() == Rolling(QUARTER, QUARTER, None, timedelta(0))
    assert BlueGreen() == BlueGreen(True, timedelta(0), None, None, None, 30 * SECOND, 30 * SECOND)
    assert Canary() == Canary((), None, 0, 100, False, QUARTER, QUARTER, 30 * SECOND, 30 * SECOND)
    assert Safety() == Safety(10 * SECOND, 300 * SECOND, 600 * SECOND, 3, 30 * SECOND)
    assert TrafficLimits() == TrafficLimits(1.0, None, 0.99, 10, 30 * SECOND)


@pytest.mark.parametrize(
    ("strategy", "steps"),
    [
        (Rolling(), ()),
        (Canary((SetWeight(5), Pause())), (SetWeight(5), Pause())),
        (BlueGreen(), (SetReplicas(4),)),
        (BlueGreen(preview_replicas=1, pre_promotion=LOOK), (SetReplicas(1), GateStep(LOOK))),
        (BlueGreen(auto_promotion_after=9 * SECOND), (SetReplicas(4), Pause(9 * SECOND))),
        (BlueGreen(auto_promotion_enabled=False), (SetReplicas(4), Pause())),
    ],
)
def test_every_strategy_is_a_list_of_steps(strategy: Strategy, steps: tuple[CanaryStep, ...]) -> None:
    assert steps_of(strategy, 4) == steps


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (SetWeight(1), "2 % of the requests"),
        (SetReplicas(3), "3 replicas"),
        (Pause(), "wait for a promotion"),
        (Pause(90 * SECOND), "wait for 90 s"),
        (GateStep(LOOK), "gate looks-good"),
    ],
)
def test_a_step_is_told_in_words(step: CanaryStep, words: str) -> None:
    assert said(step, max_weight=50) == words
