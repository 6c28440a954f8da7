from __future__ import annotations

import random

import pytest
from fakes.repository_in_memory import a_repository, damage, memory, names, opened, put, save

from opsuite_repository.checking import (
    ALL,
    CheckReport,
    CheckRequest,
    DamageKind,
    Percent,
    Repair,
    Size,
    Subset,
    check,
    choose,
)
from opsuite_repository.errors import LockLost
from opsuite_repository.format.blobs import BlobType, seal_blob
from opsuite_repository.format.index import IndexedPack, encode_index
from opsuite_repository.format.packs import PackBuilder, PackEntry
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.format.times import Instant
from opsuite_repository.format.trees import Node, NodeType, encode_tree
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.pipeline.progress import Progress
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType, path_of

FILES = {f"file {number}": random.Random(number).randbytes(2000) for number in range(4)}


@pytest.fixture
def repository() -> Repository:
    repository = a_repository()
    save(repository, FILES)
    return repository


def full(repository: Repository) -> CheckReport:
    return check(opened(repository), CheckRequest(read=ALL))


def told(report: CheckReport) -> set[tuple[str, DamageKind]]:
    return {(finding.file, finding.kind) for finding in report.findings}


def data_pack(repository: Repository, kind: BlobType = BlobType.DATA) -> str:
    return next(pack.hex() for pack, entry in opened(repository).index.entries() if entry.type is kind)


def store(repository: Repository, *contents: bytes, as_: list[PackEntry] | None = None) -> str:
    """A pack of these blobs, indexed as it is or as something else."""
    builder = PackBuilder(repository.sealer)
    for content in contents:
        builder.add(seal_blob(repository.sealer, BlobType.DATA, content))
    pack = builder.finish()
    repository.write_pack(pack)
    repository.write_document(FileType.INDEX, encode_index([IndexedPack(pack.id, as_ or pack.entries)]))
    return pack.id.hex()


def test_a_repository_that_is_whole_has_no_findings(repository: Repository) -> None:
    report = full(repository)
    assert report == CheckReport(
        findings=(),
        snapshots=1,
        trees=2,
        packs=2,
        packs_read=2,
        bytes_read=sum(file.size for file in repository.storage.list(FileType.DATA)),
    )
    assert report.is_sound
    assert check(a_repository()).is_sound


@pytest.mark.parametrize(
    ("kind", "damage_kind", "repair"),
    [
        (FileType.KEY, DamageKind.KEY_DAMAGED, Repair.REMOVE_KEY),
        (FileType.INDEX, DamageKind.INDEX_DAMAGED, Repair.INDEX),
        (FileType.SNAPSHOT, DamageKind.SNAPSHOT_DAMAGED, Repair.FORGET),
    ],
)
def test_a_damaged_file_is_named_with_what_repairs_it(
    repository: Repository, kind: FileType, damage_kind: DamageKind, repair: Repair
) -> None:
    (name,) = names(repository, kind)
    checked = opened(repository)
    damage(repository, kind, name, at=30)
    finding = next(finding for finding in check(checked).findings if finding.file == path_of(kind, name))
    assert (finding.kind, finding.repair) == (damage_kind, repair)


def test_a_damaged_pack_is_found_when_it_is_read(repository: Repository) -> None:
    pack = data_pack(repository)
    damage(repository, FileType.DATA, pack, at=100)
    assert check(opened(repository)).is_sound
    assert told(full(repository)) == {(path_of(FileType.DATA, pack), DamageKind.PACK_DAMAGED)}


def test_a_pack_that_lost_its_end_is_found_without_reading_it(repository: Repository) -> None:
    pack = data_pack(repository)
    files = memory(repository).files
    files[FileType.DATA, pack] = files[FileType.DATA, pack][:-1]
    assert told(check(opened(repository))) == {(path_of(FileType.DATA, pack), DamageKind.PACK_DAMAGED)}
    assert told(full(repository)) == {(path_of(FileType.DATA, pack), DamageKind.PACK_DAMAGED)}


def test_a_missing_pack_is_named(repository: Repository) -> None:
    pack = data_pack(repository)
    memory(repository).delete(FileType.DATA, pack)
    assert told(full(repository)) == {(path_of(FileType.DATA, pack), DamageKind.PACK_MISSING)}


def test_a_missing_tree_and_missing_content_are_named_by_the_tree(repository: Repository) -> None:
    for kind, damage_kind in ((BlobType.DATA, DamageKind.BLOB_MISSING), (BlobType.TREE, DamageKind.TREE_DAMAGED)):
        broken = a_repository()
        save(broken, FILES, packs_each=True)
        index = opened(broken).index
        kept = [IndexedPack(pack, entries) for pack, entries in index.by_pack().items() if entries[0].type is not kind]
        for name in names(broken, FileType.INDEX):
            memory(broken).delete(FileType.INDEX, name)
        broken.write_document(FileType.INDEX, encode_index(kept))
        findings = check(opened(broken)).findings
        assert damage_kind in {finding.kind for finding in findings}
        assert {finding.repair for finding in findings} == {Repair.SNAPSHOTS, Repair.PRUNE}
        assert not check(opened(broken)).is_sound


