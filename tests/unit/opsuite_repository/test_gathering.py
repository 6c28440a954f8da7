from __future__ import annotations

import random

from fakes.repository_in_memory import a_repository, damage, memory, opened, save

from opsuite_repository.errors import Damaged, FileMissing
from opsuite_repository.format.blobs import BlobType
from opsuite_repository.format.packs import PackEntry
from opsuite_repository.gathering import entries_by_pack, gather, runs
from opsuite_repository.storage.port import FileType

FILES = {f"file {number}": random.Random(number).randbytes(2000) for number in range(5)}


def an_entry(offset: int, length: int) -> PackEntry:
    return PackEntry(BlobType.DATA, b"i" * 32, offset, length, 0)


def test_blobs_that_lie_near_one_another_are_read_at_once() -> None:
    near = [an_entry(0, 100), an_entry(100, 100), an_entry(200 + 60_000, 100)]
    far = [an_entry(200_000, 3 << 20), an_entry(200_000 + (3 << 20), 2 << 20)]
    assert list(runs([*near, *far])) == [near, far[:1], far[1:]]
    assert list(runs([])) == []


def test_of_a_run_with_a_damaged_blob_all_others_are_had() -> None:
    repository = a_repository()
    save(repository, FILES)
    repository = opened(repository)
    (pack,) = {pack for pack, entry in repository.index.entries() if entry.type is BlobType.DATA}
    damage(repository, FileType.DATA, pack.hex(), at=100)
    gathered = list(gather(repository, entries_by_pack(repository.index, {pack})))
    assert [type(blob.wrong) for blob in gathered] == [Damaged, *[type(None)] * 4]
    assert {blob.content for blob in gathered[1:]} < set(FILES.values())


def test_the_blobs_of_a_pack_that_lost_its_end_are_had_up_to_there() -> None:
    repository = a_repository()
    save(repository, FILES)
    repository = opened(repository)
    (pack,) = {pack for pack, entry in repository.index.entries() if entry.type is BlobType.DATA}
    files = memory(repository).files
    files[FileType.DATA, pack.hex()] = files[FileType.DATA, pack.hex()][:5000]
    gathered = list(gather(repository, entries_by_pack(repository.index, {pack})))
    assert [blob.wrong is None for blob in gathered] == [True, True, False, False, False]
    memory(repository).delete(FileType.DATA, pack.hex())
    gathered = list(gather(repository, entries_by_pack(repository.index, {pack})))
    assert [type(blob.wrong) for blob in gathered] == [FileMissing] * 5
