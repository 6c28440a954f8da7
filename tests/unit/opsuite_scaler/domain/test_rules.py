"""What a policy may not say, and where that is told."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from math import inf, nan
from typing import Any

import pytest
from fakes.scaling import (
    HOUR,
    MINUTE,
    SECOND,
    a_policy,
    cpu,
    formula,
    latency,
    level,
    memory,
    per_member,
    percent,
    pods,
    queue,
    rules,
)

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_scaler.domain.policy import (
    Behavior,
    Cooldown,
    CostBound,
    Fallback,
    FlapGuard,
    ForecastMode,
    ForecastSettings,
    MetricKind,
    Overlay,
    Quality,
    Resource,
    ResponseTimeRules,
    ScalingPolicy,
    ScalingRules,
    Select,
    TargetKind,
    TargetRef,
    TargetType,
    Timing,
)
from opsuite_scaler.domain.rules import violations

DAY = Overlay("day", "0 8 * * *", HOUR, min_replicas=2)
FORESEEN = ForecastSettings(ForecastMode.RAISE_FLOOR)


def names_in(expression: str) -> Collection[str]:
    """For these tests an expression is names between blanks."""
    if "?" in expression:
        raise InvalidInput([Violation("", "is not an expression", "FORMULA")])
    return set(expression.split())


def found(policy: ScalingPolicy) -> list[tuple[str, str]]:
    return [(violation.field, violation.reason) for violation in violations(policy, names_in)]


def test_a_policy_of_every_kind_of_thing_is_without_fault() -> None:
    policy = a_policy(
        cpu(60, fallback=Fallback(Quality.HOLD, replicas=5000)),
        memory(90, fallback=Fallback(Quality.STATIC, replicas=3)),
        per_member(5),
        queue(10, activation=3, fallback=Fallback(Quality.LAST_VALUE)),
        level(10, is_input=True, fallback=Fallback(Quality.LAST_VALUE)),
        latency(0.2),
        formula("queue level"),
        min_replicas=0,
        max_replicas=20,
        behavior=Behavior(rules(pods(4), percent(300)), rules(percent(100), select=Select.DISABLED, window=3600)),
        cooldown=Cooldown(MINUTE, MINUTE, MINUTE),
        flaps=FlapGuard(0, True),
        overlays=(DAY, Overlay("night", "0 22 * * *", HOUR, "Europe/Zurich", 1, 20)),
        cost=CostBound(0.1, 1, 100),
        forecast=ForecastSettings(ForecastMode.RAISE_FLOOR, quantile=0.9, metric="queue"),
    )

    assert found(policy) == []


def test_schedules_alone_may_size_a_target() -> None:
    assert found(a_policy(overlays=(DAY,), min_replicas=0)) == []


BAD: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "a minimum above the maximum": ({"min_replicas": 5, "max_replicas": 4}, [("min_replicas", "CONTRADICTORY")]),
    "a negative minimum": ({"min_replicas": -1}, [("min_replicas", "OUT_OF_RANGE")]),
    "no maximum": ({"max_replicas": 0, "min_replicas": 0}, [("max_replicas", "OUT_OF_RANGE")]),
    "only inputs": ({"metrics": (queue(is_input=True),)}, [("metrics", "CONTRADICTORY")]),
    "zero with CPU alone": ({"metrics": (cpu(),), "min_replicas": 0}, [("min_replicas", "CONTRADICTORY")]),
    "zero with latency alone": ({"metrics": (latency(),), "min_replicas": 0}, [("min_replicas", "CONTRADICTORY")]),
    "zero with a queue that is an input only": (
        {"metrics": (cpu(), queue(is_input=True)), "min_replicas": 0},
        [("min_replicas", "CONTRADICTORY")],
    ),
    "a window over an hour": (
        {"behavior": Behavior(rules(window=3601), rules(window=-1))},
        [
            ("behavior.scale_up.stabilization_window", "OUT_OF_RANGE"),
            ("behavior.scale_down.stabilization_window", "OUT_OF_RANGE"),
        ],
    ),
    "a negative tolerance": (
        {"behavior": Behavior(rules(), rules(tolerance=-0.1))},
        [("behavior.scale_down.tolerance", "OUT_OF_RANGE")],
    ),
    "a period over half an hour, and none": (
        {"behavior": Behavior(rules(pods(1), pods(1, 1801), pods(1, 0)), rules())},
        [
            ("behavior.scale_up.policies[1].period", "OUT_OF_RANGE"),
            ("behavior.scale_up.policies[2].period", "OUT_OF_RANGE"),
        ],
    ),
    "a rate of nothing": (
        {"behavior": Behavior(rules(pods(0)), rules())},
        [("behavior.scale_up.policies[0].value", "OUT_OF_RANGE")],
    ),
    "no rate at all": (
        {"behavior": Behavior(ScalingRules(0 * SECOND, Select.MAX, ()), ScalingRules(0 * SECOND, Select.DISABLED, ()))},
        [("behavior.scale_up.policies", "REQUIRED")],
    ),
    "shrinking by more than all": (
        {"behavior": Behavior(rules(), rules(percent(101), pods(101)))},
        [("behavior.scale_down.policies[0].value", "OUT_OF_RANGE")],
    ),
    "negative rests": (
        {"cooldown": Cooldown(-SECOND, -SECOND, -SECOND)},
        [(f"cooldown.{name}", "OUT_OF_RANGE") for name in ("after_up", "after_down", "to_zero")],
    ),
    "negative timing": (
        {"timing": Timing(0 * SECOND, -SECOND, -SECOND)},
        [(f"timing.{name}", "OUT_OF_RANGE") for name in ("cpu_initialization", "initial_readiness_delay", "tick")],
    ),
    "fewer reversals than none": (
        {"flaps": FlapGuard(-1)},
        [("flap_guard.max_reversals_per_hour", "OUT_OF_RANGE")],
    ),
    "a budget that names nothing": ({"cost": CostBound(1)}, [("cost", "REQUIRED")]),
    "a budget without a price": ({"cost": CostBound(0, 1)}, [("cost.price_per_replica_hour", "REQUIRED")]),
    "no money at all": (
        {"cost": CostBound(1, 0, -1)},
        [("cost.max_per_hour", "OUT_OF_RANGE"), ("cost.budget", "OUT_OF_RANGE")],
    ),
    "a budget for a moment": ({"cost": CostBound(1, 1, 1, MINUTE)}, [("cost.window", "OUT_OF_RANGE")]),
    "a forecast of nothing": (
        {"metrics": (), "overlays": (DAY,), "forecast": FORESEEN},
        [("forecast.metric", "UNKNOWN")],
    ),
    "a forecast of a stranger": (
        {"forecast": ForecastSettings(ForecastMode.FORECAST_ONLY, metric="x")},
        [("forecast.metric", "UNKNOWN")],
    ),
    "a forecast of latency": (
        {"metrics": (latency(), queue()), "forecast": FORESEEN},
        [("forecast.metric", "CONTRADICTORY")],
    ),
    "a season of one step": (
        {"forecast": ForecastSettings(ForecastMode.RAISE_FLOOR, season=HOUR, step=HOUR)},
        [("forecast.season", "CONTRADICTORY")],
    ),
    "a forecast out of all ranges": (
        {"forecast": ForecastSettings(ForecastMode.RAISE_FLOOR, step=0 * SECOND, quantile=1.0, margin=-SECOND)},
        [("forecast.step", "OUT_OF_RANGE"), ("forecast.quantile", "OUT_OF_RANGE"), ("forecast.margin", "OUT_OF_RANGE")],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_contradicts_itself_is_told_at_its_field(case: str) -> None:
    fields, expected = BAD[case]
    metrics = fields.get("metrics", (queue(),))

    assert found(a_policy(*metrics, **{name: value for name, value in fields.items() if name != "metrics"})) == expected


def test_a_forecast_that_is_off_may_be_anything() -> None:
    assert found(a_policy(queue(), forecast=ForecastSettings(step=0 * SECOND, metric="x"))) == []


METRICS: dict[str, tuple[Any, list[tuple[str, str]]]] = {
    "no name": (queue(name=""), [("name", "REQUIRED")]),
    "a target of nothing": (queue(0), [("target", "OUT_OF_RANGE")]),
    "an endless target": (queue(inf), [("target", "OUT_OF_RANGE")]),
    "a part of a percent": (cpu(50.5), [("target", "OUT_OF_RANGE")]),
    "less than a percent": (cpu(0.5), [("target", "OUT_OF_RANGE")]),
    "too many percent": (cpu(10_001), [("target", "OUT_OF_RANGE")]),
    "CPU as it is": (cpu(50, target_type=TargetType.VALUE), [("target_type", "CONTRADICTORY")]),
    "utilisation of a queue": (queue(50, target_type=TargetType.UTILIZATION), [("target_type", "CONTRADICTORY")]),
    "members as they are": (per_member(target_type=TargetType.VALUE), [("target_type", "CONTRADICTORY")]),
    "latency per replica": (latency(target_type=TargetType.AVERAGE_VALUE), [("target_type", "CONTRADICTORY")]),
    "a resource without one": (cpu(resource=None), [("resource", "REQUIRED")]),
    "a queue of CPU": (
        queue(resource=Resource.CPU, container="app"),
        [("resource", "CONTRADICTORY"), ("container", "CONTRADICTORY")],
    ),
    "nothing to ask for": (queue(query=""), [("query", "REQUIRED")]),
    "a formula of a source": (formula("", source="redis"), [("query", "REQUIRED"), ("source", "CONTRADICTORY")]),
    "a formula for formulas": (formula("other", is_input=True), [("is_input", "CONTRADICTORY")]),
    "no expression": (formula("a ? b"), [("query", "FORMULA")]),
    "a formula of itself": (formula("formula"), [("query", "CIRCULAR")]),
    "a formula of a stranger": (formula("other stranger"), [("query", "UNKNOWN")]),
    "steps and guards out of range": (
        latency(response_time=ResponseTimeRules(0, 101)),
        [("response_time.max_step_percent", "OUT_OF_RANGE"), ("response_time.guard_percent", "OUT_OF_RANGE")],
    ),
    "activation below 0": (queue(activation=-1), [("activation", "OUT_OF_RANGE")]),
    "activation that is no number": (queue(activation=nan), [("activation", "OUT_OF_RANGE")]),
    "activation of CPU": (cpu(activation=1), [("activation", "CONTRADICTORY")]),
    "stale at once": (queue(stale_after=timedelta(0)), [("stale_after", "OUT_OF_RANGE")]),
    "a threshold below 0": (
        queue(fallback=Fallback(Quality.HOLD, -1)),
        [("fallback.failure_threshold", "OUT_OF_RANGE")],
    ),
    "a fallback above the maximum": (
        queue(fallback=Fallback(Quality.STATIC, replicas=1001)),
        [("fallback.replicas", "OUT_OF_RANGE")],
    ),
    "a last value for no time": (
        queue(fallback=Fallback(Quality.LAST_VALUE, max_age=timedelta(0))),
        [("fallback.max_age", "OUT_OF_RANGE")],
    ),
    "a last value of members": (cpu(fallback=Fallback(Quality.LAST_VALUE)), [("fallback.behavior", "CONTRADICTORY")]),
    "replicas for an input": (
        level(is_input=True, fallback=Fallback(Quality.CURRENT)),
        [("fallback.behavior", "CONTRADICTORY")],
    ),
}


@pytest.mark.parametrize("case", METRICS)
def test_what_is_wrong_with_a_metric_is_told_at_its_field(case: str) -> None:
    spec, expected = METRICS[case]

    assert found(a_policy(queue(name="other"), spec)) == [(f"metrics[1].{field}", reason) for field, reason in expected]


def test_names_of_metrics_and_schedules_are_unique() -> None:
    policy = a_policy(queue(), level(name="queue"), cpu(), overlays=(DAY, DAY))

    assert found(policy) == [
        ("metrics[0].name", "DUPLICATE"),
        ("metrics[1].name", "DUPLICATE"),
        ("overlays[0].name", "DUPLICATE"),
        ("overlays[1].name", "DUPLICATE"),
    ]


def test_formulas_do_not_look_at_formulas() -> None:
    policy = a_policy(queue(), formula("queue", name="a"), formula("a", name="b"))

    assert found(policy) == [("metrics[2].query", "CONTRADICTORY")]


OVERLAYS: dict[str, tuple[Overlay, list[tuple[str, str]]]] = {
    "no cron": (Overlay("day", "every day", HOUR, min_replicas=2), [("cron", "CRON")]),
    "no zone": (Overlay("day", "0 8 * * *", HOUR, "Mars/Base", 2), [("time_zone", "TIME_ZONE")]),
    "no time": (Overlay("day", "0 8 * * *", timedelta(0), min_replicas=2), [("duration", "OUT_OF_RANGE")]),
    "no bound": (Overlay("day", "0 8 * * *", HOUR), [("", "REQUIRED")]),
    "a floor below 0": (Overlay("day", "0 8 * * *", HOUR, min_replicas=-1), [("min_replicas", "CONTRADICTORY")]),
    "a floor above the maximum": (
        Overlay("day", "0 8 * * *", HOUR, min_replicas=1001),
        [("min_replicas", "CONTRADICTORY")],
    ),
    "a floor above its own ceiling": (
        Overlay("day", "0 8 * * *", HOUR, min_replicas=6, max_replicas=5),
        [("min_replicas", "CONTRADICTORY")],
    ),
    "a ceiling above the policy's": (
        Overlay("day", "0 8 * * *", HOUR, max_replicas=1001),
        [("max_replicas", "CONTRADICTORY")],
    ),
    "a ceiling below the policy's floor": (
        Overlay("day", "0 8 * * *", HOUR, max_replicas=2),
        [("max_replicas", "CONTRADICTORY")],
    ),
    "a ceiling of nothing": (
        Overlay("day", "0 8 * * *", HOUR, min_replicas=0, max_replicas=0),
        [("max_replicas", "OUT_OF_RANGE")],
    ),
}


@pytest.mark.parametrize("case", OVERLAYS)
def test_what_is_wrong_with_a_schedule_is_told_at_its_field(case: str) -> None:
    overlay, expected = OVERLAYS[case]
    policy = a_policy(queue(), min_replicas=3, overlays=(Overlay("ok", "@daily", HOUR, min_replicas=4), overlay))

    paths = [(f"overlays[1].{field}".rstrip("."), reason) for field, reason in expected]
    assert found(policy) == paths


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (TargetRef(TargetKind.WORKLOAD, "w"), ["target.platform"]),
        (TargetRef(TargetKind.KUBERNETES_SCALE, "w"), ["target.api_version", "target.object_kind"]),
        (TargetRef(TargetKind.EXTERNAL, "w"), ["target.address"]),
        (TargetRef(TargetKind.DOCKER_SERVICE, "w"), []),
    ],
)
def test_each_kind_of_target_needs_its_fields(target: TargetRef, expected: list[str]) -> None:
    assert found(a_policy(queue(), target=target)) == [(field, "REQUIRED") for field in expected]


def test_everything_is_told_at_once() -> None:
    policy = a_policy(
        queue(0), formula("nobody"), min_replicas=9, max_replicas=3, cost=CostBound(1), cooldown=Cooldown(-SECOND)
    )

    assert [field for field, _ in found(policy)] == [
        "min_replicas",
        "metrics[0].target",
        "metrics[1].query",
        "cooldown.after_up",
        "cost",
    ]


def test_every_kind_of_metric_may_be_compared_with_something() -> None:
    from opsuite_scaler.domain.metric_rules import TARGET_TYPES

    assert set(TARGET_TYPES) == set(MetricKind)
