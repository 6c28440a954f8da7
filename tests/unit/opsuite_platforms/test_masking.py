"""Secrets do not show, wherever a stream is cut while it is read and whatever cuts it afterwards."""

from __future__ import annotations

from itertools import pairwise

import pytest
from fakes.clock import NOON
from hypothesis import example, given
from hypothesis import strategies as st

from opsuite_platforms.masking import MASK, Masking
from opsuite_platforms.port import Stream
from opsuite_platforms.spawner.output import MAX_LINE_BYTES, Output

LETTERS = st.text(alphabet="abä", min_size=1, max_size=12)
CUTS = st.lists(st.integers(0, 60), max_size=8)


def masked(stream: bytes, secrets: list[str]) -> bytes:
    """What is promised, place by place."""
    parts = [part.encode() for secret in secrets for part in secret.splitlines() if part]
    shown, covered_to = b"", 0
    for at in range(len(stream)):
        stop = max((at + len(part) for part in parts if stream.startswith(part, at)), default=0)
        if stop and at >= covered_to:
            shown += MASK
        covered_to = max(covered_to, stop)
        if at >= covered_to:
            shown += stream[at : at + 1]
    return shown


def in_pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(st.text(alphabet="abä\n", max_size=60), st.lists(LETTERS, max_size=4), CUTS)
@example("aba", ["aba", "ab", "a"], [1, 2])
@example("aaaaaaa", ["aa"], [1, 2, 3, 4, 5, 6])
@example("aäb", ["äb"], [2])
def test_every_place_of_a_secret_is_masked_wherever_the_stream_is_cut(
    text: str, secrets: list[str], cuts: list[int]
) -> None:
    masking = Masking(secrets)

    shown = b"".join(masking.feed(piece) for piece in in_pieces(text.encode(), cuts)) + masking.finish()

    assert shown == masked(text.encode(), secrets)


@given(st.text(alphabet="abä\n", max_size=60), st.lists(LETTERS, min_size=1, max_size=4), CUTS, st.integers(1, 80))
def test_lines_and_limits_cut_only_what_is_masked(text: str, secrets: list[str], cuts: list[int], limit: int) -> None:
    output, expected = Output(limit, secrets), Output(limit)

    lines = [line for piece in in_pieces(text.encode(), cuts) for line in output.feed(Stream.STDOUT, piece, NOON)]
    lines += output.finish(NOON)

    shown = [*expected.feed(Stream.STDOUT, masked(text.encode(), secrets), NOON), *expected.finish(NOON)]
    told = [[line.text for line in all_ if line.stream is Stream.STDOUT] for all_ in (lines, shown)]
    assert told[0] == told[1]


@pytest.mark.parametrize("before", range(-8, 1))
def test_a_secret_across_the_pieces_of_a_long_line_is_masked(before: int) -> None:
    output = Output(10 * MAX_LINE_BYTES, ["password"])
    line = b"x" * (MAX_LINE_BYTES + before) + b"password" + b"y" * MAX_LINE_BYTES + b"\n"

    texts = [text.text for piece in (line[:65_536], line[65_536:]) for text in output.feed(Stream.STDOUT, piece, NOON)]

    assert "".join(texts) == "x" * (MAX_LINE_BYTES + before) + "***" + "y" * MAX_LINE_BYTES


def test_only_what_may_be_the_beginning_of_a_secret_waits() -> None:
    masking = Masking(["password"])

    assert [masking.feed(data) for data in (b"my pass", b"ing, my passw", b"ord\n")] == [
        b"my ",
        b"passing, my ",
        b"***\n",
    ]


def test_each_line_of_a_secret_is_one() -> None:
    assert Masking(["first\r\nsecond\n\n"]).feed(b"second, then first\n\n") == b"***, then ***\n\n"
