from datetime import timedelta

import pytest

from opsuite_deployer.domain.rollout_rules import rollout_violations
from opsuite_deployer.domain.strategy import (
    USUAL_SAFETY,
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
    Strategy,
    TrafficLimits,
)

SECOND = timedelta(seconds=1)
NONE = IntOrPercent(0)
COUNTED = RolloutGate("counted", traffic=TrafficLimits())


def found(
    strategy: Strategy, *, safety: Safety = USUAL_SAFETY, replicas: int = 4, has_router: bool = True
) -> list[tuple[str, str]]:
    problems = rollout_violations(strategy, safety, replicas, has_router=has_router)
    return [(one.field, one.reason) for one in problems]


@pytest.mark.parametrize("has_router", [True, False])
@pytest.mark.parametrize("strategy", [Rolling(), Canary(), Canary((SetWeight(20), Pause(), SetWeight(100)))])
def test_defaults_are_sound(strategy: Strategy, has_router: bool) -> None:
    assert found(strategy, has_router=has_router) == []


def test_blue_green_is_sound_behind_a_router() -> None:
    assert found(BlueGreen(pre_promotion=COUNTED, post_promotion=COUNTED)) == []


@pytest.mark.parametrize(
    ("strategy", "problem"),
    [
        (Rolling(NONE, NONE), ("rolling.max_unavailable", "CONTRADICTORY")),
        (Rolling(NONE, IntOrPercent(0, is_percent=True)), ("rolling.max_unavailable", "CONTRADICTORY")),
        (Rolling(NONE, IntOrPercent(101, is_percent=True)), ("rolling.max_unavailable", "LTE")),
        (Canary(max_surge=NONE, max_unavailable=NONE), ("canary.max_unavailable", "CONTRADICTORY")),
        (Canary((SetWeight(101),)), ("canary.steps[0].set_weight", "LTE")),
        (Canary((SetWeight(60),), max_weight=50), ("canary.steps[0].set_weight", "LTE")),
        (Canary(max_weight=0), ("canary.max_weight", "GTE")),
        (Canary((SetWeight(1),), background_from=2), ("canary.background_from", "LTE")),
        (Canary((Pause(), GateStep(RolloutGate("empty")))), ("canary.steps[1].gate", "REQUIRED")),
        (Canary(background=RolloutGate()), ("canary.background", "REQUIRED")),
        (BlueGreen(pre_promotion=RolloutGate()), ("blue_green.pre_promotion", "REQUIRED")),
        (
            BlueGreen(auto_promotion_enabled=False, auto_promotion_after=SECOND),
            ("blue_green.auto_promotion_after", "CONTRADICTORY"),
        ),
    ],
)
def test_a_contradiction_is_named_by_its_path(strategy: Strategy, problem: tuple[str, str]) -> None:
    assert found(strategy) == [problem]


@pytest.mark.parametrize(
    ("strategy", "problem"),
    [
        (BlueGreen(), ("blue_green", "REQUIRED")),
        (Canary((SetReplicas(2),)), ("canary.steps[0].set_replicas", "CONTRADICTORY")),
        (Canary(dynamic_stable_scale=True), ("canary.dynamic_stable_scale", "CONTRADICTORY")),
        (Canary((GateStep(COUNTED),)), ("canary.steps[0].gate.traffic", "CONTRADICTORY")),
    ],
)
def test_what_needs_a_router_is_refused_without_one(strategy: Strategy, problem: tuple[str, str]) -> None:
    assert found(strategy, has_router=False) == [problem]


def test_one_replica_is_split_by_a_surge_or_not_at_all() -> None:
    steps = (SetWeight(0), SetWeight(30), SetWeight(100))

    assert found(Canary(steps), replicas=1, has_router=False) == []
    without = Canary(steps, max_surge=NONE)
    assert found(without, replicas=1, has_router=False) == [("canary.steps[1].set_weight", "CONTRADICTORY")]
    assert found(without, replicas=1) == []


def test_clocks_must_leave_one_another_time() -> None:
    safety = Safety(min_healthy_time=9 * SECOND, healthy_deadline=9 * SECOND, progress_deadline=9 * SECOND)

    assert found(Rolling(), safety=safety) == [
        ("min_healthy_time", "CONTRADICTORY"),
        ("healthy_deadline", "CONTRADICTORY"),
    ]


def test_there_must_be_something_to_roll_out() -> None:
    assert found(Rolling(), replicas=0) == [("workload.replicas", "GTE")]
