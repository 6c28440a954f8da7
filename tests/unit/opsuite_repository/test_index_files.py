from __future__ import annotations

import pytest
from fakes.repository_in_memory import a_repository, damage, memory, names, opened

from opsuite_repository.errors import Damaged, LockLost
from opsuite_repository.format.blobs import BlobType
from opsuite_repository.format.index import IndexedPack, decode_index, encode_index
from opsuite_repository.format.packs import PackEntry
from opsuite_repository.format.times import Instant
from opsuite_repository.index_files import IndexedSize, load_tolerantly, rewrite
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType


def a_pack(name: str, *blobs: str, unused_since: Instant | None = None) -> IndexedPack:
    entries = [PackEntry(BlobType.DATA, blob.encode().ljust(32), 100 * at, 100, 0) for at, blob in enumerate(blobs)]
    return IndexedPack(name.encode().ljust(32), entries, unused_since)


def write(repository: Repository, *packs: IndexedPack) -> str:
    return repository.write_document(FileType.INDEX, encode_index(packs))


def packs_of(repository: Repository) -> list[IndexedPack]:
    """Every pack of every index file, as often as it stands there."""
    documents = [document for _, document in repository.read_documents(FileType.INDEX)]
    return sorted(pack for document in documents for pack in decode_index(document))


def test_damaged_index_files_are_told_and_the_others_are_used() -> None:
    repository = a_repository()
    good, bad = write(repository, a_pack("a", "1", "2")), write(repository, a_pack("b", "3"))
    damage(repository, FileType.INDEX, bad)

    loaded = load_tolerantly(repository)

    assert [file.name for file in loaded.files] == [good]
    assert loaded.damaged.keys() == {bad}
    assert loaded.packs == {a_pack("a").id: IndexedSize(2, 200 + 2 * 37 + 32 + 4)}
    assert repository.index.count(BlobType.DATA) == 2
    with pytest.raises(Damaged, match=bad):
        repository.refresh_index()


def test_a_pack_is_marked_when_it_is_wherever_it_stands_and_the_latest_mark_counts() -> None:
    repository = a_repository()
    write(repository, a_pack("a", "1", unused_since=Instant(1)), a_pack("b", "2", unused_since=Instant(1)))
    write(repository, a_pack("a", "1", unused_since=Instant(5)), a_pack("b", "2"))
    assert load_tolerantly(repository).marks == {a_pack("a").id: Instant(5)}


def test_only_files_that_say_what_is_no_longer_true_are_written_anew() -> None:
    repository = a_repository()
    untouched = write(repository, a_pack("a", "1"))
    old = {write(repository, a_pack("b", "2"), a_pack("c", "3")), write(repository, a_pack("d", "4"), a_pack("c", "3"))}
    write(repository, a_pack("e", "5"))
    loaded = load_tolerantly(repository)

    rewrite(
        repository,
        loaded.files,
        change={a_pack("d").id: Instant(7)},
        drop=frozenset({a_pack("b").id}),
        extra=[a_pack("f", "6")],
    )

    left = names(repository, FileType.INDEX)
    assert untouched in left
    assert not left & old
    assert packs_of(repository) == [
        a_pack("a", "1"), a_pack("c", "3"), a_pack("d", "4", unused_since=Instant(7)), a_pack("e", "5"),
        a_pack("f", "6"),
    ]  # fmt: skip


def test_many_small_files_are_put_together() -> None:
    repository = a_repository()
    for number in range(12):
        write(repository, a_pack(f"pack {number}", f"blob {number}"))
    before = packs_of(repository)
    rewrite(repository, load_tolerantly(repository).files, change={})
    assert len(names(repository, FileType.INDEX)) == 1
    assert packs_of(repository) == before


def test_old_files_stay_until_the_new_ones_are_written_and_when_the_lock_is_lost() -> None:
    repository = a_repository()
    old = write(repository, a_pack("a", "1"), a_pack("b", "2"))
    memory(repository).log.clear()

    def guard() -> None:
        raise LockLost("lost")

    with pytest.raises(LockLost):
        rewrite(repository, load_tolerantly(repository).files, change={}, drop=frozenset({a_pack("a").id}), guard=guard)
    assert memory(repository).log == ["write index"]
    assert old in names(repository, FileType.INDEX)
    assert opened(repository).index.count(BlobType.DATA) == 2
