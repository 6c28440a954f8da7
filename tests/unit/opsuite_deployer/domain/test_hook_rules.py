"""Which moments there are, for which hooks."""

import pytest
from fakes.deployments import a_pipeline, a_stage, a_step

from opsuite_deployer.domain.hook_points import (
    AFTER_PROMOTION,
    BEFORE_INCREASE,
    BEFORE_PROMOTION,
    BEFORE_TRAFFIC,
    HookPoint,
    Moment,
    Phase,
)
from opsuite_deployer.domain.hook_rules import moment_violations
from opsuite_deployer.domain.hooks import points_of, usual_failure
from opsuite_deployer.domain.pipeline import Hook, OnFailure, Rollout, Step, Workload
from opsuite_deployer.domain.routing import EdgeRouter, TrafficRouting
from opsuite_deployer.domain.strategy import BlueGreen, Canary, Rolling, SetWeight, Strategy

SHARES = Canary((SetWeight(10),))
OF_PROMOTIONS = (BEFORE_PROMOTION, AFTER_PROMOTION)
OF_STAGES = HookPoint(Moment.BEFORE, Phase.STAGE)
OF_ALL = HookPoint(Moment.BEFORE, Phase.DEPLOYMENT)


def a_rollout(strategy: Strategy, *, routed: bool = True) -> Step:
    traffic = TrafficRouting(EdgeRouter(8080)) if routed else None
    return a_step("roll", kind=Rollout(Workload("web", ("serve",)), strategy, traffic=traffic))


def found(point: HookPoint, step: Step, *, stage: str = "", **fields: object) -> list[tuple[str, str]]:
    hook = Hook(point, a_step("hook", **({"on_failure": usual_failure(point)} | fields)), stage)
    pipeline = a_pipeline(a_stage("web", step), a_stage("plain"), hooks=(hook,))
    return [(one.field, one.reason) for one in moment_violations(pipeline, hook)]


@pytest.mark.parametrize(
    ("step", "points"),
    [
        (a_rollout(SHARES), (BEFORE_TRAFFIC, BEFORE_INCREASE, *OF_PROMOTIONS)),
        (a_rollout(SHARES, routed=False), OF_PROMOTIONS),
        (a_rollout(Canary()), OF_PROMOTIONS),
        (a_rollout(BlueGreen()), OF_PROMOTIONS),
        (a_rollout(Rolling()), OF_PROMOTIONS),
        (a_step(), ()),
    ],
    ids=["canary", "canary without a router", "canary without steps", "blue-green", "rolling", "no rollout"],
)
def test_only_a_canary_that_grows_by_shares_has_moments_before_them(step: Step, points: tuple[HookPoint, ...]) -> None:
    assert points_of(step) == points
    for point in (BEFORE_TRAFFIC, BEFORE_INCREASE, *OF_PROMOTIONS):
        there = point in points
        assert found(point, step) == ([] if there else [(point.moment.value, "UNKNOWN")])
        assert found(point, step, stage="web") == ([] if there else [("stage", "UNKNOWN")])
        assert found(point, step, stage="plain") == [("stage", "UNKNOWN")]


@pytest.mark.parametrize(
    ("point", "stage", "fields", "expected"),
    [
        (OF_STAGES, "web", {}, []),
        (OF_STAGES, "", {"skip_on_rollback": True}, []),
        (OF_STAGES, "moon", {}, [("stage", "UNKNOWN")]),
        (OF_ALL, "web", {}, [("stage", "CONTRADICTORY")]),
        (OF_ALL, "", {"skip_on_rollback": True}, [("on_rollback", "CONTRADICTORY")]),
        (OF_ALL, "", {"on_failure": OnFailure.PAUSE}, []),
        (
            HookPoint(Moment.BEFORE, Phase.ROLLBACK),
            "",
            {"on_failure": OnFailure.FAIL},
            [("on_failure", "CONTRADICTORY")],
        ),
        (
            HookPoint(Moment.AFTER, Phase.FAILURE),
            "",
            {"on_failure": OnFailure.PAUSE},
            [("on_failure", "CONTRADICTORY")],
        ),
        (HookPoint(Moment.BEFORE, Phase.FAILURE), "", {}, [("before", "CONTRADICTORY")]),
        (HookPoint(Moment.AFTER, Phase.TRAFFIC), "", {}, [("after", "CONTRADICTORY")]),
        (HookPoint(Moment.AFTER, Phase.INCREASE), "", {}, [("after", "CONTRADICTORY")]),
    ],
)
def test_every_contradiction_is_told_by_its_field(
    point: HookPoint, stage: str, fields: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    assert found(point, a_rollout(SHARES), stage=stage, **fields) == expected
