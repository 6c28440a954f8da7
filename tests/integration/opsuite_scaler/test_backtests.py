"""Backtests as they are kept and played, on both databases; the helper process is a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta

import psutil
import pytest
import sqlalchemy as sa
from fakes.clock import FakeClock

from opsuite_kernel.errors import Conflict, Exhausted, InvalidInput, NotFound
from opsuite_runs.port import Call, Replay
from opsuite_scaler.adapters import tables
from opsuite_scaler.adapters.simulation_rows import SqlBacktests
from opsuite_scaler.adapters.simulator import ProcessSimulator
from opsuite_scaler.application.playing import played
from opsuite_scaler.application.rehearsal import BacktestRecord, BacktestState, Job, KeptTrace, Outcome
from opsuite_scaler.application.simulations import SILENT_AFTER, Simulations
from opsuite_scaler.composition import MIGRATIONS
from opsuite_scaler.domain.policy import (
    ForecastMode,
    ForecastSettings,
    MetricKind,
    MetricSpec,
    ScalingPolicy,
    TargetKind,
    TargetRef,
    TargetType,
)
from opsuite_scaler.domain.simulation.contenders import Baseline, Contender, Tools
from opsuite_scaler.domain.simulation.generators import Shape, generate
from opsuite_scaler.domain.simulation.plant import Site
from opsuite_scaler.domain.simulation.traces import Mark, Trace
from opsuite_storage.migrations import migrate
from opsuite_storage.store import Store

LOAD = MetricSpec("load", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 70)
FORMULA = MetricSpec("twice", MetricKind.FORMULA, TargetType.AVERAGE_VALUE, 140, query="load * 2")
POLICY = ScalingPolicy(
    TargetRef(TargetKind.WORKLOAD, "web"),
    (LOAD, FORMULA),
    max_replicas=40,
    forecast=ForecastSettings(ForecastMode.RAISE_FLOOR, season=timedelta(minutes=20), step=timedelta(minutes=1)),
)
ANNE = Call("anne")


def a_job(hours: int = 1) -> Job:
    trace = generate("on_off", 1, Shape(timedelta(hours=hours), season=timedelta(minutes=20)))
    return Job(trace, (Contender("ours", POLICY), Contender("kpa", POLICY, Baseline.KPA)), Site(), keep_series=True)


class StuckSimulator:
    """Plays for ever, and knows whether it was ended."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ended = asyncio.Event()

    async def play(self, job: Job, progress: Callable[[float], None]) -> Outcome:
        progress(0.5)
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        raise AssertionError


class QuickSimulator:
    """Has played before it is asked."""

    async def play(self, job: Job, progress: Callable[[float], None]) -> Outcome:
        return played(replace(job, contenders=job.contenders[1:]), Tools(), progress)


@pytest.fixture
async def rows(store: Store) -> SqlBacktests:
    await migrate(store, MIGRATIONS)
    return SqlBacktests(store, FakeClock())


@pytest.fixture
async def simulations(rows: SqlBacktests) -> AsyncIterator[Simulations]:
    made = Simulations(backtests=rows, simulator=ProcessSimulator(), clock=FakeClock())
    yield made
    await made.close()


async def ended(simulations: Simulations, backtest: str) -> BacktestRecord:
    async for record in simulations.follow(backtest):
        last = record
    return last


async def test_a_backtest_is_played_in_a_helper_and_kept_with_all_it_found(
    simulations: Simulations, rows: SqlBacktests
) -> None:
    backtest = await simulations.run(a_job(), "a day", ANNE)

    told = await ended(simulations, backtest)
    kept = await rows.get(backtest)

    assert (told.state, told.progress, told.created_by) == (BacktestState.SUCCEEDED, 1.0, "anne")
    assert kept == told
    assert [one.contender for one in told.played] == ["ours", "kpa"]
    assert told.ticks == 240 + 1800
    series = told.played[0].series
    assert series is not None
    assert len(series.load) == 240


