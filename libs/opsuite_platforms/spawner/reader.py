"""The service's end of the pipes of one program."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from datetime import datetime

from opsuite_kernel.clock import Clock
from opsuite_platforms.port import OnOutput, OutputLine, Stream
from opsuite_platforms.spawner.output import Output

READ_BYTES = 65_536
WATCH_AFTER_SECONDS = 0.01
"""Most programs that write little have ended before; their pipes hold it until then, and are read just once."""
MAX_LAST_READS = 32
"""Pipes hold 1 MiB at most by default limits; a foreign process that was handed one could write for ever."""


class Reader:
    """Reads the two pipes of one program as fast as it writes, whatever becomes of the bytes."""

    def __init__(self, output: Output, clock: Clock) -> None:
        self._output = output
        self._clock = clock
        self._on_output: OnOutput = lambda _: None
        self._loop = asyncio.get_running_loop()
        stdout, out = os.pipe()
        stderr, err = os.pipe()
        self.writing_ends = [out, err]
        self._pipes = {stdout: Stream.STDOUT, stderr: Stream.STDERR}
        for pipe in self._pipes:
            os.set_blocking(pipe, False)
        self._watched: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None

    def listen(self, on_output: OnOutput) -> None:
        """Start reading; the program has its ends of the pipes by now."""
        self._on_output = on_output
        self._close_writing_ends()
        self._timer = self._loop.call_later(WATCH_AFTER_SECONDS, self._watch)

    def close(self) -> None:
        """Every writer is dead: read what is still in the pipes, and deliver the end of the output."""
        self._close_writing_ends()
        if self._timer is not None:
            self._timer.cancel()
        for pipe, stream in self._pipes.items():
            self._unwatch(pipe)
            for _ in range(MAX_LAST_READS):
                if not self._read(pipe, stream):
                    break
            os.close(pipe)
        self._pipes.clear()
        self._deliver(self._output.finish)

    def _read(self, pipe: int, stream: Stream) -> bool:
        """Read once; whether there was something."""
        try:
            data = os.read(pipe, READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._deliver(lambda now: self._output.feed(stream, data, now))
        else:
            self._unwatch(pipe)
        return bool(data)

    def _watch(self) -> None:
        for pipe, stream in self._pipes.items():
            self._loop.add_reader(pipe, self._read, pipe, stream)
            self._watched.add(pipe)

    def _unwatch(self, pipe: int) -> None:
        if pipe in self._watched:
            self._watched.discard(pipe)
            self._loop.remove_reader(pipe)

    def _deliver(self, lines_at: Callable[[datetime], Sequence[OutputLine]]) -> None:
        if lines := lines_at(self._clock.now()):
            self._on_output(lines)

    def _close_writing_ends(self) -> None:
        while self.writing_ends:
            os.close(self.writing_ends.pop())
