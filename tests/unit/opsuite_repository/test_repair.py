from __future__ import annotations

import random
from pathlib import Path

import pytest
from fakes.repository_in_memory import a_repository, damage, files_of, memory, names, opened, save

from opsuite_repository.checking import ALL, CheckRequest, DamageKind, check
from opsuite_repository.errors import LockLost
from opsuite_repository.format.blobs import BlobType
from opsuite_repository.repair import Change, repair_index, repair_packs, repair_snapshots
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType

FILES = {f"file {number}": random.Random(number).randbytes(2000) for number in range(4)}
OTHERS = {"other": b"x" * 5000}


@pytest.fixture
def repository() -> Repository:
    repository = a_repository()
    save(repository, FILES)
    return opened(repository)


def pack_of(repository: Repository, kind: BlobType) -> str:
    return next(pack.hex() for pack, entry in opened(repository).index.entries() if entry.type is kind)


def is_whole(repository: Repository) -> bool:
    return not check(opened(repository), CheckRequest(read=ALL)).findings


@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_an_index_is_made_anew_of_what_the_packs_say(repository: Repository, how: str) -> None:
    (snapshot,) = names(repository, FileType.SNAPSHOT)
    (index,) = names(repository, FileType.INDEX)
    if how == "damaged":
        damage(repository, FileType.INDEX, index)
    else:
        memory(repository).delete(FileType.INDEX, index)

    repair = repair_index(repository)

    assert repair.removed_files == ((index,) if how == "damaged" else ())
    assert set(repair.added_packs) == names(repository, FileType.DATA)
    assert files_of(opened(repository), snapshot) == FILES
    assert is_whole(repository)


def test_packs_that_are_gone_are_forgotten(repository: Repository) -> None:
    gone = pack_of(repository, BlobType.DATA)
    memory(repository).delete(FileType.DATA, gone)
    assert repair_index(repository, dry_run=True).dropped_packs == (gone,)
    assert DamageKind.PACK_MISSING in {finding.kind for finding in check(opened(repository)).findings}
    assert repair_index(repository).dropped_packs == (gone,)
    assert {finding.kind for finding in check(opened(repository)).findings} == {DamageKind.BLOB_MISSING}


def test_what_the_index_knows_of_a_pack_that_lost_its_end_is_used_to_save_its_blobs(repository: Repository) -> None:
    (snapshot,) = names(repository, FileType.SNAPSHOT)
    pack = pack_of(repository, BlobType.DATA)
    files = memory(repository).files
    files[FileType.DATA, pack] = files[FileType.DATA, pack][:-10]

    assert [error.file for error in repair_index(repository).unreadable_packs] == [f"data/{pack[:2]}/{pack}"]
    repair = repair_packs(repository, [pack])

    assert (repair.saved_blobs, repair.lost_blobs, repair.removed_packs) == (4, (), (pack,))
    assert files_of(opened(repository), snapshot) == FILES
    assert is_whole(repository)


def test_an_index_that_is_right_is_left_alone(repository: Repository) -> None:
    before = dict(memory(repository).files)
    repair_index(repository)
    assert memory(repository).files == before
    assert repair_index(repository, read_all_packs=True).added_packs
    assert is_whole(repository)


def test_of_a_damaged_pack_everything_is_saved_that_is_whole(repository: Repository, tmp_path: Path) -> None:
    (snapshot,) = names(repository, FileType.SNAPSHOT)
    pack = pack_of(repository, BlobType.DATA)
    damage(repository, FileType.DATA, pack, at=100)
    bad = memory(repository).files[FileType.DATA, pack]

    repair = repair_packs(repository, [pack], keep_in=tmp_path)

    assert (repair.saved_blobs, len(repair.lost_blobs), repair.removed_packs) == (3, 1, (pack,))
    assert (tmp_path / pack).read_bytes() == bad
    assert pack not in names(repository, FileType.DATA)
    assert {finding.kind for finding in check(opened(repository), CheckRequest(read=ALL)).findings} == {
        DamageKind.BLOB_MISSING
    }

    repaired = repair_snapshots(opened(repository)).repaired
    assert [each.id for each in repaired] == [snapshot]
    (change,) = repaired[0].changes
    replacement = repaired[0].replacement
    assert replacement
    assert change.why == "2000 of 2000 bytes are lost"
    lost = change.path.removeprefix("/d/")
    assert files_of(opened(repository), replacement) == {**FILES, lost: b""}
    new = repository.read_snapshot(replacement)
    assert (new.original, new.tags) == (snapshot, ("repaired",))
    assert names(repository, FileType.SNAPSHOT) == {replacement}
    assert is_whole(repository)


