"""Asks health checks until each is decided."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from opsuite_deployer.domain.pipeline import (
    Check,
    CheckTarget,
    GrpcTarget,
    HttpTarget,
    TcpTarget,
    WorkloadTarget,
)
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import NotFound, Unavailable
from opsuite_platforms.port import Platform, Replica, ReplicaPhase
from opsuite_probes.check import CheckPlan, Decided
from opsuite_probes.gate import CheckFollower
from opsuite_probes.hysteresis import Thresholds
from opsuite_probes.port import GrpcProbe, HttpProbe, Outcome, Probe, Prober, ProbeResult, TcpProbe

_ANY_REPLICA = "replica"
"""Stands in a probe where each replica's own address goes."""


Where = Callable[[str], tuple[Platform, str]]
"""Finds a workload by the name that pipelines use: its platform, and its name there. Raises NotFound."""

_FROM_WORST: Final = (Outcome.UNHEALTHY, Outcome.UNKNOWN, Outcome.HEALTHY)


class Checks:
    """Answers the checks of gates and steps."""

    def __init__(self, prober: Prober, clock: Clock) -> None:
        self._prober = prober
        self._clock = clock

    async def decide(self, check: Check, where: Where) -> Decided:
        """Ask until the check is healthy, unhealthy or out of time."""
        target = check.target
        prober: Prober = self._prober
        if isinstance(target, WorkloadTarget):
            prober = ReplicaProber(self._prober, *where(target.workload))
        return await CheckFollower(prober, self._clock).until_decided(_probe(target), _plan(check))

    async def decide_all(self, checks: Sequence[Check], where: Where) -> tuple[bool, str]:
        """Whether all become healthy, and what they said; the first unhealthy one ends the asking."""
        tasks = [asyncio.create_task(self._named(check, where)) for check in checks]
        said: list[str] = []
        try:
            for answer in asyncio.as_completed(tasks):
                name, decided = await answer
                said.append(f"{name}: {decided.message}")
                if decided.outcome is not Outcome.HEALTHY:
                    return False, said[-1]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return True, "; ".join(said)

    async def _named(self, check: Check, where: Where) -> tuple[str, Decided]:
        return check.name, await self.decide(check, where)


class ReplicaProber:
    """Asks every replica of a workload the same question; healthy when all run in the wanted version and answer so."""

    def __init__(self, prober: Prober, platform: Platform, workload: str) -> None:
        self._prober = prober
        self._platform = platform
        self._workload = workload

    async def ask(self, probe: Probe, *, timeout: timedelta) -> ProbeResult:
        """The worst answer of all replicas."""
        try:
            status = await self._platform.observe(self._workload)
        except NotFound as error:
            return ProbeResult(Outcome.UNHEALTHY, error.message, timedelta())
        except Unavailable as error:
            return ProbeResult(Outcome.UNKNOWN, error.message, timedelta())
        if not status.is_ready:
            return ProbeResult(Outcome.UNHEALTHY, _not_ready(status.desired_replicas, status.replicas), timedelta())
        if not status.replicas:
            return ProbeResult(Outcome.HEALTHY, "no replicas are wanted", timedelta())
        answers = await asyncio.gather(*(self._ask_one(probe, one, timeout) for one in status.replicas))
        return min(answers, key=lambda answer: _FROM_WORST.index(answer.outcome))

    async def _ask_one(self, probe: Probe, replica: Replica, timeout: timedelta) -> ProbeResult:
        if not replica.ports:
            return ProbeResult(Outcome.HEALTHY, f"{replica.name} runs", timedelta())
        host = f"[{replica.host}]" if ":" in replica.host else replica.host
        address = f"{host}:{next(iter(replica.ports.values()))}"
        if isinstance(probe, HttpProbe):
            probe = replace(probe, url=probe.url.replace(_ANY_REPLICA, address, 1))
        else:
            probe = TcpProbe(address)
        answer = await self._prober.ask(probe, timeout=timeout)
        return replace(answer, message=f"{replica.name}: {answer.message}")


def _not_ready(desired: int, replicas: Sequence[Replica]) -> str:
    running = sum(one.phase is ReplicaPhase.RUNNING for one in replicas)
    reasons = "; ".join(f"{one.name} {one.phase.value} {one.message}".strip() for one in replicas)
    return f"{running}/{desired} replicas run" + (f" ({reasons})" if reasons else "")


def _probe(target: CheckTarget) -> Probe:
    match target:
        case HttpTarget():
            return HttpProbe(target.url, target.expected_status, target.body_contains)
        case TcpTarget():
            return TcpProbe(target.address)
        case GrpcTarget():
            return GrpcProbe(target.address, target.service)
        case WorkloadTarget(path=""):
            return TcpProbe(_ANY_REPLICA)
        case WorkloadTarget():
            return HttpProbe(f"http://{_ANY_REPLICA}{target.path}", target.expected_status, target.body_contains)


def _plan(check: Check) -> CheckPlan:
    return CheckPlan(
        initial_delay=check.initial_delay,
        interval=check.interval,
        timeout=check.timeout,
        deadline=check.deadline,
        thresholds=Thresholds(check.success_threshold, check.failure_threshold),
    )
