from __future__ import annotations

from datetime import timedelta

import pytest
from fakes.clock import FakeClock
from fakes.probes import FakeProber, FakeSleep

from opsuite_probes.check import CheckPlan
from opsuite_probes.gate import CheckFollower
from opsuite_probes.hysteresis import Thresholds
from opsuite_probes.port import Outcome, ProbeResult, TcpProbe

PROBE = TcpProbe("127.0.0.1:80")
PLAN = CheckPlan(
    initial_delay=timedelta(seconds=3),
    interval=timedelta(seconds=1),
    deadline=timedelta(seconds=10),
    thresholds=Thresholds(success=2, failure=3),
)


class Bench:
    def __init__(self) -> None:
        self.prober = FakeProber()
        self.clock = FakeClock()
        self.sleep = FakeSleep(self.clock)
        self.follower = CheckFollower(self.prober, self.clock, self.sleep)


async def test_a_check_is_asked_by_its_plan_until_it_is_decided() -> None:
    bench = Bench()
    bench.prober.answer(PROBE, Outcome.UNHEALTHY, Outcome.HEALTHY)
    heard: list[ProbeResult] = []

    decided = await bench.follower.until_decided(PROBE, PLAN, heard.append)

    assert decided.outcome is Outcome.HEALTHY
    assert [result.outcome for result in heard] == [Outcome.UNHEALTHY, Outcome.HEALTHY, Outcome.HEALTHY]
    assert bench.sleep.slept == [3, 1, 1]


async def test_a_row_of_failures_decides_without_waiting_for_the_deadline() -> None:
    bench = Bench()

    decided = await bench.follower.until_decided(PROBE, PLAN)

    assert decided.outcome is Outcome.UNHEALTHY
    assert "connection refused" in decided.message
    assert len(bench.prober.asked) == 3


async def test_a_target_that_cannot_be_asked_fails_at_the_deadline() -> None:
    bench = Bench()
    bench.prober.answer(PROBE, Outcome.UNKNOWN)

    decided = await bench.follower.until_decided(PROBE, PLAN)

    assert decided.outcome is Outcome.UNHEALTHY
    assert decided.message == "undecided after 10 s; last answer: unknown"
    assert sum(bench.sleep.slept) == 13


@pytest.mark.parametrize("by", [timedelta(hours=-1), timedelta(hours=1)])
async def test_setting_the_wall_clock_neither_ends_nor_stretches_a_check(by: timedelta) -> None:
    bench = Bench()
    bench.prober.answer(PROBE, Outcome.UNHEALTHY, Outcome.HEALTHY)

    decided = await bench.follower.until_decided(PROBE, PLAN, lambda _: bench.clock.jump(by))

    assert decided.outcome is Outcome.HEALTHY
    assert bench.sleep.slept == [3, 1, 1]