def test_a_pack_that_no_index_names_does_no_harm(repository: Repository) -> None:
    pack = store(repository, b"nobody wants it")
    (newest,) = [name for name, document in repository.read_documents(FileType.INDEX) if pack in document.decode()]
    memory(repository).delete(FileType.INDEX, newest)
    report = full(repository)
    assert told(report) == {(path_of(FileType.DATA, pack), DamageKind.PACK_UNINDEXED)}
    assert report.is_sound


def test_an_index_that_names_other_blobs_than_the_pack_holds_is_wrong(repository: Repository) -> None:
    entry = PackEntry(BlobType.DATA, b"another blob" + bytes(20), 0, 32 + 16, 0)
    pack = store(repository, b"16 bytes content", as_=[entry])
    assert told(full(repository)) == {(path_of(FileType.DATA, pack), DamageKind.INDEX_WRONG)}


def test_a_blob_that_was_stored_wrong_is_found_although_the_file_is_as_it_was_written(repository: Repository) -> None:
    sealed = seal_blob(repository.sealer, BlobType.DATA, b"what it says")
    builder = PackBuilder(repository.sealer)
    builder.add(sealed._replace(id=b"w" * 32))
    pack = builder.finish()
    repository.write_pack(pack)
    repository.write_document(FileType.INDEX, encode_index([IndexedPack(pack.id, pack.entries)]))
    report = full(repository)
    assert told(report) == {(path_of(FileType.DATA, pack.id.hex()), DamageKind.PACK_DAMAGED)}
    assert (b"w" * 32).hex() in report.findings[0].why


@pytest.mark.parametrize(
    "nodes",
    [
        [Node(name=b"dir", type=NodeType.DIR)],
        [Node(name=b"file", type=NodeType.FILE)],
        [Node(name=b"b", type=NodeType.FIFO), Node(name=b"a", type=NodeType.FIFO)],
    ],
    ids=["a directory without a tree", "a file without content", "names out of order"],
)
def test_a_tree_that_makes_no_sense_is_named(repository: Repository, nodes: list[Node]) -> None:
    plain = encode_tree(sorted(nodes, key=lambda node: node.name))
    if len(nodes) > 1:
        plain = plain.replace(b'"name":"a"', b'"name":"c"')
    with Packer(repository) as packer:
        id_ = put(repository, packer, BlobType.TREE, plain)
    snapshot = Snapshot(time=Instant(0), tree=id_, paths=("/",))
    repository.write_document(FileType.SNAPSHOT, snapshot.encode())
    assert told(full(repository)) == {(f"tree {id_.hex()}", DamageKind.TREE_DAMAGED)}


def test_subsets_are_all_packs_together_and_none_twice() -> None:
    sizes = {bytes((first, *bytes(31))): 10 for first in range(0, 256, 5)}
    subsets = [choose(Subset(number, 7), sizes) for number in range(1, 8)]
    assert sorted(pack for subset in subsets for pack in subset) == sorted(sizes)
    assert all(pack[0] % 7 == 2 for pack in subsets[2])


def test_a_part_is_chosen_by_percent_or_size_and_is_never_nothing() -> None:
    sizes = {bytes((first, *bytes(31))): 10 for first in range(200)}
    assert len(set(choose(Percent(10), sizes))) == 20
    assert len(choose(Percent(0.01), sizes)) == 1
    assert len(choose(Size(500), sizes)) == 50
    assert len(choose(Size(10**9), sizes)) == 200
    assert choose(None, sizes) == choose(Percent(10), {}) == choose(Size(5), {}) == []


@pytest.mark.parametrize("wrong", [lambda: Subset(0, 3), lambda: Subset(4, 3), lambda: Subset(1, 257),
                                   lambda: Percent(0), lambda: Percent(101)])  # fmt: skip
def test_a_part_that_does_not_exist_cannot_be_asked_for(wrong: type[Subset]) -> None:
    with pytest.raises(ValueError, match="s"):
        wrong()  # type: ignore[call-arg]  # they take nothing


def test_progress_counts_packs(repository: Repository) -> None:
    seen: list[Progress] = []
    report = check(opened(repository), CheckRequest(read=ALL), progress=seen.append)
    assert (seen[-1].files_done, seen[-1].bytes_done) == (2, report.bytes_read)


def test_a_check_ends_when_its_lock_is_lost(repository: Repository) -> None:
    def guard() -> None:
        raise LockLost("lost")

    with pytest.raises(LockLost):
        check(opened(repository), guard=guard)
