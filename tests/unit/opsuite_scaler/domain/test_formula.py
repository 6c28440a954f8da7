"""Metrics that are computed from others, by whatever evaluates expressions."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import pytest
from fakes.scaling import FAILED, a_policy, cpu, formula, level, of_members, one, per_member, queue, seen

from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import Outcome, State
from opsuite_scaler.domain.expressions import FormulaFailed
from opsuite_scaler.domain.policy import MetricSpec, TargetType
from opsuite_scaler.domain.snapshot import Reading


class Recorder:
    """Evaluates every expression to `value`, and remembers what it was given."""

    def __init__(self, value: float | None = 25) -> None:
        self.value = value
        self.given: dict[str, dict[str, float | None]] = {}

    def __call__(self, expression: str, values: Mapping[str, float | None]) -> float:
        self.given[expression] = dict(values)
        if self.value is None:
            raise FormulaFailed("no such thing")
        return self.value


def run(evaluate: Recorder | None, *metrics: MetricSpec, **readings: Reading) -> Outcome:
    return decide(a_policy(*metrics), seen(4, **readings), State(), evaluate)


def test_a_formula_sizes_like_any_number() -> None:
    assert run(Recorder(25), formula("x", 10)).decision.desired == 3
    assert run(Recorder(25), formula("x", 10, target_type=TargetType.VALUE)).decision.desired == 10


@pytest.mark.parametrize("first", [True, False])
def test_it_is_given_what_every_metric_said_in_whatever_order_they_stand(first: bool) -> None:
    evaluate = Recorder()
    others = [
        queue(10, is_input=True),
        level(10),
        cpu(50),
        per_member(10),
        cpu(500, name="used", target_type=TargetType.AVERAGE_VALUE),
    ]
    metrics = [formula("x"), *others] if first else [*others, formula("x")]

    run(
        evaluate,
        *metrics,
        queue=one(7.5),
        level=FAILED,
        cpu=of_members(500, 509, 500, 500),
        requests=of_members(1, 2, 3, 4.5),
        used=of_members(100, 200, 300, 400),
    )

    assert evaluate.given["x"] == {"queue": 7.5, "level": None, "cpu": 50, "requests": 2.625, "used": 250}


def test_a_formula_without_a_value_is_a_failure() -> None:
    outcome = run(Recorder(None), formula("x"), queue(10), queue=one(10))

    assert (outcome.decision.desired, outcome.decision.reason) == (4, "FailedComputeFormula")
    assert "no such thing" in outcome.decision.message


@pytest.mark.parametrize("evaluate", [None, Recorder(inf)])
def test_without_an_evaluator_or_a_finite_number_it_fails(evaluate: Recorder | None) -> None:
    assert run(evaluate, formula("x")).decision.reason == "FailedComputeFormula"
