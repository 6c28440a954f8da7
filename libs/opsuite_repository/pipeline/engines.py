"""Helpers at work: what a backup or restore has them do, and how their questions are answered."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from opsuite_repository.format.blobs import ID_BYTES, BlobId
from opsuite_repository.format.sealing import Buffer, MasterKey, Sealer
from opsuite_repository.pipeline.fetching import Fetcher
from opsuite_repository.pipeline.processes import Helper, HelperPool
from opsuite_repository.pipeline.restoring_small import Landing, SmallFile, Written
from opsuite_repository.pipeline.small_files import Batch, BatchResult, Reading, SmallFiles, Store
from opsuite_repository.pipeline.work import Course


class Engines:
    """Where a backup gets those who look at files."""

    def __init__(self, key: MasterKey, reading: Reading, store: Store, pool: HelperPool) -> None:
        self._key = key
        self._reading = reading
        self._store = store
        self._pool = pool

    def first(self) -> SmallFiles:
        """The one in this process."""
        return SmallFiles(Sealer(self._key), self._reading, self._store)

    def others(self) -> list[RemoteEngine]:
        """Those in helpers."""
        return [RemoteEngine(each, self._pool, self._key, self._reading, self._store) for each in self._pool.lend()]

    @property
    def are_ready(self) -> bool:
        """Whether no helper needs to be started."""
        return self._pool.has_idle


class RemoteEngine:
    """Works on batches in a helper; what it asks is answered here."""

    def __init__(self, helper: Helper, pool: HelperPool, key: MasterKey, reading: Reading, store: Store) -> None:
        self._helper = helper
        self._pool = pool
        self._store = store
        self._is_idle = True
        helper.send(("read", (key, reading)))

    def process(self, batches: Sequence[Batch]) -> list[BatchResult]:
        """The result of each."""
        self._is_idle = False
        self._helper.send(("batches", batches))
        while True:
            word, value = self._helper.receive()
            match word:
                case "known":
                    self._helper.answer(bytes(self._store.known(_ids(value))))
                case "claim":
                    self._helper.answer(bytes(self._store.claim(_ids(value))))
                case "add":
                    self._store.add(value)
                case _:
                    self._is_idle = True
                    results: list[BatchResult] = value
                    return results

    def close(self) -> None:
        """Give the helper back."""
        self._pool.take_back(self._helper, is_sound=self._is_idle)


class RemoteRestorer:
    """Writes small files in a helper."""

    def __init__(self, helper: Helper, pool: HelperPool, key: MasterKey, landing: Landing) -> None:
        self._helper = helper
        self._pool = pool
        self._is_idle = True
        helper.send(("write", (key, landing)))

    def write(self, stored: Buffer, files: Sequence[SmallFile]) -> list[Written]:
        """Have the files written whose blobs are in `stored`; what went wrong, for each."""
        self._is_idle = False
        self._helper.send(("files", files))
        self._helper.answer(stored)
        _, value = self._helper.receive()
        self._is_idle = True
        written: list[Written] = value
        return written

    def close(self) -> None:
        """Give the helper back."""
        self._pool.take_back(self._helper, is_sound=self._is_idle)


class Writers:
    """The helpers of one restore: none at first, and all there are from the moment when they are wanted."""

    def __init__(self, pool: HelperPool, key: MasterKey, landing: Landing, fetcher: Fetcher, course: Course) -> None:
        self._pool = pool
        self._key = key
        self._landing = landing
        self._fetcher = fetcher
        self._course = course
        self._recruiting: threading.Thread | None = None
        self._hiring = threading.Lock()
        self._is_over = False
        self._employed: list[RemoteRestorer] = []
        if pool.has_idle:
            self.recruit()

    def recruit(self) -> None:
        """Have helpers write small files, as soon as they are up."""
        if self._recruiting is None:
            self._recruiting = threading.Thread(target=self._recruit, name="recruiting", daemon=True)
            self._recruiting.start()

    def stop(self) -> None:
        """Send helpers back that are still on their way: nobody waits for them."""
        with self._hiring:
            self._is_over = True

    def close(self) -> None:
        """Give them back."""
        for writer in self._employed:
            writer.close()

    def _recruit(self) -> None:
        with self._course.guarded():
            for helper in self._pool.lend():
                writer = RemoteRestorer(helper, self._pool, self._key, self._landing)
                with self._hiring:
                    if self._is_over:
                        writer.close()
                    else:
                        self._employed.append(writer)
                        self._fetcher.employ(writer)


def _ids(joined: bytes) -> list[BlobId]:
    return [joined[at : at + ID_BYTES] for at in range(0, len(joined), ID_BYTES)]
