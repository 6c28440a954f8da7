"""How far a backup or restore has come, and when it will be done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeAlias

_BETWEEN: Final = 0.2
"""Seconds between two reports: enough for eyes, and few enough to cost nothing."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One report. Totals are None until something is known of them."""

    files_done: int = 0
    files_total: int | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    """An estimate during a backup: what the parent held. Files that are new can exceed it."""
    elapsed: timedelta = timedelta(0)
    current: bytes = b""
    """A path that is being worked on; empty when there is none to name."""

    @property
    def bytes_per_second(self) -> float:
        """The rate since the beginning."""
        seconds = self.elapsed.total_seconds()
        return self.bytes_done / seconds if seconds else 0.0

    @property
    def remaining(self) -> timedelta | None:
        """How long it will go on at this rate; None while nobody can know."""
        if self.bytes_total is None or not self.bytes_done:
            return None
        left = max(0, self.bytes_total - self.bytes_done)
        return timedelta(seconds=left / self.bytes_per_second) if self.bytes_per_second else None


ProgressSink: TypeAlias = Callable[[Progress], None]
"""Called a few times a second, from any thread but never from two at once. What it raises ends the work."""


class Meter:
    """Adds up what threads report and passes it on now and then."""

    def __init__(
        self,
        sink: ProgressSink | None,
        *,
        files_total: int | None = None,
        bytes_total: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._lock = threading.Lock()
        self._began = self._told = clock()
        self._files = self._bytes = 0
        self.files_total = files_total
        self.bytes_total = bytes_total

    def add(self, *, files: int = 0, size_bytes: int = 0, current: bytes = b"") -> None:
        """Count more work as done."""
        if self._sink is None:
            return
        with self._lock:
            self._files += files
            self._bytes += size_bytes
            now = self._clock()
            if now - self._told >= _BETWEEN:
                self._told = now
                self._sink(self._report(now, current))

    def finish(self) -> None:
        """Report the end, however short the time since the last report."""
        if self._sink is not None:
            with self._lock:
                self.files_total, self.bytes_total = self._files, self._bytes
                self._sink(self._report(self._clock(), b""))

    def _report(self, now: float, current: bytes) -> Progress:
        elapsed = timedelta(seconds=now - self._began)
        return Progress(self._files, self.files_total, self._bytes, self.bytes_total, elapsed, current)
