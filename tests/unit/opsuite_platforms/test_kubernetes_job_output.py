"""How the log of a pod is read into lines."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from fakes.clock import FakeClock

from opsuite_platforms.docker_output import ContainerOutput
from opsuite_platforms.kubernetes_job_output import PodLog
from opsuite_platforms.port import OutputLine, Stream

STAMP = b"2026-06-01T12:00:00.123456789Z "
TIME = datetime(2026, 6, 1, 12, 0, 0, 123456, UTC)


def read(*parts: bytes, longest: int = 100) -> list[OutputLine]:
    lines = list[OutputLine]()
    log = PodLog(ContainerOutput(10_000, lines.extend, FakeClock()), longest)
    for part in parts:
        log.feed(part)
    log.finish()
    return lines


def test_a_line_is_its_time_and_its_text() -> None:
    assert read(STAMP + b"hello world\n") == [OutputLine(TIME, Stream.STDOUT, "hello world")]


@pytest.mark.parametrize("cut", range(1, 70, 7))
def test_lines_are_the_same_however_they_arrive(cut: int) -> None:
    data = STAMP + b"one\n" + STAMP + b"\n" + STAMP + "drei ä\n".encode()

    assert [line.text for line in read(data[:cut], data[cut:])] == ["one", "", "drei ä"]


def test_what_has_no_newline_at_the_end_is_a_line() -> None:
    assert [line.text for line in read(STAMP + b"one\n" + STAMP + b"two")] == ["one", "two"]


def test_a_long_line_loses_its_end_and_the_next_one_nothing() -> None:
    data = STAMP + b"x" * 500 + b"\n" + STAMP + b"next\n"
    parts = [data[begin : begin + 50] for begin in range(0, len(data), 50)]

    assert [line.text for line in read(*parts, longest=10)] == ["x" * 10, "next"]


def test_what_the_kubelet_says_in_place_of_a_log_is_no_line_of_the_container() -> None:
    assert read(b"unable to retrieve container logs for containerd://0123\n") == []


def test_what_databases_refuse_is_replaced() -> None:
    assert [line.text for line in read(STAMP + b"a\0b\xff\n")] == [
        "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
    ]
