"""The fleet gate: mending must not make a failure of many worse.

When most of a fleet is unhealthy, what is wrong is seldom wrong with each member: a dependency is down, or a release is
bad, and restarting everything takes away what still works. So the gate closes when more members are unhealthy than the
fleet can do without, and at most so many are acted on at the same time. One unhealthy member may always be mended: of a
fleet of one, nobody could be otherwise. Members of which nothing is known count for neither side.
"""

from __future__ import annotations

import math
from datetime import datetime

from opsuite_healer.domain.remediation.gates import Gate, GateResult
from opsuite_healer.domain.remediation.policy import FleetRules


def may_be_unhealthy(rules: FleetRules, known: int) -> int:
    """How many members may be unhealthy with the gate still open."""
    if rules.max_unhealthy is not None:
        return rules.max_unhealthy
    return max(1, math.floor(known * (100 - rules.min_healthy_percent) / 100 + 1e-9))


def fleet_gate(
    rules: FleetRules, counts: tuple[int, int, int] | None, refused_at: datetime | None, now: datetime
) -> GateResult:
    """Refuses while too many are unhealthy, or were just now.

    `counts` are the healthy, the unhealthy and the unknown ones; None: nobody can tell. `refused_at` is when the gate
    was closed last by the health of the fleet.
    """
    if counts is None:
        return GateResult(Gate.FLEET, False, "CANNOT_TELL", "nobody can tell how the fleet is")
    healthy, unhealthy, unknown = counts
    most = may_be_unhealthy(rules, healthy + unhealthy)
    values = {
        "healthy": str(healthy),
        "unhealthy": str(unhealthy),
        "unknown": str(unknown),
        "may_be_unhealthy": str(most),
    }
    if unhealthy > most:
        told = f"{unhealthy} of {healthy + unhealthy} are unhealthy, and {most} may be"
        return GateResult(Gate.FLEET, False, "FLEET_UNHEALTHY", told, values)
    if refused_at is not None and now < (until := refused_at + rules.storm_cooldown):
        return GateResult(Gate.FLEET, False, "STORM_COOLDOWN", "the fleet was unhealthy just now", values, until)
    return GateResult(Gate.FLEET, True, values=values)


def concurrency_gate(rules: FleetRules, acting: int) -> GateResult:
    """Refuses while so many remediations of the fleet act already."""
    values = {"acting": str(acting), "max_concurrent": str(rules.max_concurrent)}
    if acting < rules.max_concurrent:
        return GateResult(Gate.CONCURRENCY, True, values=values)
    told = f"{acting} of the fleet are being mended now"
    return GateResult(Gate.CONCURRENCY, False, "FLEET_BUSY", told, values)
