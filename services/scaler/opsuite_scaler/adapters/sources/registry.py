"""`ConfiguredSources`: all metric sources by name, and what becomes of an answer that is late, old or none."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from opsuite_kernel.errors import OpsuiteError
from opsuite_scaler.adapters.sources.source import BY_MEMBER, MetricSource, failed, missing
from opsuite_scaler.application.ports import PLATFORM_SOURCE, SourceInfo
from opsuite_scaler.domain.policy import MetricKind, MetricSpec, TargetRef
from opsuite_scaler.domain.snapshot import Member, Reading, SampleKind

log = structlog.get_logger(__name__)

TIMEOUT: Final = timedelta(seconds=5)
AT_ONCE: Final = 64
"""Questions that one source is asked at the same time."""


@dataclass(frozen=True, slots=True)
class NamedSource:
    """A source and how it is asked."""

    source: MetricSource
    timeout: timedelta = TIMEOUT


class ConfiguredSources:
    """Fits `opsuite_scaler.application.ports.MetricSources`."""

    def __init__(self, sources: Mapping[str, NamedSource]) -> None:
        self._sources = dict(sources)
        self._turns = {name: asyncio.Semaphore(AT_ONCE) for name in sources}
        self._given_up = set[asyncio.Task[Reading]]()

    async def close(self) -> None:
        """Let go of every source, whatever one of them does."""
        await asyncio.gather(*self._given_up, return_exceptions=True)
        async with AsyncExitStack() as stack:
            for named in self._sources.values():
                stack.push_async_callback(named.source.close)

    async def read(
        self, ref: TargetRef, metrics: Sequence[MetricSpec], members: Sequence[Member], now: datetime
    ) -> Mapping[str, Reading]:
        """What each metric says now, all of them asked at once; the port tells the rest."""
        asked = [metric for metric in metrics if metric.kind is not MetricKind.FORMULA]
        told = await asyncio.gather(*(self._read(ref, metric, members, now) for metric in asked))
        return {metric.name: reading for metric, reading in zip(asked, told, strict=True)}

    def known(self) -> Sequence[SourceInfo]:
        """The sources that there are, by name."""
        named = sorted(self._sources.items())
        return [SourceInfo(name, each.source.kind, each.source.description) for name, each in named]

    async def check(self, metrics: Sequence[MetricSpec]) -> Mapping[str, str]:
        """What is wrong with the source or query of each metric, by its name, without asking any source."""
        asked = [metric for metric in metrics if metric.kind is not MetricKind.FORMULA]
        return {metric.name: problem for metric in asked if (problem := self._problem(metric))}

    def _problem(self, metric: MetricSpec) -> str:
        named = self._sources.get(source_of(metric))
        if named is None:
            known = ", ".join(sorted(self._sources))
            return f"there is no metric source {source_of(metric)!r}; there are: {known}"
        return named.source.problem(metric)

    async def _read(self, ref: TargetRef, metric: MetricSpec, members: Sequence[Member], now: datetime) -> Reading:
        if problem := self._problem(metric):
            return failed(problem)
        name = source_of(metric)
        limit = self._sources[name].timeout.total_seconds()
        asking = asyncio.create_task(self._ask(name, ref, metric, members, now))
        try:
            done, _ = await asyncio.wait({asking}, timeout=limit)
        finally:
            self._give_up(asking)
        return (
            judged(asking.result(), metric, members, now) if done else failed(f"{name}: no answer within {limit:g} s")
        )

    def _give_up(self, asking: asyncio.Task[Reading]) -> None:
        """End a question that is not answered, and not wait for it: clients say goodbye to servers that are silent."""
        if not asking.done():
            asking.cancel()
            self._given_up.add(asking)
            asking.add_done_callback(self._given_up.discard)

    async def _ask(
        self, name: str, ref: TargetRef, metric: MetricSpec, members: Sequence[Member], now: datetime
    ) -> Reading:
        try:
            async with self._turns[name]:
                return await self._sources[name].source.read(ref, metric, members, now)
        except OpsuiteError as error:
            return failed(f"{name}: {error.message}")
        except TimeoutError:
            return failed(f"{name}: no answer in time")
        except Exception as error:  # a fault of one source must not cost the tick its other metrics
            log.exception("metric_source_failed", source=name, metric=metric.name)
            return failed(f"{name}: {type(error).__name__}")


def source_of(metric: MetricSpec) -> str:
    """Name of the source that a metric is asked of."""
    return metric.source or PLATFORM_SOURCE


def judged(reading: Reading, metric: MetricSpec, members: Sequence[Member], now: datetime) -> Reading:
    """The reading, or what it amounts to: old samples are STALE, and those of strangers are none."""
    if reading.kind is not SampleKind.VALUE:
        return reading
    if reading.at is not None and now - reading.at > metric.stale_after:
        age = (now - reading.at).total_seconds()
        message = f"the newest sample is {age:.0f} s old, which is more than {metric.stale_after.total_seconds():g} s"
        return replace(reading, kind=SampleKind.STALE, message=message)
    if metric.kind not in BY_MEMBER:
        return reading
    names = {member.name for member in members}
    own = {name: value for name, value in reading.by_member.items() if name in names}
    if not own:
        return missing("it has no sample of any member of the target")
    return replace(reading, by_member=own, total=sum(own.values()))
