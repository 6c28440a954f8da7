"""From sealed blobs to packs in storage and to the index files that name them.

Two packs of each type are open at once and every blob goes into one of them at random, as in restic since 0.18: who can
see only sizes of files then cannot tell the sizes of neighbouring chunks, by which known files could be recognised. The
source is restic's internal/repository/packer_manager.go. The index that others look into learns of a pack only when an
index file names it: another backup in this process must not rely on what a crash would take away.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from opsuite_repository.errors import LockLost
from opsuite_repository.format.blobs import BlobId, BlobType, SealedBlob
from opsuite_repository.format.index import MOST_BLOBS, IndexedPack
from opsuite_repository.format.packs import DEFAULT_PACK_BYTES, Pack, PackBuilder
from opsuite_repository.repository import Repository

OPEN_PACKS: Final = 2
INDEX_EVERY: Final = 600.0
"""Seconds after which packs that no index names yet get one."""
_WRITERS: Final = 2


class Packer:
    """Stores blobs. For any number of threads at once.

    Used in a `with`: leaving it stores what is still open and writes the last index file. When it is left by an
    exception, open packs are dropped, and those that are stored already are named in an index all the same, so that
    the next backup finds them. `guard` is asked before an index is written, and raises when the lock was lost: a prune
    may have removed packs that nothing named yet.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        pack_bytes: int = DEFAULT_PACK_BYTES,
        dry_run: bool = False,
        index_after: int = MOST_BLOBS,
        guard: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._dry_run = dry_run
        self._index_after = index_after
        self._guard = guard
        self._clock = clock
        self._shelves = {kind: [_Shelf(repository, pack_bytes) for _ in range(OPEN_PACKS)] for kind in BlobType}
        self._lock = threading.Lock()
        self._claimed: dict[BlobType, set[BlobId]] = {kind: set() for kind in BlobType}
        self._unnamed: list[IndexedPack] = []
        self._named_at = clock()
        self._failure: BaseException | None = None
        self._writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="pack-writer")
        self._room = threading.BoundedSemaphore(_WRITERS)  # no pack waits: memory is bounded
        self.blobs = dict.fromkeys(BlobType, 0)
        """How many blobs were added."""
        self.added_bytes = 0
        """Their size before compression."""
        self.stored_bytes = 0
        """Their size as stored."""

    def claim(self, kind: BlobType, id_: BlobId) -> bool:
        """Whether the caller is the one to store this blob; a second call for the same blob says no."""
        with self._lock:
            if id_ in self._claimed[kind] or self._repository.index.has(kind, id_):
                return False
            self._claimed[kind].add(id_)
            return True

    def has(self, kind: BlobType, id_: BlobId) -> bool:
        """Whether the blob is stored, or claimed and about to be."""
        return self._repository.index.has(kind, id_) or id_ in self._claimed[kind]

    def add(self, *blobs: SealedBlob) -> None:
        """Put blobs of one type into a pack. Raises what the storing of an earlier pack raised."""
        self.check()
        self._count(blobs)
        if self._dry_run:
            return
        shelf = random.choice(self._shelves[blobs[0].type])  # noqa: S311  # hides sizes statistically, keeps no secret
        for pack in shelf.add(blobs):
            self._store(pack)

    def check(self) -> None:
        """Raises what storing raised, if it did."""
        if self._failure is not None:
            raise self._failure

    def flush(self) -> None:
        """Store everything that was added, and name it in an index. More may be added afterwards."""
        for shelves in self._shelves.values():
            for pack in _last_packs(shelves):
                self._store(pack)
        self._wait()
        self.check()
        self._name(self._taken(at_least=1))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
            elif isinstance(error, LockLost):
                self._wait()  # a prune may have removed what is stored already: an index must not name it
            else:
                self._wait()
                with suppress(Exception):  # what is raised already says more
                    self._name(self._taken(at_least=1))
        finally:
            self._writers.shutdown()

    def _count(self, blobs: Iterable[SealedBlob]) -> None:
        with self._lock:
            for blob in blobs:
                self.blobs[blob.type] += 1
                self.stored_bytes += len(blob.stored)
                self.added_bytes += blob.content_bytes

    def _store(self, pack: Pack) -> None:
        self._room.acquire()
        try:
            self._writers.submit(self._written, pack)
        except BaseException:
            self._room.release()
            raise

    def _written(self, pack: Pack) -> None:
        """On a writer's thread: nobody waits for its result, so that a failure is kept for whoever comes next."""
        try:
            if self._failure is None:
                self._repository.write_pack(pack)
                with self._lock:
                    self._unnamed.append(IndexedPack(pack.id, pack.entries))
                self._name(self._taken(at_least=self._index_after))
        except BaseException as error:  # noqa: BLE001  # raised again by `check`
            self._failure = self._failure or error
        finally:
            self._room.release()

    def _taken(self, *, at_least: int) -> list[IndexedPack]:
        """The packs to name now, if there are so many blobs in them or it is time."""
        with self._lock:
            is_due = self._clock() - self._named_at >= INDEX_EVERY
            if not is_due and sum(len(pack.entries) for pack in self._unnamed) < at_least:
                return []
            self._named_at = self._clock()
            taken, self._unnamed = self._unnamed, []
            return taken

    def _name(self, packs: list[IndexedPack]) -> None:
        if not packs:
            return
        if self._guard is not None:
            self._guard()
        self._repository.write_index(packs)
        with self._lock:
            for pack in packs:
                for entry in pack.entries:
                    self._claimed[entry.type].discard(entry.id)

    def _wait(self) -> None:
        """Until no pack is being written: then all the room is free."""
        for _ in range(_WRITERS):
            self._room.acquire()
        for _ in range(_WRITERS):
            self._room.release()


class _Shelf:
    """One open pack."""

    def __init__(self, repository: Repository, pack_bytes: int) -> None:
        self._repository = repository
        self._pack_bytes = pack_bytes
        self._lock = threading.Lock()
        self.open = self._empty()

    def add(self, blobs: Iterable[SealedBlob]) -> list[Pack]:
        """The packs that became full by it."""
        full = []
        with self._lock:
            for blob in blobs:
                self.open.add(blob)
                if self.open.is_full:
                    full.append(self.open)
                    self.open = self._empty()
        return [builder.finish() for builder in full]

    def taken(self) -> PackBuilder:
        """The open pack, and a new one in its place."""
        with self._lock:
            taken, self.open = self.open, self._empty()
            return taken

    def _empty(self) -> PackBuilder:
        return PackBuilder(self._repository.sealer, self._pack_bytes)


def _last_packs(shelves: list[_Shelf]) -> list[Pack]:
    """What is still open, in as few packs as it fits into."""
    builders = [builder for builder in (shelf.taken() for shelf in shelves) if builder.size_bytes]
    merged: list[PackBuilder] = []
    for builder in sorted(builders, key=lambda builder: builder.size_bytes, reverse=True):
        if not (merged and merged[-1].absorb(builder)):
            merged.append(builder)
    return [builder.finish() for builder in merged]
