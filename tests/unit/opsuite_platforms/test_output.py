from __future__ import annotations

from itertools import pairwise

from fakes.clock import NOON
from hypothesis import given
from hypothesis import strategies as st

from opsuite_platforms.port import OutputLine, Stream
from opsuite_platforms.spawner.output import MAX_LINE_BYTES, LineSplitter, Output


@given(st.binary(max_size=200).map(lambda data: data.replace(b"x", b"\n")), st.lists(st.integers(0, 200), max_size=5))
def test_lines_do_not_depend_on_how_the_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    whole, pieces = LineSplitter(), LineSplitter()
    edges = [0, *sorted(cuts), len(data)]

    in_pieces = [line for start, end in pairwise(edges) for line in pieces.feed(data[start:end])]

    assert in_pieces + pieces.finish() == whole.feed(data) + whole.finish()


def test_a_line_longer_than_the_limit_comes_in_pieces_at_once() -> None:
    splitter = LineSplitter()

    assert [len(line) for line in splitter.feed(b"x" * (2 * MAX_LINE_BYTES + 1))] == [MAX_LINE_BYTES, MAX_LINE_BYTES]
    assert splitter.feed(b"\n") == ["x"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert LineSplitter().feed(b"a\xffb\r\n\n") == ["a\ufffdb", ""]


def test_nul_which_a_database_may_not_hold_is_replaced() -> None:
    assert LineSplitter().feed(b"a\0b\n") == ["a\N{REPLACEMENT CHARACTER}b"]


def test_the_limit_counts_both_streams_and_the_mark_says_what_was_dropped() -> None:
    output = Output(limit_bytes=6)

    lines = [
        *output.feed(Stream.STDOUT, b"abc\n", NOON),
        *output.feed(Stream.STDERR, b"defg\n", NOON),
        *output.feed(Stream.STDOUT, b"h\n", NOON),
        *output.finish(NOON),
    ]

    assert lines == [
        OutputLine(NOON, Stream.STDOUT, "abc"),
        OutputLine(NOON, Stream.STDERR, "de"),
        OutputLine(NOON, Stream.SYSTEM, "output cut here: 5 bytes beyond the limit of 6 were dropped"),
    ]


def test_output_within_the_limit_has_no_mark() -> None:
    output = Output(limit_bytes=4)

    assert [*output.feed(Stream.STDOUT, b"abc\n", NOON), *output.finish(NOON)] == [
        OutputLine(NOON, Stream.STDOUT, "abc")
    ]
