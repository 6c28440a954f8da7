"""The log of a container as the engine sends it, read into lines. Pure: bytes go in, lines come out.

The engine stores a line as entries of at most 16 KiB, the last of which ends with the newline, and sends each as a
frame: one byte that tells the stream, three of padding, a four-byte length, `2026-06-01T12:00:00.000000000Z text`.
The same log always gives the same lines; that is what lets a reader begin again after a lost connection and skip what
it has delivered.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from opsuite_kernel.clock import Clock
from opsuite_platforms.port import OnOutput, OutputLine, Stream

HEADER: Final = struct.Struct(">BxxxL")
STREAMS: Final = {1: Stream.STDOUT, 2: Stream.STDERR}


class LogReader:
    """Takes one reading of a log apart. A line longer than `longest_line_bytes` loses its end."""

    def __init__(self, longest_line_bytes: int) -> None:
        self._longest = longest_line_bytes
        self._received = bytearray()
        self._unfinished: dict[Stream, tuple[datetime, bytearray]] = {}

    def feed(self, data: bytes) -> Iterator[OutputLine]:
        """The lines that `data` completes."""
        self._received += data
        for stream, entry in self._frames():
            stamp, _, text = entry.partition(b" ")
            _, line = self._unfinished.setdefault(stream, (datetime.fromisoformat(stamp.decode()), bytearray()))
            line += text[: self._longest - len(line)].rstrip(b"\n")
            if text.endswith(b"\n"):
                yield self._finished(stream)

    def rest(self) -> Iterator[OutputLine]:
        """What was written last, without a newline; call only when the container has ended."""
        for stream in sorted(self._unfinished, key=lambda unfinished: self._unfinished[unfinished][0]):
            yield self._finished(stream)

    def _frames(self) -> Iterator[tuple[Stream, bytes]]:
        begin = 0
        while len(self._received) - begin >= HEADER.size:
            kind, length = HEADER.unpack_from(self._received, begin)
            end = begin + HEADER.size + length
            if len(self._received) < end:
                break
            yield STREAMS[kind], bytes(self._received[begin + HEADER.size : end])
            begin = end
        del self._received[:begin]

    def _finished(self, stream: Stream) -> OutputLine:
        time, text = self._unfinished.pop(stream)
        # Databases refuse NUL in text, and no terminal shows it.
        return OutputLine(time, stream, text.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}"))


class ContainerOutput:
    """Hands the lines of one container to its caller: each once, up to a number of bytes, however often it is read."""

    def __init__(self, limit_bytes: int, on_output: OnOutput, clock: Clock) -> None:
        self._limit = limit_bytes
        self._on_output = on_output
        self._clock = clock
        self._delivered = 0
        self._kept_bytes = 0
        self.is_full = False
        """Whether the limit is reached; what follows is of no interest."""

    def reading(self) -> Reading:
        """Begin to read the log from its start."""
        return Reading(self, LogReader(self._limit + 1))

    def deliver(self, lines: Iterator[OutputLine], already_read: int) -> int:
        """Hand over what is new in `lines`, which follow the first `already_read`; returns how many were read then."""
        count, batch = already_read, list[OutputLine]()
        for line in lines:
            count += 1
            if count > self._delivered and not self.is_full:
                self._delivered = count
                batch += self._within_limit(line)
        if batch:
            self._on_output(batch)
        return count

    def _within_limit(self, line: OutputLine) -> list[OutputLine]:
        text = line.text.encode()
        left = self._limit - self._kept_bytes
        self._kept_bytes += len(text)
        if len(text) <= left:
            return [line]
        self.is_full = True
        kept = text[:left].decode(errors="ignore")
        text_of_mark = f"output cut after {self._limit} bytes; what followed was dropped"
        mark = OutputLine(self._clock.now(), Stream.SYSTEM, text_of_mark)
        return [OutputLine(line.time, line.stream, kept), mark] if kept else [mark]


class Reading:
    """One pass over the log of a container, from its start."""

    def __init__(self, output: ContainerOutput, reader: LogReader) -> None:
        self._output = output
        self._reader = reader
        self._read = 0

    def feed(self, data: bytes) -> None:
        """Deliver what is new in `data`."""
        self._read = self._output.deliver(self._reader.feed(data), self._read)

    def finish(self) -> None:
        """Deliver the unfinished last lines; the log is complete."""
        self._read = self._output.deliver(self._reader.rest(), self._read)
