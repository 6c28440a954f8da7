"""Asks replicas, again and again, whether they can take requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from opsuite_deployer.domain.routing import ReplicaHealth
from opsuite_platforms.port import Replica, ReplicaPhase
from opsuite_probes.hysteresis import HealthState, Thresholds, follow
from opsuite_probes.port import HttpProbe, Outcome, Probe, Prober, TcpProbe


class ReplicaWatch:
    """Keeps an eye on the replicas of one rollout. Close it to stop asking."""

    def __init__(self, prober: Prober, health: ReplicaHealth | None, on_change: Callable[[], None]) -> None:
        """Without `health` a replica that runs is healthy. `on_change` is called when an answer changes a verdict."""
        self._prober = prober
        self._health = health
        self._on_change = on_change
        self._asking: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._states: dict[tuple[str, str], HealthState] = {}
        self._complaints: dict[tuple[str, str], str] = {}
        self._answer = asyncio.Event()

    def is_healthy(self, replica: Replica) -> bool | None:
        """What is known of it: None while it was not asked yet."""
        if replica.phase is not ReplicaPhase.RUNNING:
            return False
        if self._health is None or not replica.ports:
            return True
        verdict = self._states.get(_life(replica), HealthState()).verdict
        return None if verdict is None else verdict is Outcome.HEALTHY

    def said(self, replica: Replica) -> str:
        """Why it is not healthy, in the words of its last check; empty if it is, or was not asked."""
        return self._complaints.get(_life(replica), "")

    def follow(self, replicas: Iterable[Replica]) -> None:
        """Ask exactly these from now on; one that was started again is asked as if it were new."""
        if self._health is None:
            return
        running = {_life(one): one for one in replicas if one.phase is ReplicaPhase.RUNNING and one.ports}
        for life in self._asking.keys() - running.keys():
            self._asking.pop(life).cancel()
            self._states.pop(life, None)
            self._complaints.pop(life, None)
        for life in running.keys() - self._asking.keys():
            self._asking[life] = asyncio.create_task(self._ask(life, running[life], self._health))

    async def answered(self) -> None:
        """Return when every replica that is asked has answered for the first time, or had the time to."""
        if self._health is None:
            return
        limit = self._health.timeout.total_seconds() * (1 + self._health.failure_threshold)
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while any(self._states.get(life, HealthState()).verdict is None for life in self._asking):
                    self._answer.clear()
                    await self._answer.wait()

    async def close(self) -> None:
        """Stop asking."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def _ask(self, life: tuple[str, str], replica: Replica, health: ReplicaHealth) -> None:
        probe = probe_of(replica, health.port, health.path)
        thresholds = Thresholds(1, health.failure_threshold)
        while True:
            answer = await self._prober.ask(probe, timeout=health.timeout)
            before = self._states.get(life, HealthState())
            self._states[life] = follow(before, answer.outcome, thresholds)
            self._complaints[life] = "" if answer.outcome is Outcome.HEALTHY else answer.message
            self._answer.set()
            if self._states[life].verdict is not before.verdict:
                self._on_change()
            await asyncio.sleep(health.interval.total_seconds())


def _life(replica: Replica) -> tuple[str, str]:
    """One run of a replica: what it said before it was started again does not count."""
    return replica.name, f"{replica.started_at} {replica.restarts}"


def probe_of(replica: Replica, port: str, path: str) -> Probe:
    """How a replica is asked: GET `path`, or without one a connection. An empty `port` means its first."""
    host = f"[{replica.host}]" if ":" in replica.host else replica.host
    number = replica.ports[port] if port else next(iter(replica.ports.values()))
    return HttpProbe(f"http://{host}:{number}{path}") if path else TcpProbe(f"{host}:{number}")
