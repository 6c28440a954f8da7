from __future__ import annotations

import os
import threading
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from fakes.clock import FakeClock
from fakes.memory_storage import MemoryStorage

from opsuite_repository.errors import StorageFull
from opsuite_repository.format import keys
from opsuite_repository.format.blobs import BlobType, SealedBlob, blob_id, seal_blob
from opsuite_repository.format.index import MOST_BLOBS
from opsuite_repository.pipeline.packing import INDEX_EVERY, Packer
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType

LONG = 60.0
"""Seconds, only to end a hang."""
CHEAP = keys.Cost(n=16, r=1, p=1)


def a_repository(storage: MemoryStorage | None = None) -> Repository:
    return Repository.init(storage or MemoryStorage(), "right", cost=CHEAP)


def a_blob(repository: Repository, content: bytes, kind: BlobType = BlobType.DATA) -> SealedBlob:
    return seal_blob(repository.sealer, kind, content, level=None)


def count(repository: Repository, kind: FileType) -> int:
    return len(list(repository.storage.list(kind)))


def test_an_index_names_packs_only_after_they_are_stored_and_so_do_we() -> None:
    repository = a_repository()
    storage: Any = repository.storage
    with Packer(repository) as packer:
        assert packer.claim(BlobType.DATA, blob_id(b"content"))
        packer.add(a_blob(repository, b"content"))
        assert not repository.index.has(BlobType.DATA, blob_id(b"content"))

    assert storage.log[-2:] == ["write data", "write index"]
    assert repository.read_blob(BlobType.DATA, blob_id(b"content")) == b"content"
    assert len(repository.index_files) == 1


def test_a_blob_is_claimed_once_until_it_is_known() -> None:
    repository = a_repository()
    id_ = blob_id(b"content")
    with Packer(repository) as packer:
        assert not packer.has(BlobType.DATA, id_)
        assert [packer.claim(BlobType.DATA, id_) for _ in range(2)] == [True, False]
        assert packer.has(BlobType.DATA, id_)
        assert packer.claim(BlobType.TREE, id_)
        packer.add(a_blob(repository, b"content"))
        packer.flush()
        assert not packer.claim(BlobType.DATA, id_)


def test_data_and_trees_are_in_packs_of_their_own_and_small_ones_are_merged() -> None:
    repository = a_repository()
    with Packer(repository) as packer:
        for at in range(40):  # both open packs get some of them
            packer.add(a_blob(repository, b"data %d" % at))
            packer.add(a_blob(repository, b"tree %d" % at, BlobType.TREE))

    assert count(repository, FileType.DATA) == 2
    assert [len({entry.type for entry in pack}) for pack in repository.index.by_pack().values()] == [1, 1]
    assert all(repository.read_blob(BlobType.DATA, blob_id(b"data %d" % at)) for at in range(40))


def test_a_full_pack_is_stored_at_once() -> None:
    repository = a_repository()
    with Packer(repository, pack_bytes=1000) as packer:
        for at in range(10):
            packer.add(a_blob(repository, os.urandom(600) + bytes((at,))))

    sizes = [file.size for file in repository.storage.list(FileType.DATA)]
    assert len(sizes) >= 5
    assert max(sizes) < 1700


def test_neighbours_are_spread_over_two_packs_at_random() -> None:
    repository = a_repository()
    with Packer(repository, pack_bytes=30_000) as packer:
        ids = []
        for _ in range(200):
            blob = a_blob(repository, os.urandom(300))
            ids.append(blob.id)
            packer.add(blob)
    packs = [place.pack for id_ in ids if (place := repository.index.find(BlobType.DATA, id_))]
    changes = sum(one != other for one, other in pairwise(packs))

    assert 40 < changes < 160


class Telling(MemoryStorage):
    """Tells when an index file is there."""

    def __init__(self) -> None:
        super().__init__()
        self.indexed = threading.Event()

    def write(self, kind: FileType, name: str, data: bytes | bytearray | memoryview, *, create: bool = True) -> None:
        super().write(kind, name, data, create=create)
        if kind is FileType.INDEX:
            self.indexed.set()


def test_packs_wait_for_an_index_no_longer_than_ten_minutes() -> None:
    storage, clock = Telling(), FakeClock()
    repository = a_repository(storage)
    with Packer(repository, pack_bytes=1, clock=clock.monotonic) as packer:
        clock.advance(timedelta(seconds=INDEX_EVERY))
        packer.add(a_blob(repository, b"content"))
        assert storage.indexed.wait(LONG)


def test_packs_wait_for_an_index_no_longer_than_until_it_would_be_large() -> None:
    storage = Telling()
    repository = a_repository(storage)
    with Packer(repository, pack_bytes=1, index_after=3) as packer:
        for content in (b"one", b"two", b"three"):
            packer.add(a_blob(repository, content))
        assert storage.indexed.wait(LONG)
    assert MOST_BLOBS == 50_000


def test_a_dry_run_counts_and_stores_nothing() -> None:
    repository = a_repository()
    with Packer(repository, dry_run=True) as packer:
        packer.add(a_blob(repository, b"content"))

    assert (packer.blobs[BlobType.DATA], packer.added_bytes, packer.stored_bytes) == (1, 7, 39)
    assert (count(repository, FileType.DATA), count(repository, FileType.INDEX)) == (0, 0)


class Full(MemoryStorage):
    def write(self, kind: FileType, name: str, data: bytes | bytearray | memoryview, *, create: bool = True) -> None:
        if kind is FileType.DATA and len(list(self.list(FileType.DATA))) == 2:
            raise StorageFull("no room")
        super().write(kind, name, data, create=create)


def test_what_was_stored_before_a_failure_is_named_all_the_same() -> None:
    repository = a_repository(Full())

    def store() -> None:
        with Packer(repository, pack_bytes=1) as packer:
            for at in range(50):
                packer.add(a_blob(repository, b"%d" % at))

    with pytest.raises(StorageFull):
        store()

    assert repository.index.count(BlobType.DATA) == 2
    assert count(repository, FileType.INDEX) == 1


def test_open_packs_are_dropped_when_somebody_gives_up() -> None:
    repository = a_repository()

    def store() -> None:
        with Packer(repository) as packer:
            packer.add(a_blob(repository, b"content"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store()

    assert (count(repository, FileType.DATA), count(repository, FileType.INDEX)) == (0, 0)


def test_who_lost_the_lock_names_no_packs() -> None:
    repository, is_lost = a_repository(), threading.Event()

    def guard() -> None:
        if is_lost.is_set():
            raise PermissionError("the lock was lost")

    def store() -> None:
        with Packer(repository, pack_bytes=1, guard=guard) as packer:
            packer.add(a_blob(repository, b"content"))
            is_lost.set()

    with pytest.raises(PermissionError, match="lost"):
        store()

    assert count(repository, FileType.INDEX) == 0
    assert not repository.index.has(BlobType.DATA, blob_id(b"content"))
