"""The codecs and stock restic read what the other wrote, to the byte."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from hashlib import sha256
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from restic import PASSWORD, Restic
from sample_trees import assert_same_tree, make_tree

from opsuite_repository.errors import AlreadyExists, Damaged, RepositoryMissing, WrongPassword
from opsuite_repository.format import config, keys, locks, unpacked
from opsuite_repository.format.blobs import BlobType, open_blob, seal_blob
from opsuite_repository.format.chunking import Chunker
from opsuite_repository.format.index import IndexedPack, decode_index, encode_index
from opsuite_repository.format.packs import Pack, PackBuilder, entries_of
from opsuite_repository.format.sealing import Sealer
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.format.times import Instant
from opsuite_repository.format.trees import Node, NodeType, decode_tree, encode_tree
from opsuite_repository.repository import Repository, add_key
from opsuite_repository.storage.local import LocalStorage
from opsuite_repository.storage.port import FileType

CHEAP = keys.Cost(n=1 << 10, r=8, p=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("source")
    make_tree(root)
    return root


@pytest.fixture(scope="module")
def theirs(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of restic's, with the tree backed up in two steps of which the second has the first as parent."""
    repository = tmp_path_factory.mktemp("theirs") / "repository"
    restic = Restic(repository)
    restic("init")
    restic("backup", source / "deep", "--tag", "first")
    restic("backup", source, "--tag", "second,<&>", "--exclude", "*.tmp")
    return repository


@pytest.fixture(scope="module")
def opened(theirs: Path) -> Repository:
    repository = Repository.open(LocalStorage(theirs), PASSWORD)
    repository.load_index()
    return repository


def files(repository: Path, kind: FileType) -> Iterator[tuple[str, bytes]]:
    folder = repository / kind
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert found, kind
    return ((path.name, path.read_bytes()) for path in found)


def test_keys_and_config_of_restic_are_read(theirs: Path) -> None:
    ((name, stored),) = files(theirs, FileType.KEY)
    key = keys.parse(stored)
    assert sha256(stored).hexdigest() == name
    assert key.unlock("wrong") is None
    master = key.unlock(PASSWORD)
    assert master is not None

    settings = config.parse(Sealer(master).open((theirs / "config").read_bytes()))

    assert settings.version == 2
    assert f'"id":"{settings.id}"' in Restic(theirs)("cat", "config", "--json").stdout.replace(" ", "")
    assert config.is_irreducible(settings.chunker_polynomial)
    assert keys.parse(key.encode()) == key


def test_index_and_packs_of_restic_are_read_and_written_alike(theirs: Path, opened: Repository) -> None:
    indexed: dict[bytes, set[tuple[object, ...]]] = {}
    for name, stored in files(theirs, FileType.INDEX):
        document = unpacked.decode(opened.sealer.open(stored))
        packs = list(decode_index(document))
        assert encode_index(packs) == document
        assert sha256(stored).hexdigest() == name
        indexed.update({pack.id: set(pack.entries) for pack in packs})
    for name, stored in files(theirs, FileType.DATA):
        entries = entries_of(opened.sealer, stored)
        assert set(entries) == indexed.pop(bytes.fromhex(name))
        assert entries == opened.read_pack_header(name)
        for entry in entries:
            blob = stored[entry.offset : entry.offset + entry.length]
            content = open_blob(opened.sealer, entry.id, blob, entry.uncompressed_length)
            assert content == opened.read_blob(entry.type, entry.id)
    assert indexed == {}


def test_every_tree_of_restic_would_be_written_by_us_to_the_byte(opened: Repository) -> None:
    trees = [entry.id for _, entry in opened.index.entries() if entry.type is BlobType.TREE]
    assert len(trees) > 4
    for id_ in trees:
        written = opened.read_blob(BlobType.TREE, id_)
        assert encode_tree(decode_tree(written)) == written


def test_every_snapshot_of_restic_would_be_written_by_us_to_the_byte(opened: Repository) -> None:
    found = dict(opened.snapshots())
    assert {snapshot.tags for snapshot in found.values()} == {("first",), ("second", "<&>")}
    for name, snapshot in found.items():
        assert snapshot.encode() == opened.read_document(FileType.SNAPSHOT, name)


