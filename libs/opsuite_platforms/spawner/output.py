"""Bytes of a program's two streams become lines, within a limit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from opsuite_platforms.masking import Masking
from opsuite_platforms.port import OutputLine, Stream

MAX_LINE_BYTES = 65_536


class LineSplitter:
    """Cuts one stream into lines; holds no more than one line."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes. A longer line than 64 KiB comes in pieces."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        pieces = [piece for line in lines for piece in _pieces(line)]
        while len(self._rest) >= MAX_LINE_BYTES:
            pieces.append(self._rest[:MAX_LINE_BYTES])
            self._rest = self._rest[MAX_LINE_BYTES:]
        return [_text(piece) for piece in pieces]

    def finish(self) -> list[str]:
        """The last line, if it had no newline."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


def _pieces(line: bytes) -> list[bytes]:
    return [line[start : start + MAX_LINE_BYTES] for start in range(0, len(line), MAX_LINE_BYTES)] or [line]


def _text(line: bytes) -> str:
    # NUL is what PostgreSQL cannot hold in a text.
    return line.removesuffix(b"\r").decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


class Output:
    """The lines of both streams of one program without its secrets, up to a number of bytes in all."""

    def __init__(self, limit_bytes: int, secrets: Sequence[str] = ()) -> None:
        self._limit_bytes = limit_bytes
        self._left_bytes = limit_bytes
        self._dropped_bytes = 0
        self._maskings = {stream: Masking(secrets) for stream in (Stream.STDOUT, Stream.STDERR)} if secrets else {}
        self._splitters = {Stream.STDOUT: LineSplitter(), Stream.STDERR: LineSplitter()}

    def feed(self, stream: Stream, data: bytes, now: datetime) -> Sequence[OutputLine]:
        """The lines that `data` completes; what goes beyond the limit is counted and dropped."""
        if self._maskings and self._left_bytes:
            data = self._maskings[stream].feed(data)
        return self._take(stream, data, now)

    def _take(self, stream: Stream, data: bytes, now: datetime) -> list[OutputLine]:
        kept = data[: self._left_bytes]
        self._left_bytes -= len(kept)
        self._dropped_bytes += len(data) - len(kept)
        return [OutputLine(now, stream, text) for text in self._splitters[stream].feed(kept)] if kept else []

    def finish(self, now: datetime) -> Sequence[OutputLine]:
        """Last lines without a newline, then a mark if anything was dropped."""
        lines = [line for stream, each in self._maskings.items() for line in self._take(stream, each.finish(), now)]
        lines += [OutputLine(now, stream, text) for stream, each in self._splitters.items() for text in each.finish()]
        if self._dropped_bytes:
            mark = f"output cut here: {self._dropped_bytes} bytes beyond the limit of {self._limit_bytes} were dropped"
            lines.append(OutputLine(now, Stream.SYSTEM, mark))
        return lines