def test_a_pack_that_is_whole_is_left_alone(repository: Repository) -> None:
    before = dict(memory(repository).files)
    pack = pack_of(repository, BlobType.DATA)
    assert repair_packs(repository, [pack]).sound_packs == (pack,)
    assert memory(repository).files == before


def test_a_blob_that_another_pack_has_is_not_lost(repository: Repository) -> None:
    twin = Repository.open(repository.storage, "right")
    twin.load_index = lambda: None  # type: ignore[method-assign]  # a writer that began at the same time
    save(twin, FILES)
    (pack, other) = {pack.hex() for pack, entry in opened(repository).index.entries() if entry.type is BlobType.DATA}
    damage(repository, FileType.DATA, pack, at=100)
    damage(repository, FileType.DATA, other, at=5000)
    assert repair_packs(opened(repository), [pack]).lost_blobs == ()


def test_a_directory_that_is_lost_becomes_an_empty_one(repository: Repository) -> None:
    save(repository, OTHERS, at=1)
    save(repository, FILES, at=2)
    tree = opened(repository).read_tree(next(iter(opened(repository).snapshots()))[1].tree)[0].subtree
    assert tree
    (place,) = opened(repository).index.find_all(BlobType.TREE, tree)
    damage(repository, FileType.DATA, place.pack.hex(), at=place.offset + 20)
    repair_packs(opened(repository), [place.pack.hex()])

    result = repair_snapshots(opened(repository))

    assert result.repaired
    for each in result.repaired:
        assert [change.path for change in each.changes] == ["/d"]
        assert each.replacement
        assert files_of(opened(repository), each.replacement) == {}
    assert is_whole_but_for_prune(repository)


def is_whole_but_for_prune(repository: Repository) -> bool:
    return check(opened(repository), CheckRequest(read=ALL)).is_sound


def test_of_a_snapshot_whose_root_is_lost_nothing_is_left(repository: Repository) -> None:
    snapshot, found = next(iter(repository.snapshots()))
    (place,) = repository.index.find_all(BlobType.TREE, found.tree)
    damage(repository, FileType.DATA, place.pack.hex(), at=place.offset + 20)
    repair_packs(repository, [place.pack.hex()])
    (repaired,) = repair_snapshots(opened(repository)).repaired
    assert (repaired.id, repaired.replacement, [change.path for change in repaired.changes]) == (snapshot, None, [""])
    assert not names(repository, FileType.SNAPSHOT)


def test_whole_snapshots_are_left_alone_and_a_dry_run_changes_nothing(repository: Repository) -> None:
    (snapshot,) = names(repository, FileType.SNAPSHOT)
    assert repair_snapshots(repository).whole == (snapshot,)
    repair_packs(repository, [])
    pack = pack_of(repository, BlobType.DATA)
    damage(repository, FileType.DATA, pack, at=100)
    repair_packs(repository, [pack])
    before = dict(memory(repository).files)
    assert repair_snapshots(opened(repository), dry_run=True).repaired[0].changes == (
        Change("/d/" + lost_file(repository), "2000 of 2000 bytes are lost"),
    )
    assert memory(repository).files == before


def lost_file(repository: Repository) -> str:
    (finding,) = check(opened(repository)).findings
    return finding.why.split("'")[1]


def test_a_snapshot_file_that_cannot_be_read_is_told_and_removed_only_when_asked_for(repository: Repository) -> None:
    (snapshot,) = names(repository, FileType.SNAPSHOT)
    damage(repository, FileType.SNAPSHOT, snapshot)
    assert [error.file for error in repair_snapshots(repository).unreadable] == [f"snapshots/{snapshot}"]
    assert names(repository, FileType.SNAPSHOT) == {snapshot}
    repair_snapshots(repository, remove_unreadable=True)
    assert not names(repository, FileType.SNAPSHOT)


def test_a_broken_snapshot_can_be_kept_beside_its_replacement(repository: Repository) -> None:
    pack = pack_of(repository, BlobType.DATA)
    damage(repository, FileType.DATA, pack, at=100)
    repair_packs(repository, [pack])
    repair_snapshots(opened(repository), forget=False)
    assert len(names(repository, FileType.SNAPSHOT)) == 2


def test_a_repair_removes_nothing_when_its_lock_is_lost(repository: Repository) -> None:
    pack = pack_of(repository, BlobType.DATA)
    damage(repository, FileType.DATA, pack, at=100)
    (index,) = names(repository, FileType.INDEX)

    def guard() -> None:
        if len(names(repository, FileType.INDEX)) > 1:
            raise LockLost("lost")

    with pytest.raises(LockLost):
        repair_packs(repository, [pack], guard=guard)
    assert pack in names(repository, FileType.DATA)
    assert index in names(repository, FileType.INDEX)