def test_the_nodes_tell_what_is_on_disk(source: Path, opened: Repository) -> None:
    (tree,) = [snapshot.tree for _, snapshot in opened.snapshots() if snapshot.tags != ("first",)]
    for part in source.parts[1:]:
        (node,) = [node for node in opened.read_tree(tree) if node.name == part.encode()]
        assert node.subtree is not None
        tree = node.subtree
    nodes = {node.name: node for node in opened.read_tree(tree)}

    assert set(nodes) == {os.fsencode(path.name) for path in source.iterdir()}
    for name, node in nodes.items():
        path = source / os.fsdecode(name)
        found = path.lstat()
        assert (node.inode, node.device_id) == (found.st_ino, found.st_dev)
        assert (node.uid, node.gid) == (found.st_uid, found.st_gid)
        assert node.mtime.ns == found.st_mtime_ns
        if node.type is NodeType.FILE:
            content = b"".join(opened.read_blob(BlobType.DATA, id_) for id_ in node.content or ())
            assert content == path.read_bytes()
            assert (node.size, node.links) == (found.st_size, found.st_nlink)
        if node.type is NodeType.SYMLINK:
            assert node.link_target == os.fsencode(path.readlink())
    assert nodes[b"fifo"].type is NodeType.FIFO
    assert nodes[b"empty"].content == ()


def repacked(repository: Repository, contents: Iterator[bytes], kind: BlobType) -> Pack:
    builder = PackBuilder(repository.sealer)
    for content in contents:
        builder.add(seal_blob(repository.sealer, kind, content))
    return builder.finish()


def rewritten(opened: Repository, place: Path) -> Repository:
    """Everything of restic's repository, written by our codecs."""
    ours = Repository.init(LocalStorage(place), PASSWORD, cost=CHEAP)
    packs = []
    for kind in BlobType:
        ids = [entry.id for _, entry in opened.index.entries() if entry.type is kind]
        packs.append(repacked(ours, (opened.read_blob(kind, id_) for id_ in ids), kind))
    for pack in packs:
        ours.write_pack(pack)
    ours.write_document(FileType.INDEX, encode_index(IndexedPack(pack.id, pack.entries) for pack in packs))
    for _, snapshot in opened.snapshots():
        ours.write_document(FileType.SNAPSHOT, snapshot.encode())
    return ours


def test_restic_accepts_and_restores_what_our_codecs_wrote(source: Path, opened: Repository, tmp_path: Path) -> None:
    ours = rewritten(opened, tmp_path / "ours")
    restic = Restic(tmp_path / "ours")

    assert "no errors were found" in restic("check", "--read-data").stdout
    restic("restore", "latest", "--target", tmp_path / "target", "--verify")

    assert_same_tree(source, tmp_path / "target" / source.relative_to("/"))
    assert "Files:           0 new,     0 changed" in restic("backup", source, "--dry-run").stdout
    assert ours.config.id in restic("cat", "config").stdout


def test_restic_opens_our_repository_with_every_password_that_we_add(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "ours")
    first = Repository.init(storage, "another", cost=CHEAP)
    name = add_key(storage, first.key.master, PASSWORD, cost=CHEAP)

    assert name[:8] in Restic(tmp_path / "ours")("key", "list").stdout
    assert Repository.open(storage, "another").key == first.key
    assert Repository.open(storage, PASSWORD, key_hint=name).key.name == name


def test_restic_respects_a_lock_of_ours_and_we_read_one_of_its(tmp_path: Path) -> None:
    ours = Repository.init(LocalStorage(tmp_path / "ours"), PASSWORD, cost=CHEAP)
    restic = Restic(tmp_path / "ours")
    lock = locks.Lock(time=Instant(4 * 10**18), exclusive=True, hostname="elsewhere", username="we", pid=5)
    name = ours.write_document(FileType.LOCK, lock.encode())

    refused = restic("snapshots", check=False)

    assert refused.returncode == 11
    assert "elsewhere" in refused.stderr
    assert locks.parse(ours.read_document(FileType.LOCK, name)) == lock


