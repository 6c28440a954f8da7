"""Spans wait for a database that may be slow or away, and each is written once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from fakes.clock import NOON

from opsuite_deployer.adapters.span_table import WAITING, SpanTable
from opsuite_kernel.errors import Unavailable
from opsuite_telemetry.port import SpanRecord


class SlowStore:
    """A store whose writes end when they are told to; keeps what they insert."""

    dialect = "sqlite"

    def __init__(self) -> None:
        self.written: list[str] = []
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.failure: Exception | None = None

    async def write(self, body: Any) -> None:
        self.asked.set()
        await self.go_on.wait()
        if self.failure is not None:
            raise self.failure
        body(self)

    def execute(self, _insert: object, rows: list[dict[str, str]]) -> None:
        self.written += [row["span_id"] for row in rows]


def a_span(number: int) -> SpanRecord:
    return SpanRecord("1" * 32, str(number), "Deploy", NOON, NOON + timedelta(seconds=1))


async def test_two_flushes_at_once_write_each_span_once() -> None:
    table = SpanTable(store := SlowStore())  # type: ignore[arg-type]  # as far as it is used
    table.add(a_span(1))
    flushes = [asyncio.create_task(table.flush()) for _ in range(2)]
    await store.asked.wait()
    table.add(a_span(2))
    store.go_on.set()

    await asyncio.gather(*flushes)

    assert store.written == ["1", "2"]


async def test_spans_that_push_others_out_during_a_flush_are_written_by_the_next() -> None:
    table = SpanTable(store := SlowStore())  # type: ignore[arg-type]  # as far as it is used
    table.add(a_span(0))
    flush = asyncio.create_task(table.flush())
    await store.asked.wait()
    for number in range(1, WAITING + 1):
        table.add(a_span(number))
    store.go_on.set()
    await flush

    await table.flush()

    assert store.written == [str(number) for number in range(WAITING + 1)]


async def test_what_could_not_be_written_waits_on() -> None:
    table = SpanTable(store := SlowStore())  # type: ignore[arg-type]  # as far as it is used
    table.add(a_span(1))
    store.go_on.set()
    store.failure = Unavailable("away")
    with pytest.raises(Unavailable):
        await table.flush()

    store.failure = None
    await table.flush()

    assert store.written == ["1"]
