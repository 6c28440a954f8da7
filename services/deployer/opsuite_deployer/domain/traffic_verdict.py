"""What the counts of the edges say about a version: a pure function from counts and limits to a verdict."""

from __future__ import annotations

from datetime import timedelta

from opsuite_deployer.domain.rollout_words import GateSeen, GateVerdict
from opsuite_deployer.domain.strategy import TrafficLimits
from opsuite_platforms.traffic.port import TrackStats


def judge(limits: TrafficLimits, before: TrackStats, now: TrackStats, elapsed: timedelta) -> GateSeen:
    """Return what follows from the counts at the start of the window, those `elapsed` later, and the limits.

    Before the window ends a version fails only if the errors so far break the limit even should every request that is
    still to come at the present rate be answered well.
    """
    requests, errors = now.requests - before.requests, now.errors - before.errors
    told = f"{errors} of {requests} requests failed, {limits.max_error_percent:g} % may"
    if elapsed < limits.window:
        share = limits.window / elapsed if elapsed else float("inf")
        hopeless = requests >= limits.min_requests and 100 * errors > limits.max_error_percent * requests * share
        return GateSeen(GateVerdict.FAILED if hopeless else GateVerdict.RUNNING, told)
    if requests < limits.min_requests:
        said = f"{requests} requests in {limits.window.total_seconds():g} s, {limits.min_requests} are needed to judge"
        return GateSeen(GateVerdict.INCONCLUSIVE, said)
    if 100 * errors > limits.max_error_percent * requests:
        return GateSeen(GateVerdict.FAILED, told)
    return _latency(limits, now, told)


def _latency(limits: TrafficLimits, now: TrackStats, told: str) -> GateSeen:
    if limits.max_latency is None:
        return GateSeen(GateVerdict.PASSED, told)
    reached = [seconds for quantile, seconds in sorted(now.latency_seconds.items()) if quantile >= limits.quantile]
    if not reached:
        return GateSeen(GateVerdict.INCONCLUSIVE, f"{told}; no edge tells its latency")
    limit = limits.max_latency.total_seconds()
    told = f"{told}; p{100 * limits.quantile:g} {1000 * reached[0]:.0f} ms, {1000 * limit:g} ms may be"
    return GateSeen(GateVerdict.FAILED if reached[0] > limit else GateVerdict.PASSED, told)