class Flipped(LocalStorage):
    """A folder one file of which comes back with one bit turned over."""

    def __init__(self, root: Path, name: str, bit: int) -> None:
        super().__init__(root)
        self._name, self._bit = name, bit

    def read(self, kind: FileType, name: str, offset: int = 0, length: int | None = None) -> bytes:
        content = bytearray(super().read(kind, name))
        if name == self._name:
            content[self._bit // 8] ^= 1 << self._bit % 8
        return bytes(content[offset : None if length is None else offset + length])


def read_all(repository: Repository) -> None:
    """Everything that anybody could want to know of a repository."""
    list(repository.snapshots())
    repository.load_index()
    for pack in repository.index.packs():
        repository.read_pack_header(pack.hex())
    for _, entry in repository.index.entries():
        repository.read_blob(entry.type, entry.id)


@pytest.mark.parametrize("kind", [FileType.INDEX, FileType.SNAPSHOT, FileType.DATA])
def test_a_flipped_bit_of_any_file_is_noticed_and_named(kind: FileType, theirs: Path, opened: Repository) -> None:
    chance = random.Random(kind)
    for name, stored in files(theirs, kind):
        for _ in range(3):
            storage = Flipped(theirs, name, chance.randrange(8 * len(stored)))
            with pytest.raises(Damaged, match=name):
                read_all(Repository(storage, opened.key, opened.config))


@pytest.mark.parametrize("kind", [FileType.KEY, FileType.CONFIG])
def test_a_flipped_bit_of_what_opens_a_repository_is_noticed_and_named(kind: FileType, tmp_path: Path) -> None:
    Repository.init(LocalStorage(tmp_path), PASSWORD, cost=CHEAP)
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file() and kind in path.parts]
    for bit in random.Random(kind).sample(range(8 * file.stat().st_size), 20):
        with pytest.raises(Damaged, match=file.name):
            Repository.open(Flipped(tmp_path, file.name, bit), PASSWORD)


def test_what_is_no_repository_and_what_is_already_one_are_told(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "ours")
    with pytest.raises(RepositoryMissing):
        Repository.open(storage, PASSWORD)
    Repository.init(storage, PASSWORD, cost=CHEAP)
    with pytest.raises(AlreadyExists):
        Repository.init(storage, PASSWORD, cost=CHEAP)
    with pytest.raises(WrongPassword):
        Repository.open(storage, "wrong")


def test_an_init_that_was_interrupted_is_completed(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "ours")
    interrupted = Repository.init(storage, PASSWORD, cost=CHEAP)
    (tmp_path / "ours" / "config").unlink()

    with pytest.raises(AlreadyExists):
        Repository.init(storage, "wrong", cost=CHEAP)
    completed = Repository.init(storage, PASSWORD, cost=CHEAP)

    assert completed.key == interrupted.key
    assert Repository.open(storage, PASSWORD).config == completed.config


def test_a_large_file_cut_by_us_is_read_by_restic(tmp_path: Path) -> None:
    ours = Repository.init(LocalStorage(tmp_path / "ours"), PASSWORD, cost=CHEAP)
    content = random.Random(2).randbytes(5 << 20)
    ends = list(accumulate(Chunker(ours.chunker_seed).cut(content, final=True), initial=0))
    pieces = [content[start:end] for start, end in pairwise(ends)]
    assert len(pieces) > 1

    snapshot = a_snapshot(ours, pieces)

    restic = Restic(tmp_path / "ours")
    assert "no errors were found" in restic("check", "--read-data").stdout
    restic("restore", snapshot, "--target", tmp_path / "target", "--verify")
    assert (tmp_path / "target" / "file").read_bytes() == content


def a_snapshot(repository: Repository, pieces: list[bytes]) -> str:
    """A snapshot of one file, written in the order that a crash may interrupt; its id."""
    data = repacked(repository, iter(pieces), BlobType.DATA)
    file = Node(
        name=b"file", type=NodeType.FILE, mode=0o644, mtime=Instant(1), atime=Instant(1), ctime=Instant(1),
        uid=os.getuid(), gid=os.getgid(), size=sum(map(len, pieces)), content=tuple(each.id for each in data.entries),
    )  # fmt: skip
    tree = repacked(repository, iter([encode_tree([file])]), BlobType.TREE)
    for pack in (data, tree):
        repository.write_pack(pack)
    repository.write_document(FileType.INDEX, encode_index(IndexedPack(pack.id, pack.entries) for pack in (data, tree)))
    snapshot = Snapshot(time=Instant(10**18), tree=tree.entries[0].id, paths=("/file",))
    return repository.write_document(FileType.SNAPSHOT, snapshot.encode())
