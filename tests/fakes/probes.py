"""Targets that answer as they are told, and time that passes only while somebody waits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from fakes.clock import FakeClock

from opsuite_probes.port import Outcome, Probe, ProbeResult


class FakeProber:
    """Fits `opsuite_probes.port.Prober`. A target nobody has told anything refuses connections."""

    def __init__(self) -> None:
        self.asked: list[Probe] = []
        """Every probe that was asked, in order."""
        self._answers: dict[Probe, Sequence[Outcome]] = {}
        self._hanging: set[Probe] = set()

    def answer(self, probe: Probe, *outcomes: Outcome) -> None:
        """Answer the next tries with these outcomes, and every later one with the last of them."""
        self._answers[probe] = outcomes
        self._hanging.discard(probe)

    def hang(self, probe: Probe) -> None:
        """Never answer again: each try lasts its whole timeout, by its latency and without waiting."""
        self._hanging.add(probe)

    async def ask(self, probe: Probe, *, timeout: timedelta) -> ProbeResult:
        self.asked.append(probe)
        if probe in self._hanging:
            return ProbeResult(Outcome.UNHEALTHY, f"no answer within {timeout.total_seconds():g} s", timeout)
        if not (answers := self._answers.get(probe, ())):
            return ProbeResult(Outcome.UNHEALTHY, "connection refused", timedelta())
        self._answers[probe] = answers[1:] or answers
        return ProbeResult(answers[0], answers[0].value, timedelta(milliseconds=1))


class FakeSleep:
    """Moves a FakeClock on instead of waiting; keeps what was waited for."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._clock.advance(timedelta(seconds=seconds))