async def test_a_repeated_call_is_the_same_backtest(rows: SqlBacktests) -> None:
    simulations = Simulations(backtests=rows, simulator=QuickSimulator(), clock=FakeClock())
    call = Call("anne", Replay("anne", "RunBacktest", "id-1", b"print"))
    first = await simulations.run(a_job(), "", call)
    await ended(simulations, first)

    assert await simulations.run(a_job(), "", call) == first


def helpers() -> list[psutil.Process]:
    """Processes that play backtests for this one."""
    return [one for one in psutil.Process().children() if "opsuite_scaler.adapters.simulator" in one.cmdline()]


async def test_a_helper_that_is_killed_ends_the_backtest_badly(simulations: Simulations) -> None:
    running = await simulations.run(a_job(), "", ANNE)
    while not (found := helpers()):  # noqa: ASYNC110  # processes are looked at
        await asyncio.sleep(0.001)
    found[0].kill()

    record = await ended(simulations, running)

    assert (record.state, record.error) == (BacktestState.FAILED, "the helper that plays backtests died")


async def test_a_fault_in_the_helper_ends_the_backtest_badly(simulations: Simulations) -> None:
    without_metrics = replace(POLICY, metrics=())
    job = replace(a_job(), contenders=(Contender("kpa", without_metrics, Baseline.KPA),))

    record = await ended(simulations, await simulations.run(job, "", ANNE))

    assert (record.state, record.error) == (BacktestState.FAILED, "the helper that plays backtests failed")


async def test_backtests_are_listed_by_pages_newest_first(rows: SqlBacktests) -> None:
    simulations = Simulations(backtests=rows, simulator=QuickSimulator(), clock=FakeClock())
    names = [await simulations.run(a_job(), str(number), ANNE) for number in range(2)]
    for name in names:
        await ended(simulations, name)

    first = await simulations.page(1, "")
    second = await simulations.page(1, first.next_before)

    assert sorted(record.id for page in (first, second) for record in page.records) == sorted(names)
    assert second.next_before == ""
    assert first.records[0].played[0].series is None


async def test_a_backtest_that_is_cancelled_ends_its_helper(rows: SqlBacktests) -> None:
    stuck = StuckSimulator()
    simulations = Simulations(backtests=rows, simulator=stuck, clock=FakeClock())
    backtest = await simulations.run(a_job(), "", ANNE)
    await stuck.began.wait()

    record = await simulations.cancel(backtest)

    assert stuck.ended.is_set()
    assert (record.state, record.error) == (BacktestState.CANCELLED, "it was cancelled")
    with pytest.raises(Conflict) as again:
        await simulations.cancel(backtest)
    assert again.value.reason == "ENDED"


async def test_a_real_helper_dies_with_its_backtest(simulations: Simulations) -> None:
    backtest = await simulations.run(a_job(hours=500), "", ANNE)
    async for record in simulations.follow(backtest):
        if record.progress > 0:
            break

    assert (await simulations.cancel(backtest)).state is BacktestState.CANCELLED


async def test_another_server_may_cancel_and_sees_the_end(rows: SqlBacktests) -> None:
    stuck = StuckSimulator()
    here = Simulations(backtests=rows, simulator=stuck, clock=FakeClock())
    there = Simulations(backtests=rows, simulator=StuckSimulator(), clock=FakeClock())
    backtest = await here.run(a_job(), "", ANNE)
    await stuck.began.wait()

    record = await there.cancel(backtest)

    assert record.state is BacktestState.CANCELLED
    assert await rows.beat(backtest, 0.7) is False
    await here.close()
    assert await rows.get(backtest) == record


async def test_a_server_that_stops_says_so_and_one_that_dies_is_found_out(rows: SqlBacktests) -> None:
    stuck, clock = StuckSimulator(), FakeClock()
    simulations = Simulations(backtests=rows, simulator=stuck, clock=clock)
    stopped = await simulations.run(a_job(), "", ANNE)
    await stuck.began.wait()
    await simulations.close()
    died = await rows.add(
        BacktestRecord("0" * 26, "", BacktestState.RUNNING, 0.4, clock.now(), "anne", clock.now()), ANNE
    )
    assert (await simulations.get(died)).state is BacktestState.RUNNING

    clock.advance(SILENT_AFTER)

    assert (await simulations.get(stopped)).error == "the server stopped"
    assert (await simulations.get(died)).state is BacktestState.CANCELLED


