from __future__ import annotations

from fakes.memory_storage import MemoryStorage

from opsuite_repository.format import keys
from opsuite_repository.format.blobs import BlobType, blob_id, seal_blob
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType
from opsuite_repository.tree_packs import WORTH_WHOLE


class Counting(MemoryStorage):
    """Counts what is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def read(self, kind: FileType, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self.reads += kind is FileType.DATA
        return super().read(kind, name, offset, length)


def test_a_walk_over_many_trees_far_away_asks_few_times() -> None:
    storage = Counting()
    repository = Repository.init(storage, "right", cost=keys.Cost(n=16, r=1, p=1))
    trees = [b"tree %d" % at for at in range(100)]
    with Packer(repository) as packer:
        for tree in trees:
            packer.add(seal_blob(repository.sealer, BlobType.TREE, tree))

    read = [repository.read_blob(BlobType.TREE, blob_id(tree)) for tree in trees]

    assert read == trees
    assert storage.reads == WORTH_WHOLE + 1


def test_data_is_never_read_in_whole_packs() -> None:
    storage = Counting()
    repository = Repository.init(storage, "right", cost=keys.Cost(n=16, r=1, p=1))
    blobs = [b"data %d" % at for at in range(10)]
    with Packer(repository) as packer:
        for blob in blobs:
            packer.add(seal_blob(repository.sealer, BlobType.DATA, blob))

    assert [repository.read_blob(BlobType.DATA, blob_id(blob)) for blob in blobs] == blobs
    assert storage.reads == len(blobs)
