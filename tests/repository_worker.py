"""Processes that work on a repository and die in the middle of it, as fast as forks are.

A process that has everything imported, and no thread, forks one that does the work. What it does to the storage is
counted, and at one of these calls it is killed: before, after, or while the call is under way.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from opsuite_repository.forgetting import forget
from opsuite_repository.locking import locked
from opsuite_repository.pipeline.backup import BackupRequest, back_up
from opsuite_repository.prune import PRUNE_ROLE, PruneOptions, prune
from opsuite_repository.repository import Repository
from opsuite_repository.storage.open import open_storage
from opsuite_repository.storage.port import FileType, Storage, StoredFile

PASSWORD = "correct horse"
PACK_BYTES = 64 << 10
"""Small packs, so that little data makes many of them."""
MAX_DELAY = 0.004
"""Seconds within which a process dies after the call it dies in has begun."""


class Counting:
    """A storage that calls `at` before each change, with the number of the change, and what is under way in between."""

    def __init__(self, inner: Storage, at: Callable[[int], None]) -> None:
        self._inner = inner
        self._at = at
        self._lock = threading.Lock()
        self.changes = 0

    def list(self, kind: FileType) -> Iterator[StoredFile]:
        return self._inner.list(kind)

    def read(self, kind: FileType, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._inner.read(kind, name, offset, length)

    def size(self, kind: FileType, name: str) -> int:
        return self._inner.size(kind, name)

    def write(self, kind: FileType, name: str, data: bytes | bytearray | memoryview, *, create: bool = True) -> None:
        self._count()
        self._inner.write(kind, name, data, create=create)

    def delete(self, kind: FileType, name: str) -> None:
        self._count()
        self._inner.delete(kind, name)

    def now(self) -> datetime | None:
        return self._inner.now()

    def close(self) -> None:
        self._inner.close()

    def _count(self) -> None:
        with self._lock:
            self.changes += 1
            number = self.changes
        self._at(number)


def work(job: dict[str, Any], at: Callable[[int], None] = lambda number: None) -> int:
    """Do a job: `{"do": "backup" | "forget" | "prune" | "mark", "address": …, "source": …}`.

    Gives the number of changes that it made.
    """
    storage = Counting(open_storage(job["address"]), at)
    repository = Repository.open(storage, PASSWORD)
    match job["do"]:
        case "backup":
            with locked(repository) as lock:
                repository.load_index()
                request = BackupRequest(paths=(Path(job["source"]),), pack_bytes=PACK_BYTES)
                back_up(repository, request, guard=lock.ensure)
        case "forget":
            with locked(repository, exclusive=True) as lock:
                ordered = sorted((snapshot.time.ns, name) for name, snapshot in repository.snapshots())
                forget(repository, [name for _, name in ordered[: -job["keep"]]], guard=lock.ensure)
        case "prune":
            with locked(repository, exclusive=True) as lock:
                prune(repository, PruneOptions(max_unused_percent=0, pack_bytes=PACK_BYTES), guard=lock.ensure)
        case "mark":
            with locked(repository, role=PRUNE_ROLE) as lock:
                options = PruneOptions(max_unused_percent=0, pack_bytes=PACK_BYTES, grace=timedelta(0))
                prune(repository, options, guard=lock.ensure)
    storage.close()
    return storage.changes


def die_at(change: int, chance: random.Random) -> Callable[[int], None]:
    """Kill this process while that change is under way, or shortly before or after."""
    delay = chance.uniform(0, MAX_DELAY)

    def at(number: int) -> None:
        if number == change:
            threading.Thread(target=_die, args=(delay,), daemon=True).start()

    return at


def _die(delay: float) -> None:
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGKILL)


class Workers:
    """The process that forks others."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, job: dict[str, Any], *, die_at: int | None = None, seed: int = 0) -> str:
        """Have a job done, or begun. `done N`, where N is the number of changes; `killed`; or what went wrong."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({**job, "die_at": die_at, "seed": seed}) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def workers(environment: dict[str, str] | None = None) -> Iterator[Workers]:
    """Start the process that forks; it ends with the block."""
    command = [sys.executable, __file__]
    paths = os.pathsep.join(filter(None, sys.path))
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": paths, **(environment or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Workers(process)
        assert process.stdin
        process.stdin.close()


def _serve() -> None:
    for line in sys.stdin:
        print(_forked(json.loads(line)), flush=True)


def _forked(job: dict[str, Any]) -> str:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.write(writing, _told(job).encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        answer = told.read()
    _, status = os.waitpid(pid, 0)
    return "killed" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else answer


def _told(job: dict[str, Any]) -> str:
    change = job.get("die_at")
    try:
        chance = random.Random(job["seed"])
        return f"done {work(job, die_at(change, chance)) if change else work(job)}"
    except BaseException as error:  # noqa: BLE001  # it is told
        return repr(error).replace("\n", " ")


if __name__ == "__main__":
    _serve()
