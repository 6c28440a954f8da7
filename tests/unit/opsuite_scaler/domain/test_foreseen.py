from __future__ import annotations

import pytest
from fakes.clock import NOON
from fakes.scaling import FAILED, MINUTE, a_policy, one, pods, queue, rules, seen

from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import Outcome, State
from opsuite_scaler.domain.policy import Behavior, ForecastMode, ForecastSettings
from opsuite_scaler.domain.snapshot import Foreseen, Reading

RAISES = ForecastSettings(ForecastMode.RAISE_FLOOR)


def run(
    foreseen: int, reading: Reading, *, settings: ForecastSettings = RAISES, usable: bool = True, **fields: object
) -> Outcome:
    forecast = Foreseen(foreseen, NOON + 2 * MINUTE, usable)
    snapshot = seen(4, about={"forecast": forecast}, queue=reading)
    return decide(a_policy(queue(10), **{"forecast": settings} | fields), snapshot, State())


@pytest.mark.parametrize(
    ("foreseen", "total", "expected"), [(7, 40, 7), (7, 90, 9), (2, 40, 4), (3, 10, 3), (0, 10, 1)]
)
def test_a_forecast_may_only_raise(foreseen: int, total: float, expected: int) -> None:
    assert run(foreseen, one(total)).decision.desired == expected


@pytest.mark.parametrize("mode", [ForecastMode.OFF, ForecastMode.FORECAST_ONLY])
def test_only_one_mode_acts_on_it(mode: ForecastMode) -> None:
    assert run(9, one(40), settings=ForecastSettings(mode)).decision.desired == 4


def test_one_that_is_not_usable_raises_nothing() -> None:
    assert run(9, one(40), usable=False).decision.desired == 4


def test_it_keeps_to_the_bounds_and_the_rates() -> None:
    assert run(9, one(40), max_replicas=6).decision.desired == 6
    slow = run(9, one(40), behavior=Behavior(rules(pods(1)), rules()))
    assert (slow.decision.desired, slow.decision.reason) == (5, "ScaleUpLimit")


def test_it_raises_even_when_every_metric_fails() -> None:
    outcome = run(9, FAILED)

    assert (outcome.decision.desired, outcome.decision.reason) == (9, "Foreseen")
    assert outcome.state.recommendations[-1].replicas == 9, "it is a recommendation like any other"
    assert run(2, FAILED).decision.desired == 4


def test_without_a_forecast_nothing_is_raised() -> None:
    assert decide(a_policy(queue(10), forecast=RAISES), seen(4, queue=one(40)), State()).decision.desired == 4
