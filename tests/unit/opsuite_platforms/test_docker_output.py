"""The engine's log frames, taken apart into lines."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from fakes.clock import NOON, FakeClock
from hypothesis import given
from hypothesis import strategies as st

from opsuite_platforms.docker_output import HEADER, ContainerOutput, LogReader
from opsuite_platforms.port import OutputLine, Stream

STAMP: Final = "2026-06-01T12:00:00.000000000Z"
OUT, ERR, SYSTEM = Stream.STDOUT, Stream.STDERR, Stream.SYSTEM


def frame(text: str | bytes, stream: Stream = OUT, stamp: str = STAMP) -> bytes:
    entry = stamp.encode() + b" " + (text if isinstance(text, bytes) else text.encode())
    return HEADER.pack(1 if stream is OUT else 2, len(entry)) + entry


def read(*frames: bytes, longest: int = 1000) -> list[OutputLine]:
    reader = LogReader(longest)
    return [line for data in frames for line in reader.feed(data)] + list(reader.rest())


def line(text: str, stream: Stream = OUT, time: datetime = NOON) -> OutputLine:
    return OutputLine(time, stream, text)


def test_a_frame_is_a_line_with_its_stream_and_time() -> None:
    frames = frame("one\n") + frame("two\n", ERR, "2026-06-01T12:00:01.500000001Z")

    assert read(frames) == [line("one"), line("two", ERR, NOON.replace(second=1, microsecond=500_000))]


def test_a_line_in_several_entries_is_one_line_with_the_time_of_its_beginning() -> None:
    assert read(frame("a" * 10), frame("err\n", ERR), frame("b\n", stamp="2026-06-01T12:00:09.000000000Z")) == [
        line("err", ERR),
        line("a" * 10 + "b"),
    ]


def test_last_words_without_a_newline_are_a_line() -> None:
    assert read(frame("done\n"), frame("almost")) == [line("done"), line("almost")]


def test_empty_lines_and_inner_carriage_returns_stay() -> None:
    assert [each.text for each in read(frame("\n"), frame("50%\r100%\n"))] == ["", "50%\r100%"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert [each.text for each in read(frame(b"\xff\0x\n"))] == ["\N{REPLACEMENT CHARACTER}" * 2 + "x"]


def test_a_line_without_end_takes_bounded_memory() -> None:
    assert [each.text for each in read(*[frame("x" * 50)] * 100, longest=120)] == ["x" * 120]


@given(st.lists(st.text(st.characters(exclude_characters="\n\0", codec="utf-8"), max_size=20)), st.data())
def test_lines_do_not_depend_on_how_the_connection_cuts_the_bytes(texts: list[str], data: st.DataObject) -> None:
    log = b"".join(frame(f"{text}\n") for text in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=10)))
    pieces = [log[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(log)], strict=True)]

    assert [each.text for each in read(*pieces)] == texts


class Delivered(list[OutputLine]):
    def texts(self, stream: Stream = OUT) -> list[str]:
        return [each.text for each in self if each.stream is stream]


def an_output(limit_bytes: int = 1000) -> tuple[ContainerOutput, Delivered]:
    delivered = Delivered()
    return ContainerOutput(limit_bytes, delivered.extend, FakeClock()), delivered


def test_reading_again_from_the_start_delivers_only_what_is_new() -> None:
    output, delivered = an_output()
    log = [frame("one\n"), frame("two\n"), frame("three")]
    first, second = output.reading(), output.reading()

    first.feed(log[0])
    for data in log:
        second.feed(data)
    second.finish()

    assert delivered.texts() == ["one", "two", "three"]


def test_the_limit_cuts_in_the_middle_of_a_line_and_says_so_once() -> None:
    output, delivered = an_output(limit_bytes=5)
    reading = output.reading()

    for data in [frame("abc\n"), frame("déf\n"), frame("more\n")]:
        reading.feed(data)

    assert delivered.texts() == ["abc", "d"], "half a character is none"
    assert len(delivered.texts(SYSTEM)) == 1
    assert output.is_full


def test_output_of_exactly_the_limit_is_whole() -> None:
    output, delivered = an_output(limit_bytes=6)
    reading = output.reading()

    for data in [frame("abc\n"), frame("def\n")]:
        reading.feed(data)

    assert delivered.texts() == ["abc", "def"]
    assert not output.is_full
