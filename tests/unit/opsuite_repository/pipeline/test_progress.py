from __future__ import annotations

from datetime import timedelta

from fakes.clock import FakeClock

from opsuite_repository.pipeline.progress import Meter, Progress


def test_reports_come_now_and_then_and_at_the_end() -> None:
    clock, told = FakeClock(), list[Progress]()
    meter = Meter(told.append, files_total=10, bytes_total=1000, clock=clock.monotonic)

    meter.add(files=1, size_bytes=100)
    assert told == []
    clock.advance(timedelta(seconds=2))
    meter.add(files=1, size_bytes=100, current=b"/x")
    meter.add(files=1, size_bytes=50)
    assert told == [Progress(2, 10, 200, 1000, timedelta(seconds=2), b"/x")]

    meter.finish()
    assert told[-1] == Progress(3, 3, 250, 250, timedelta(seconds=2))


def test_what_remains_follows_from_the_rate() -> None:
    half = Progress(1, 2, 500, 1000, timedelta(seconds=5))
    assert (half.bytes_per_second, half.remaining) == (100, timedelta(seconds=5))
    assert Progress(bytes_done=2000, bytes_total=1000, elapsed=timedelta(seconds=1)).remaining == timedelta(0)


def test_nobody_guesses_what_nobody_can_know() -> None:
    assert Progress(bytes_done=5, elapsed=timedelta(seconds=5)).remaining is None
    assert Progress(bytes_total=5).remaining is None
    assert Progress().bytes_per_second == 0
