"""A small repository in memory, made of blobs and trees by hand, and what is left of it after damage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from fakes.memory_storage import MemoryStorage

from opsuite_repository.errors import Damaged
from opsuite_repository.format import keys
from opsuite_repository.format.blobs import BlobId, BlobType, blob_id, seal_blob
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.format.times import Instant
from opsuite_repository.format.trees import Node, NodeType, encode_tree
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType

CHEAP = keys.Cost(n=16, r=1, p=1)
PASSWORD = "right"
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


class DatedStorage(MemoryStorage):
    """One with a clock, which tests set."""

    def __init__(self) -> None:
        super().__init__()
        self.time = NOON

    def now(self) -> datetime:
        return self.time


def a_repository(storage: MemoryStorage | None = None) -> Repository:
    """An empty one."""
    return Repository.init(storage or MemoryStorage(), PASSWORD, cost=CHEAP)


def memory(repository: Repository) -> MemoryStorage:
    """Where it is."""
    assert isinstance(repository.storage, MemoryStorage)
    return repository.storage


def opened(repository: Repository) -> Repository:
    """As somebody else would open it now, index and all."""
    other = Repository.open(repository.storage, PASSWORD)
    other.load_index()
    return other


def save(repository: Repository, files: Mapping[str, bytes], *, at: int = 0, packs_each: bool = False) -> str:
    """Back up these files, one blob each, below a directory `d`, as snapshot number `at`; its id.

    Every call makes a pack of data and one of trees; with `packs_each` a pack for every blob of data.
    """
    repository.load_index()
    if packs_each:
        for content in files.values():
            with Packer(repository) as packer:
                put(repository, packer, BlobType.DATA, content)
    with Packer(repository) as packer:
        nodes = [
            _file(name, put(repository, packer, BlobType.DATA, files[name]), files[name]) for name in sorted(files)
        ]
        inner = put(repository, packer, BlobType.TREE, encode_tree(nodes))
        root = [Node(name=b"d", type=NodeType.DIR, mode=0o755, subtree=inner)]
        tree = put(repository, packer, BlobType.TREE, encode_tree(root))
    snapshot = Snapshot(time=Instant(at), tree=tree, paths=("/d",), hostname="here")
    return repository.write_document(FileType.SNAPSHOT, snapshot.encode())


def put(repository: Repository, packer: Packer, kind: BlobType, content: bytes) -> BlobId:
    """Store a blob unless it is stored."""
    id_ = blob_id(content)
    if packer.claim(kind, id_):
        packer.add(seal_blob(repository.sealer, kind, content))
    return id_


def _file(name: str, id_: BlobId, content: bytes) -> Node:
    return Node(name=name.encode(), type=NodeType.FILE, mode=0o644, size=len(content), content=(id_,))


def files_of(repository: Repository, snapshot: str) -> dict[str, bytes]:
    """What the snapshot holds. Raises Damaged."""
    (directory,) = repository.read_tree(repository.read_snapshot(snapshot).tree)
    if directory.subtree is None:
        raise Damaged(f"snapshot {snapshot}", "its directory has no tree")
    return {
        node.name.decode(): b"".join(repository.read_blob(BlobType.DATA, id_) for id_ in node.content or ())
        for node in repository.read_tree(directory.subtree)
    }


def names(repository: Repository, kind: FileType) -> set[str]:
    """The files of that kind."""
    return {file.name for file in repository.storage.list(kind)}


def damage(repository: Repository, kind: FileType, name: str, at: int = 20) -> None:
    """Flip a bit."""
    content = bytearray(memory(repository).files[kind, name])
    content[at] ^= 1
    memory(repository).files[kind, name] = bytes(content)
