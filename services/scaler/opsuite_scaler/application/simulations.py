"""Backtests: begun, followed, ended, compared; and the traces that they are played on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Conflict, Exhausted, InvalidInput, NotFound, OpsuiteError, Violation
from opsuite_kernel.ids import new_id
from opsuite_runs.port import Call
from opsuite_scaler.application.rehearsal import (
    BacktestRecord,
    Backtests,
    BacktestState,
    Job,
    KeptTrace,
    Outcome,
    Page,
    Simulator,
)
from opsuite_scaler.domain.simulation.contenders import ticks_of
from opsuite_scaler.domain.simulation.traces import MAX_STEPS

log: Final = structlog.get_logger(__name__)
BEAT_EVERY: Final = timedelta(seconds=5)
MOST_TICKS: Final = 20_000_000
MOST_REPLICAS_NEEDED: Final = 10**9
"""Far more than a policy may ask for, and still a number that can be reckoned with."""
SILENT_AFTER: Final = timedelta(seconds=60)
"""A backtest whose server was silent for so long has ended with it."""


@dataclass(slots=True)
class _Running:
    """A backtest that this process plays."""

    record: BacktestRecord
    changed: asyncio.Event
    task: asyncio.Task[None] | None = None
    reason: str = "it was cancelled"

    def tell(self, record: BacktestRecord) -> None:
        self.record = record
        told, self.changed = self.changed, asyncio.Event()
        told.set()


class Simulations:
    """The use cases of SimulationService."""

    def __init__(self, *, backtests: Backtests, simulator: Simulator, clock: Clock, most_at_once: int = 2) -> None:
        self._backtests = backtests
        self._simulator = simulator
        self._clock = clock
        self._most_at_once = most_at_once
        self._running: dict[str, _Running] = {}
        self._comparing = 0

    async def run(self, job: Job, display_name: str, call: Call) -> str:
        """Begin a backtest, which goes on whoever leaves; returns its id.

        Raises: Exhausted (too many at once), InvalidInput (too long or short, too much load).
        """
        refuse_unplayable(job)
        self._refuse_too_many()
        now = self._clock.now()
        record = BacktestRecord(new_id(now), display_name, BacktestState.RUNNING, 0.0, now, call.actor, beat_at=now)
        running = self._running[record.id] = _Running(record, asyncio.Event())
        try:
            known = await self._backtests.add(record, call)
        except BaseException:
            del self._running[record.id]
            raise
        if known != record.id:
            del self._running[record.id]
            return known
        running.task = asyncio.create_task(self._play(running, job), name=f"backtest {record.id}")
        return record.id

    async def follow(self, backtest: str) -> AsyncIterator[BacktestRecord]:
        """A backtest each time that it is further, until it has ended. Raises: NotFound."""
        running = self._running.get(backtest)
        while running is not None and running.record.state is BacktestState.RUNNING:
            changed = running.changed
            yield running.record
            await changed.wait()
        if running is not None:
            yield running.record
            return
        record = await self.get(backtest)
        while record.state is BacktestState.RUNNING:  # another server plays it
            yield record
            await asyncio.sleep(BEAT_EVERY.total_seconds() / 5)
            record = await self.get(backtest)
        yield record

    async def get(self, backtest: str) -> BacktestRecord:
        """A backtest as it is now. Raises: NotFound."""
        record = await self._backtests.get(backtest)
        if record is None:
            raise NotFound("backtest", f"backtests/{backtest}")
        if record.state is BacktestState.RUNNING and (running := self._running.get(backtest)):
            return running.record
        return as_of(record, self._clock.now())

    async def page(self, size: int, before: str) -> Page:
        """Some backtests, the newest first."""
        page = await self._backtests.page(size, before)
        now = self._clock.now()
        return Page([as_of(record, now) for record in page.records], page.next_before)

    async def cancel(self, backtest: str) -> BacktestRecord:
        """End a backtest wherever it is played. Raises: NotFound, Conflict (ENDED)."""
        record = await self.get(backtest)
        if record.state is not BacktestState.RUNNING:
            raise Conflict(f"backtests/{backtest} has ended", reason="ENDED", metadata={"state": record.state.value})
        if running := self._running.get(backtest):
            await self._stop(running, "it was cancelled")
        else:
            await self._backtests.end(self._ended(record, BacktestState.CANCELLED, error="it was cancelled"))
        return await self.get(backtest)

    async def compare(self, job: Job) -> Outcome:
        """Play a job at once and keep nothing. Raises: Exhausted, InvalidInput, and what the simulator does."""
        refuse_unplayable(job)
        self._refuse_too_many()
        self._comparing += 1
        try:
            return await self._simulator.play(replace(job, compares=True), lambda _: None)
        finally:
            self._comparing -= 1

    async def keep_trace(self, kept: KeptTrace, call: Call, *, replace: bool) -> None:
        """Keep a trace. Raises: Conflict (TRACE_EXISTS)."""
        if not await self._backtests.keep_trace(kept, call, replace=replace):
            raise Conflict(f"traces/{kept.name} exists", reason="TRACE_EXISTS", metadata={"trace": kept.name})

    async def close(self) -> None:
        """End what is played here: the server stops."""
        await asyncio.gather(*(self._stop(one, "the server stopped") for one in list(self._running.values())))

    # --- playing -----------------------------------------------------------------------------------------------------

    async def _play(self, running: _Running, job: Job) -> None:
        beating = asyncio.create_task(self._beat(running))
        try:
            outcome = await self._simulator.play(job, lambda share: self._advance(running, share))
            ended = replace(
                self._ended(running.record, BacktestState.SUCCEEDED),
                progress=1.0,
                played=outcome.played,
                ticks=outcome.ticks,
            )
        except asyncio.CancelledError:
            ended = self._ended(running.record, BacktestState.CANCELLED, error=running.reason)
        except OpsuiteError as error:
            ended = self._ended(running.record, BacktestState.FAILED, error=error.message)
        except Exception:  # whatever it is, whoever waits has to hear of the end
            log.exception("backtest_failed", backtest=running.record.id)
            ended = self._ended(running.record, BacktestState.FAILED, error="an internal fault; the log has it in full")
        finally:
            beating.cancel()
        try:
            await self._backtests.end(ended)
        except OpsuiteError as error:
            log.warning("backtest_not_kept", backtest=ended.id, reason=error.reason)
        self._running.pop(ended.id, None)
        running.tell(ended)

    async def _beat(self, running: _Running) -> None:
        """Say now and then that it goes on, and end it when somebody elsewhere has."""
        while True:
            await asyncio.sleep(BEAT_EVERY.total_seconds())
            try:
                goes_on = await self._backtests.beat(running.record.id, running.record.progress)
            except OpsuiteError:  # the next beat may reach the database again
                continue
            if not goes_on and running.task is not None:
                running.task.cancel()
                return

    def _advance(self, running: _Running, share: float) -> None:
        if share > running.record.progress:
            running.tell(replace(running.record, progress=min(share, 1.0)))

    async def _stop(self, running: _Running, reason: str) -> None:
        running.reason = reason
        if running.task is not None:
            running.task.cancel()
            await asyncio.wait([running.task])

    def _ended(self, record: BacktestRecord, state: BacktestState, error: str = "") -> BacktestRecord:
        return replace(record, state=state, error=error, ended_at=self._clock.now())

    def _refuse_too_many(self) -> None:
        if len(self._running) + self._comparing >= self._most_at_once:
            raise Exhausted(
                f"{self._most_at_once} backtests run already; wait for one to end",
                reason="TOO_MANY_BACKTESTS",
                retry_after=timedelta(seconds=5),
            )


def refuse_unplayable(job: Job) -> None:
    """Raises: InvalidInput (more ticks than anybody waits for or none, a load that no number of replicas serves)."""
    found: list[Violation] = []
    lengths = [ticks_of(contender, job.trace) for contender in job.contenders]
    if max(lengths) > MAX_STEPS or sum(lengths) > MOST_TICKS:
        problem = f"takes {sum(lengths)} ticks; {MAX_STEPS} for each contender and {MOST_TICKS} in all are allowed"
        found.append(Violation("trace", problem, "TOO_LONG"))
    if min(lengths) < 1:
        found.append(Violation("trace", "is shorter than a tick of a contender", "TOO_SHORT"))
    if max(job.trace.values) / job.site.capacity > MOST_REPLICAS_NEEDED:
        problem = f"needs more than {MOST_REPLICAS_NEEDED} replicas of the plant's capacity_per_replica"
        found.append(Violation("trace", problem, "RANGE"))
    if found:
        raise InvalidInput(found)


def as_of(record: BacktestRecord, now: datetime) -> BacktestRecord:
    """A record as it is to be read: one whose server has been silent for long was ended by that."""
    if record.state is not BacktestState.RUNNING or now - record.beat_at < SILENT_AFTER:
        return record
    return replace(
        record, state=BacktestState.CANCELLED, error="the server that played it stopped", ended_at=record.beat_at
    )
