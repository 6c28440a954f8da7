"""RESTART_SERVICE: stops and starts one replica, or all of a workload one after the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from opsuite_healer.adapters.actions.action import done, target_of
from opsuite_healer.adapters.actions.params import Reader
from opsuite_healer.adapters.workloads import Copy, Workloads
from opsuite_healer.application.actions import ActionCall, ActionResult
from opsuite_healer.domain.actions import ActionKind, Parameter, Risk
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import Conflict, NotFound
from opsuite_runs.faults import declare

RESTARTED: Final = declare("healer.replica_restarted", "a replica is restarted, nothing of it is recorded")
LOOK_SECONDS: Final = 0.2
LIVES: Final = "lives"
"""What `prepare` keeps: the life of each replica that is to be restarted."""


class RestartService:
    """Each replica is restarted once: one that lives a later life than at `prepare` was restarted already."""

    kind = ActionKind(
        "RESTART_SERVICE",
        "Restarts the target: one replica, or all replicas of a workload one after the other.",
        Risk.MEDIUM,
        (
            Parameter(
                "settle",
                "How long a replica gets to run again before the next one is restarted; the rest goes on after it.",
                default="30s",
            ),
        ),
    )

    def __init__(self, workloads: Workloads) -> None:
        self._workloads = workloads

    def read(self, params: Reader) -> timedelta:
        """How long each gets to run again."""
        return params.duration("settle", timedelta(seconds=30), most=timedelta(minutes=10))

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        """The present life of each replica. Raises Conflict (NO_REPLICAS)."""
        found = await self._workloads.copies(target_of(call))
        if not found:
            raise Conflict(f"{target_of(call).canonical} has no replica to restart", reason="NO_REPLICAS")
        return {LIVES: json.dumps({f"{copy.workload}/{copy.replica.name}": life_of(copy) for copy in found})}

    async def run(self, call: ActionCall, before: Mapping[str, str]) -> ActionResult:
        """Restart those that still live the life of before."""
        target = target_of(call)
        lives: dict[str, str] = json.loads(before[LIVES])
        running = sum(copy.is_running for copy in await self._present(target))
        restarted = 0
        for name, life in lives.items():
            if restarted:
                await self._settle(target, running, self.read(Reader(call.spec.params)))
            restarted += await self._restart(target, name, life)
        spared = len(lives) - restarted
        told = f"restarted {restarted} of {len(lives)} replicas" + (f"; {spared} had been already" if spared else "")
        return done(told, {"restarted": str(restarted), "replicas": ",".join(lives)})

    async def _restart(self, target: TargetRef, name: str, life: str) -> bool:
        """Restart one replica unless that has happened; whether it had to be."""
        workload, _, replica = name.partition("/")
        copies = await self._present(target)
        found = next((copy for copy in copies if (copy.workload, copy.replica.name) == (workload, replica)), None)
        if found is None or (found.is_running and life_of(found) != life):
            return False
        try:
            await self._workloads.platform(target).restart(workload, replica)
        except NotFound:
            return False  # it went between the look and the restart, so that another one takes its place
        RESTARTED.hit()
        return True

    async def _present(self, target: TargetRef) -> Sequence[Copy]:
        """The replicas of the whole workload: where pods are replaced, the one that is meant may be gone already."""
        return await self._workloads.copies(target.whole)

    async def _settle(self, target: TargetRef, running: int, patience: timedelta) -> None:
        """Wait until as many run as before, so that the workload is never restarted all at once."""
        try:
            async with asyncio.timeout(patience.total_seconds()):
                while sum(copy.is_running for copy in await self._present(target)) < running:  # noqa: ASYNC110 - a platform is asked, it does not tell
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            return


def life_of(copy: Copy) -> str:
    """Differs for each time that a replica was started."""
    started = copy.replica.started_at
    return f"{started.isoformat() if started else '-'} {copy.replica.restarts}"
