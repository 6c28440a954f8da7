"""What the Docker platform remembers outside of the engine: small files that are replaced whole.

Several processes of one machine may share them: who changes a workload holds its lock, which the kernel gives back when
a process dies.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

from opsuite_platforms.machine import LocalFiles
from opsuite_platforms.workload_files import WorkloadFiles

# Pause between two tries to get a lock. Waiting in threads instead could use up all that the event loop has.
PAUSE: Final = 0.02


class DockerMemory:
    """The files of one data directory."""

    def __init__(self, data: Path) -> None:
        self._directory = data / "docker"
        self._files = LocalFiles()
        self.records = WorkloadFiles(self._directory / "workloads", self._files)

    def platform_id(self) -> str:
        """What marks this platform's containers on an engine that others use too; chosen once."""
        path = self._directory / "platform_id"
        with self.records.locked("_platform"):
            if (known := self._files.read(path)) is not None:
                return known
            self._files.write(path, chosen := uuid4().hex[:12])
            return chosen

    def restarts(self, workload: str) -> Mapping[str, int]:
        """Restarts asked for, by id of the container."""
        text = self._files.read(self._restarts(workload))
        return {} if text is None else json.loads(text)

    def remember_restarts(self, workload: str, restarts: Mapping[str, int]) -> None:
        """Replace what `restarts` returns."""
        path = self._restarts(workload)
        self._files.make_directory(path.parent)
        self._files.write(path, json.dumps(dict(restarts)))

    def forget(self, workload: str) -> None:
        """Remember a workload no longer; one that does not exist is fine."""
        self._files.delete(self._restarts(workload))
        self.records.delete(workload)

    def _restarts(self, workload: str) -> Path:
        return self._directory / "restarts" / f"{workload}.json"

    @asynccontextmanager
    async def locked(self, workload: str) -> AsyncIterator[None]:
        """One writer at a time for one workload, over all tasks and processes."""
        locks = self._directory / "locks"
        locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (locks / workload).open("w") as file:
            while not _got(file.fileno()):  # noqa: ASYNC110  # the kernel tells nobody when another process lets go
                await asyncio.sleep(PAUSE)
            yield


def _got(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
