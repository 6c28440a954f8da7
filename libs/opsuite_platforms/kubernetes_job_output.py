"""The log of a pod as the API server sends it, read into lines. Pure: bytes go in, lines come out.

Each line is `2026-06-01T12:00:00.000000000Z text`; which of the two streams it was written to is not told, so all of it
counts as standard output. The same log always gives the same lines, as `docker_output.ContainerOutput` needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from opsuite_platforms.docker_output import ContainerOutput
from opsuite_platforms.port import OutputLine, Stream

STAMP_BYTES: Final = 64


class PodLog:
    """One pass over the log of a pod, from its start. A line longer than `longest_line_bytes` loses its end."""

    def __init__(self, output: ContainerOutput, longest_line_bytes: int) -> None:
        self._output = output
        self._longest = longest_line_bytes
        self._unfinished = b""
        self._read = 0

    def feed(self, data: bytes) -> None:
        """Deliver what is new in `data`."""
        *lines, rest = (self._unfinished + data).split(b"\n")
        self._unfinished = rest[: self._longest + STAMP_BYTES]
        self._read = self._output.deliver(self._lines(lines), self._read)

    def finish(self) -> None:
        """Deliver the unfinished last line; the log is complete."""
        self._read = self._output.deliver(self._lines([self._unfinished]), self._read)

    def _lines(self, lines: list[bytes]) -> Iterator[OutputLine]:
        for line in lines:
            stamp, _, text = line.partition(b" ")
            try:
                time = datetime.fromisoformat(stamp.decode())
            except ValueError:
                continue  # not the container but the kubelet speaks: there is no log (any more)
            # Databases refuse NUL in text, and no terminal shows it.
            kept = text[: self._longest].decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
            yield OutputLine(time, Stream.STDOUT, kept)
