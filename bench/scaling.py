"""How fast sizes are decided: the pure core alone, with everything told, in processor time of one core.

In processor time, since that is what a core can do for others too: a decision waits for nothing.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from bench.table import Row
from opsuite_scaler.domain.decide import acted, decide
from opsuite_scaler.domain.decision import State
from opsuite_scaler.domain.policy import (
    Behavior,
    MetricKind,
    MetricSpec,
    Resource,
    ScalingPolicy,
    TargetKind,
    TargetRef,
    TargetType,
)
from opsuite_scaler.domain.snapshot import Member, Reading, SampleKind, Snapshot

GOAL = 20_000
"""Decisions a second on one core, for small targets."""
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
BATCH = 2000


def a_policy(metrics: int) -> ScalingPolicy:
    """CPU, and so many queues more."""
    cpu = MetricSpec("cpu", MetricKind.RESOURCE, TargetType.UTILIZATION, 60, Resource.CPU)
    queues = tuple(
        MetricSpec(f"queue{number}", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 10) for number in range(1, metrics)
    )
    target = TargetRef(TargetKind.WORKLOAD, "checkout", platform="process")
    return ScalingPolicy(target, (cpu, *queues), 10_000, behavior=Behavior())


def seen(policy: ScalingPolicy, members: int, used: float, now: datetime = NOW) -> Snapshot:
    """Members that each use so many of their 1000 millicores; queues that ask for nothing else."""
    since = NOW - timedelta(days=1)
    there = tuple(Member(f"m{number}", started_at=since, requests={"cpu": 1000}) for number in range(members))
    cpu = Reading(SampleKind.VALUE, by_member={member.name: used for member in there}, at=now)
    queue = Reading(SampleKind.VALUE, total=10.0 * members, at=now)
    return Snapshot(now, members, members, there, {spec.name: queue for spec in policy.metrics} | {"cpu": cpu})


def lived(policy: ScalingPolicy, members: int) -> State:
    """The state of a target whose load went up and down for some ticks, and which has changed its size now and then."""
    state = State()
    for tick in range(100):
        snapshot = seen(policy, members, 400 + 50 * (tick % 10), NOW - timedelta(seconds=15 * (100 - tick)))
        outcome = decide(policy, snapshot, state)
        state = outcome.state
        if tick % 25 == 0:
            state = acted(policy, state, outcome.decision, snapshot.now)
    return state


def rate(run: Callable[[], object], rounds: int, batch: int = BATCH) -> float:
    """Calls in a second of processor time; the best of the rounds."""
    best = 0.0
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(batch):
            run()
        best = max(best, batch / (time.process_time() - began))
    return best


def decisions(metrics: int, members: int, used: float, rounds: int) -> float:
    """Decisions a second for one kind of target."""
    policy = a_policy(metrics)
    snapshot, state = seen(policy, members, used), lived(policy, members)
    return rate(lambda: decide(policy, snapshot, state), rounds, max(20, BATCH // members))


def memory_per_policy(count: int = 1000) -> float:
    """Bytes that a policy with its state takes, for policies of three metrics."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = []
    for _ in range(count):
        policy = a_policy(3)
        kept.append((policy, decide(policy, seen(policy, 3, 600), State()).state))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / len(kept)


async def main(rounds: int) -> list[Row]:
    rows = [
        _row(f"decisions, 3 members, {metrics} metrics, {told}", decisions(metrics, 3, used, rounds))
        for metrics in (1, 2)
        for told, used in (("no change", 600.0), ("growing", 900.0))
    ]
    for metrics, members in ((3, 3), (10, 3), (30, 3), (3, 30), (3, 300), (3, 3000)):
        found = decisions(metrics, members, 900.0, min(rounds, 3))
        rows.append(Row(f"decisions, {members} members, {metrics} metrics, growing", f"{found:,.0f}/s"))
    mebibytes = 1000 * memory_per_policy() / 2**20
    rows.append(Row("memory of 1,000 policies with their states", f"{mebibytes:.1f} MiB"))
    return rows


def _row(figure: str, found: float) -> Row:
    return Row(figure, f"{found:,.0f}/s", value=found, goal=GOAL, at_least=True, unit="/s")


if __name__ == "__main__":
    import asyncio

    from bench.table import render

    sys.stdout.write(render(asyncio.run(main(5))) + "\n")
