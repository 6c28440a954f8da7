"""How often supervisord started each process: read from its log, since it does not count."""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from pathlib import Path
from typing import BinaryIO

SPAWNED = re.compile(rb"INFO spawned: '([^']+)' with pid \d+")


class Spawns:
    """Counts by process name; reads only what is new in the log, across its rotation."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._file: BinaryIO | None = None
        self._counts = Counter[str]()
        self._lock = threading.Lock()

    def count(self, process: str) -> int:
        """Starts of that process since the log began."""
        return self._counts[process]

    def update(self) -> None:
        """Read what is new. A log that does not exist yet is empty."""
        with self._lock:
            if self._file is None:
                self._read(self._open(self._log.with_name(f"{self._log.name}.1")))
                self._file = self._open(self._log)
            self._read(self._file)
            if self._file is not None and self._is_rotated(self._file):
                self._file.close()
                self._file = self._open(self._log)
                self._read(self._file)

    def close(self) -> None:
        """Let go of the log."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _open(self, path: Path) -> BinaryIO | None:
        try:
            return path.open("rb")
        except FileNotFoundError:
            return None

    def _read(self, file: BinaryIO | None) -> None:
        if file is None:
            return
        data = file.read()
        complete = data.rfind(b"\n") + 1
        file.seek(complete - len(data), os.SEEK_CUR)  # the rest of a line comes with the next look
        self._counts.update(match.decode("utf-8", "replace") for match in SPAWNED.findall(data[:complete]))

    def _is_rotated(self, file: BinaryIO) -> bool:
        try:
            return self._log.stat().st_ino != os.fstat(file.fileno()).st_ino
        except FileNotFoundError:
            return False
