"""How long an incident waits for its first action: over real gRPC and the embedded database, with every brake asked.

From the call that tells of the trouble until the action is called: the incident and its remediation are recorded,
silences, rollouts and the health of the fleet asked, and the intent is durable. What an action then takes is its own.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from fakes.healer_remediation import World, done
from fakes.healer_remediation_stage import WEB, remediation_stage

from bench.table import Row
from opsuite_healer.application.actions import ActionCall, ActionResult
from opsuite_healer.domain.remediation.remediation import State
from opsuite_probes.port import Outcome

INCIDENTS = 50
WARM_UP = 5
GOAL_MILLISECONDS = 100.0


async def measure(count: int) -> list[float]:
    """Milliseconds of each, one after the other."""
    world = World()
    world.health.outcome = Outcome.HEALTHY
    called = asyncio.Event()

    def restart(call: ActionCall) -> ActionResult:
        called.set()
        return done(call)

    world.actions.scripts = {"RESTART_SERVICE": restart}
    found: list[float] = []
    with tempfile.TemporaryDirectory(prefix="opsuite-") as folder:
        async with remediation_stage(Path(folder), world) as stage:
            await stage.policy()
            for number in range(count + WARM_UP):
                called.clear()
                began = time.perf_counter()
                target = {**WEB, "workload": f"web-{number}"}
                incident = await stage.trouble(key=f"k{number}", target=target)
                await called.wait()
                found.append((time.perf_counter() - began) * 1000)
                await stage.until(State.SUCCEEDED, incident=incident.name)
    return found[WARM_UP:]


async def main(rounds: int) -> list[Row]:
    """The median, which the goal is for, and the slowest."""
    found = await measure(INCIDENTS * rounds)
    median, slowest = statistics.median(found), max(found)
    told = f"median {median:.1f} ms, slowest {slowest:.1f} ms of {len(found)}"
    return [Row("from an incident to its first action", told, value=median, goal=GOAL_MILLISECONDS, unit="ms")]


if __name__ == "__main__":
    from bench.table import render

    sys.stdout.write(render(asyncio.run(main(1))) + "\n")
