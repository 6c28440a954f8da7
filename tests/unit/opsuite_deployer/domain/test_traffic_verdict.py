"""What the counts of the edges say about a version."""

from datetime import timedelta

import pytest

from opsuite_deployer.domain.rollout_words import GateVerdict
from opsuite_deployer.domain.strategy import TrafficLimits
from opsuite_deployer.domain.traffic_verdict import judge
from opsuite_platforms.traffic.port import TrackStats

LIMITS = TrafficLimits(max_error_percent=5.0, min_requests=20, window=timedelta(seconds=10))
BEFORE = TrackStats(requests=1_000, errors=500)


def after(requests: int, errors: int, **latency: float) -> TrackStats:
    """The counts later; what was counted before the window does not matter."""
    quantiles = {float(f"0.{name[1:]}"): seconds for name, seconds in latency.items()}
    return TrackStats(BEFORE.requests + requests, BEFORE.errors + errors, quantiles)


@pytest.mark.parametrize(
    ("requests", "errors", "seconds", "verdict"),
    [
        (100, 5, 10, GateVerdict.PASSED),
        (100, 6, 10, GateVerdict.FAILED),
        (19, 0, 10, GateVerdict.INCONCLUSIVE),
        (19, 19, 10, GateVerdict.INCONCLUSIVE),
        (0, 0, 10, GateVerdict.INCONCLUSIVE),
        (100, 0, 5, GateVerdict.RUNNING),
        (100, 10, 5, GateVerdict.RUNNING),  # with 100 good ones to come it is 5 % of 200
        (100, 11, 5, GateVerdict.FAILED),
        (19, 19, 5, GateVerdict.RUNNING),
        (100, 100, 0, GateVerdict.RUNNING),
    ],
)
def test_errors_are_judged_at_the_end_or_once_they_are_hopeless(
    requests: int, errors: int, seconds: int, verdict: GateVerdict
) -> None:
    assert judge(LIMITS, BEFORE, after(requests, errors), timedelta(seconds=seconds)).verdict is verdict


@pytest.mark.parametrize(
    ("latency", "verdict"),
    [
        ({"q99": 0.2}, GateVerdict.PASSED),
        ({"q99": 0.201}, GateVerdict.FAILED),
        ({"q5": 0.01, "q99": 0.3}, GateVerdict.FAILED),
        ({"q5": 0.3}, GateVerdict.INCONCLUSIVE),
        ({}, GateVerdict.INCONCLUSIVE),
    ],
)
def test_latency_is_judged_by_the_first_quantile_that_reaches_the_wanted_one(
    latency: dict[str, float], verdict: GateVerdict
) -> None:
    limits = TrafficLimits(max_latency=timedelta(milliseconds=200), min_requests=1, window=timedelta(seconds=1))

    assert judge(limits, BEFORE, after(10, 0, **latency), timedelta(seconds=1)).verdict is verdict