async def test_no_more_than_a_few_run_at_once_and_none_that_is_too_long(rows: SqlBacktests) -> None:
    stuck = StuckSimulator()
    simulations = Simulations(backtests=rows, simulator=stuck, clock=FakeClock(), most_at_once=1)
    await simulations.run(a_job(), "", ANNE)

    with pytest.raises(Exhausted):
        await simulations.run(a_job(), "", ANNE)
    with pytest.raises(Exhausted):
        await simulations.compare(a_job())
    with pytest.raises(InvalidInput):
        await simulations.compare(
            Job(Trace("t", timedelta(days=1), (1.0,) * 1000), (Contender("k", POLICY, Baseline.KPA),), Site())
        )
    await simulations.close()


async def test_a_comparison_tells_where_two_part_ways(simulations: Simulations) -> None:
    trace = Trace("t", timedelta(seconds=15), (700.0,) * 20 + (1400.0,) * 20)

    outcome = await simulations.compare(
        Job(trace, (Contender("ours", POLICY), Contender("t", POLICY, Baseline.THRESHOLD)), Site())
    )

    assert outcome.partings[0].from_seconds == 300
    assert (outcome.partings[0].first, outcome.partings[0].second) == (20, 12)


async def test_a_trace_is_kept_as_it_is(rows: SqlBacktests, simulations: Simulations) -> None:
    kept = KeptTrace("friday", "orders", Trace("friday", timedelta(seconds=1), (0.1, 2e9), bytes([0, Mark.GAP])))
    await simulations.keep_trace(kept, ANNE, replace=False)

    assert await rows.trace("friday") == kept
    assert await rows.trace("monday") is None
    with pytest.raises(Conflict) as taken:
        await simulations.keep_trace(kept, ANNE, replace=False)
    assert taken.value.reason == "TRACE_EXISTS"

    await simulations.keep_trace(KeptTrace("friday", "x", kept.trace), ANNE, replace=True)

    assert (await rows.trace("friday")) == KeptTrace("friday", "x", kept.trace)


async def test_loads_of_a_policy_are_what_was_observed(rows: SqlBacktests, store: Store) -> None:
    now = FakeClock().now()
    seen = [
        {"policy": "shop", "time": now + timedelta(minutes=index), "size": 1, "values": values}
        for index, values in enumerate([{"load": 1.5}, {"other": 1}, {"load": 3}])
    ]
    await store.write(lambda connection: connection.execute(sa.insert(tables.observations), seen).rowcount)

    assert await rows.loads("shop", "load", None) == [(seen[0]["time"], 1.5), (seen[2]["time"], 3.0)]
    assert await rows.loads("shop", "load", now + timedelta(minutes=1)) == [(seen[2]["time"], 3.0)]
    assert await rows.loads("other", "load", None) == []


async def test_the_oldest_are_forgotten_but_for_those_that_run(store: Store) -> None:
    await migrate(store, MIGRATIONS)
    now = FakeClock().now()
    rows = SqlBacktests(store, FakeClock(), keep=2)
    running, over = BacktestState.RUNNING, BacktestState.SUCCEEDED
    for number, state in enumerate([running, over, over, over]):
        await rows.add(BacktestRecord(str(number) * 26, "", state, 0.0, now, "anne", now), ANNE)

    kept = [record.id[0] for record in (await rows.page(10, "")).records]

    assert kept == ["3", "2", "0"]


async def test_what_does_not_exist_is_not_found(simulations: Simulations) -> None:
    with pytest.raises(NotFound):
        await simulations.get("0" * 26)
    with pytest.raises(NotFound):
        await simulations.cancel("0" * 26)
