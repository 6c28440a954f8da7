from __future__ import annotations

import random

import pytest
from fakes.repository_in_memory import a_repository, damage, files_of, memory, names, opened, save

from opsuite_repository.checking import ALL, CheckRequest, check
from opsuite_repository.copying import copy
from opsuite_repository.errors import Damaged, LockLost
from opsuite_repository.format.blobs import BlobType
from opsuite_repository.pipeline.progress import Progress
from opsuite_repository.storage.port import FileType

FILES = {f"file {number}": random.Random(number).randbytes(2000) for number in range(4)}
TEXT = {"text": b"all work and no play " * 400}


def test_a_snapshot_is_copied_with_everything_it_needs() -> None:
    source, target = a_repository(), a_repository()
    ids = [save(source, FILES, at=1), save(source, {**FILES, **TEXT}, at=2)]
    report = copy(opened(source), opened(target), ids)

    assert list(report.copied) == ids
    assert report.blobs == 5 + 4
    assert files_of(opened(target), report.copied[ids[0]]) == FILES
    assert files_of(opened(target), report.copied[ids[1]]) == {**FILES, **TEXT}
    assert not check(opened(target), CheckRequest(read=ALL)).findings
    there = opened(target).read_snapshot(report.copied[ids[0]])
    assert (there.original, there.parent) == (ids[0], None)
    entries = {entry.id: entry for _, entry in opened(source).index.entries()}
    for _, entry in opened(target).index.entries():
        if entry.type is BlobType.DATA:  # compressed ones are not compressed again
            assert entry._replace(offset=0) == entries[entry.id]._replace(offset=0)


def test_what_is_there_is_not_copied_again() -> None:
    source, target = a_repository(), a_repository()
    first = save(source, FILES, at=1)
    copy(opened(source), opened(target), [first])
    second = save(source, {**FILES, **TEXT}, at=2)
    report = copy(opened(source), opened(target), [second, first, second])
    assert report.skipped == (first,)
    assert list(report.copied) == [second]
    assert report.blobs == 3
    assert len(names(target, FileType.SNAPSHOT)) == 2


def test_a_copy_of_a_copy_is_known_at_home() -> None:
    home, abroad = a_repository(), a_repository()
    first = save(home, FILES, at=1)
    there = copy(opened(home), opened(abroad), [first]).copied[first]
    assert copy(opened(abroad), opened(home), [there]).skipped == (there,)


def test_what_cannot_be_read_is_told_and_not_copied() -> None:
    source, target = a_repository(), a_repository()
    good, bad = save(source, TEXT, at=1), save(source, FILES, at=2)
    blob = opened(source).index
    pack = next(pack for pack, entry in blob.entries() if entry.type is BlobType.DATA and entry.length < 2100
                and entry.uncompressed_length == 0)  # fmt: skip
    damage(source, FileType.DATA, pack.hex(), at=100)
    with pytest.raises(Damaged, match=pack.hex()):
        copy(opened(source), opened(target), [good, bad])
    assert len(names(target, FileType.SNAPSHOT)) == 1
    assert check(opened(target), CheckRequest(read=ALL)).is_sound


def test_a_damaged_blob_is_taken_from_another_pack() -> None:
    source, target = a_repository(), a_repository()
    first = save(source, FILES, at=1)
    (index,) = names(source, FileType.INDEX)
    kept = memory(source).files.pop((FileType.INDEX, index))
    save(source, FILES, at=2)  # by somebody who does not know of the first
    memory(source).files[FileType.INDEX, index] = kept
    pack = opened(source).index.find_all(BlobType.DATA, next(iter(opened(source).index.copies(BlobType.DATA))))[0].pack
    for offset in range(40, 8000, 500):
        damage(source, FileType.DATA, pack.hex(), offset)
    report = copy(opened(source), opened(target), [first])
    assert files_of(opened(target), report.copied[first]) == FILES


def test_progress_counts_blobs() -> None:
    source, target, seen = a_repository(), a_repository(), list[Progress]()
    ids = [save(source, FILES)]
    report = copy(opened(source), opened(target), ids, progress=seen.append)
    assert seen[-1].files_done == report.blobs == 6


def test_who_lost_their_lock_writes_nothing_that_names_what_they_stored() -> None:
    source, target = a_repository(), a_repository()
    wanted = save(source, FILES)

    def guard() -> None:
        if names(target, FileType.DATA):
            raise LockLost("lost")

    with pytest.raises(LockLost):
        copy(opened(source), opened(target), [wanted], pack_bytes=1000, guard=guard)
    assert names(target, FileType.DATA)
    assert not names(target, FileType.INDEX)
    assert not names(target, FileType.SNAPSHOT)
