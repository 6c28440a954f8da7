"""What samplers read out of what the kernel, the Docker Engine and Kubernetes say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsuite_platforms.usage import CPU, MEMORY, Usage
from opsuite_platforms.usage_docker import Counted, counted_of
from opsuite_platforms.usage_docker import average as docker_average
from opsuite_platforms.usage_kubernetes import duration, quantity, usage_of
from opsuite_platforms.usage_process import (
    PAGE_BYTES,
    TICKS_PER_SECOND,
    Process,
    Spent,
    average,
    families_of,
    is_same,
    process_of,
    spent,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
STAT = b"7 (a (b) c) S 3 7 7 0 -1 4194304 9 9 0 0 %d %d %d %d 20 0 1 0 5005 9000 %d 184 1 1 0 0 0 0 0 0 0 0 0 0 17 0"


def test_a_line_of_the_process_table_is_read_whatever_its_program_is_called() -> None:
    ticks = TICKS_PER_SECOND

    process = process_of(STAT % (1 * ticks, 2 * ticks, 3 * ticks, 4 * ticks, 5))

    assert process == Process(parent=3, born=5005, cpu_seconds=10.0, memory_bytes=5 * PAGE_BYTES)


def test_a_replica_is_its_process_and_everything_below_it() -> None:
    def process(parent: int) -> Process:
        return Process(parent, born=1, cpu_seconds=1.0, memory_bytes=10)

    table = {1: process(0), 2: process(1), 3: process(2), 4: process(2), 5: process(4), 6: process(1)}

    replica = spent(2, table, families_of(table), moment=7.0)

    assert replica == Spent(7.0, (2, 1), cpu_seconds=4.0, memory_bytes=40)


@pytest.mark.parametrize(("before", "after", "millicores"), [(1.0, 3.0, 500.0), (1.0, 1.0, 0.0), (3.0, 1.0, 0.0)])
def test_cpu_is_the_average_between_two_looks_and_never_below_zero(
    before: float, after: float, millicores: float
) -> None:
    was, now = Spent(10.0, (2, 1), before, 10), Spent(14.0, (2, 1), after, 20)

    assert average(was, now) == {CPU: millicores, MEMORY: 20.0}


def test_a_process_that_was_given_the_number_of_another_is_another() -> None:
    assert is_same(Spent(0.0, (2, 1), 0.0, 0), Spent(1.0, (2, 1), 0.0, 0))
    assert not is_same(Spent(0.0, (2, 1), 0.0, 0), Spent(1.0, (2, 9), 0.0, 0))
    assert not is_same(None, Spent(1.0, (2, 1), 0.0, 0))


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ({"usage": 100, "stats": {"inactive_file": 30}}, 70.0),
        ({"usage": 100, "stats": {"total_inactive_file": 40}}, 60.0),
        ({"usage": 100}, 100.0),
    ],
)
def test_the_cache_of_files_is_not_used_memory(memory: dict[str, Any], expected: float) -> None:
    read = "2026-06-01T12:00:00.123456789Z"
    stats = {"read": read, "memory_stats": memory, "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000}}}

    assert counted_of(stats) == Counted(NOON + timedelta(microseconds=123456), 2.5, expected)


@pytest.mark.parametrize("stats", [{}, {"memory_stats": {}}])
def test_a_container_that_does_not_run_has_no_counters(stats: dict[str, Any]) -> None:
    assert counted_of(stats) is None


@pytest.mark.parametrize(("before", "millicores"), [(1.0, 250.0), (9.0, 500.0)])
def test_counters_that_began_again_count_from_zero(before: float, millicores: float) -> None:
    usage = docker_average(Counted(NOON, before, 0.0), Counted(NOON + timedelta(seconds=4), 2.0, 7.0))

    assert usage == Usage(NOON + timedelta(seconds=4), timedelta(seconds=4), {"": {CPU: millicores, MEMORY: 7.0}})


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("2", 2),
        ("250m", 0.25),
        ("12345678n", 0.012345678),
        ("1.5", 1.5),
        ("100u", 0.0001),
        ("1Ki", 1024),
        ("1.5Gi", 1.5 * 2**30),
        ("1k", 1000),
        ("2M", 2_000_000),
        ("1e3", 1000),
        ("1E", 1e18),
        ("129E3", 129_000),
        (3, 3),
    ],
)
def test_amounts_are_read_as_kubernetes_writes_them(text: str, amount: float) -> None:
    assert quantity(text) == pytest.approx(amount)


@pytest.mark.parametrize("text", ["", "m", "1 Gi", "1mi", "one", "1i", "-"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"quantity|could not convert"):
        quantity(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("15s", 15), ("1m30.5s", 90.5), ("500ms", 0.5), ("1h1m1s", 3661), ("0s", 0), ("", 0)]
)
def test_times_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    assert duration(text) == timedelta(seconds=seconds)


def test_the_use_of_a_pod_is_that_of_its_containers_or_of_one() -> None:
    containers = [
        {"name": "app", "usage": {"cpu": "250m", "memory": "64Mi"}},
        {"name": "proxy", "usage": {"cpu": "50m"}},
    ]

    usage = usage_of({"timestamp": "2026-06-01T12:00:00Z", "window": "15s", "containers": containers})

    assert (usage.at, usage.window) == (NOON, timedelta(seconds=15))
    assert usage.of(CPU) == pytest.approx(300.0)
    assert usage.of(CPU, "proxy") == pytest.approx(50.0)
    assert usage.of(MEMORY, "app") == 64 * 2**20
    assert usage.of(MEMORY) is None  # of one container it is not known
    assert usage.of(CPU, "nothing") is None
