"""How much snapshots hold and take.

Source: restic's cmd/restic/cmd_stats.go; the modes count what restic's modes of the same names count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from opsuite_repository.errors import Damaged
from opsuite_repository.format.blob_index import Location
from opsuite_repository.format.blobs import BlobId, BlobType
from opsuite_repository.format.sealing import OVERHEAD_BYTES
from opsuite_repository.format.trees import Node, NodeType
from opsuite_repository.repository import Repository
from opsuite_repository.snapshot_walk import walk


class StatsMode(StrEnum):
    """What is counted."""

    RESTORE_SIZE = "restore-size"
    """Every entry of every snapshot; bytes that a restore of all of them would write."""
    FILES_BY_CONTENTS = "files-by-contents"
    """Each content of a file once."""
    BLOBS_PER_FILE = "blobs-per-file"
    """Each blob once for each path that refers to it."""
    RAW_DATA = "raw-data"
    """Each blob once, as it is stored."""


@dataclass(slots=True, kw_only=True)
class Stats:
    """What was counted; sizes in bytes, 0 for what the mode does not count."""

    snapshots: int = 0
    size: int = 0
    files: int = 0
    blobs: int = 0
    uncompressed_size: int = 0
    compressed_blobs_size: int = 0
    compressed_blobs_uncompressed_size: int = 0

    @property
    def compression_ratio(self) -> float:
        """How much larger the compressed blobs were before; 0 when there are none."""
        if not self.compressed_blobs_size:
            return 0.0
        return self.compressed_blobs_uncompressed_size / self.compressed_blobs_size

    @property
    def compression_progress(self) -> float:
        """Percent of the bytes that are in compressed blobs."""
        if not self.uncompressed_size:
            return 0.0
        return 100 * self.compressed_blobs_uncompressed_size / self.uncompressed_size

    @property
    def space_saving(self) -> float:
        """Percent of the bytes that compression spares."""
        return (1 - self.size / self.uncompressed_size) * 100 if self.uncompressed_size else 0.0


def stats(
    repository: Repository,
    trees: Iterable[BlobId],
    mode: StatsMode,
    *,
    progress: Callable[[Stats], None] | None = None,
) -> Stats:
    """Count over the snapshots with these trees. `progress` is called after each. Raises Damaged."""
    counting = _COUNTERS[mode](repository)
    for tree in trees:
        counting.found.snapshots += 1
        counting.count(tree)
        if progress is not None:
            progress(counting.found)
    counting.finish()
    return counting.found


class _Counter:
    """Looks at every entry."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.found = Stats()

    def count(self, tree: BlobId) -> None:
        """Count one snapshot."""
        for visited in walk(self.repository, tree):
            self.add(visited.path, visited.node)

    def add(self, path: bytes, node: Node) -> None:
        """Count one entry."""

    def finish(self) -> None:
        """Count what can be counted only now."""


class _RestoreSize(_Counter):
    def count(self, tree: BlobId) -> None:
        self._linked: set[tuple[int, int]] = set()
        super().count(tree)

    def add(self, path: bytes, node: Node) -> None:
        self.found.files += 1
        link = node.inode, node.device_id
        if node.links == 1 or node.type is NodeType.DIR or node.inode == 0 or link not in self._linked:
            self.found.size += node.size
        if node.links != 1 and node.type is not NodeType.DIR:
            self._linked.add(link)


class _FilesByContents(_Counter):
    def __init__(self, repository: Repository) -> None:
        super().__init__(repository)
        self._seen: set[bytes] = set()

    def add(self, path: bytes, node: Node) -> None:
        contents = sha256(b"".join(node.content or ())).digest()
        if contents not in self._seen:
            self._seen.add(contents)
            self.add_new(path, node)

    def add_new(self, path: bytes, node: Node) -> None:
        """Count a content that was not there before."""
        self.found.size += node.size
        self.found.files += 1


class _BlobsPerFile(_FilesByContents):
    def __init__(self, repository: Repository) -> None:
        super().__init__(repository)
        self._blobs: dict[bytes, set[BlobId]] = {}

    def add_new(self, path: bytes, node: Node) -> None:
        for blob in node.content or ():
            of_file = self._blobs.setdefault(path, set())
            self.found.files += not of_file
            if blob not in of_file:
                of_file.add(blob)
                self.found.blobs += 1
                self.found.size += content_bytes(_place(self.repository, BlobType.DATA, blob))


class _RawData(_Counter):
    def __init__(self, repository: Repository) -> None:
        super().__init__(repository)
        self._trees: set[BlobId] = set()
        self._data: set[BlobId] = set()

    def count(self, tree: BlobId) -> None:
        if tree in self._trees:
            return
        self._trees.add(tree)
        for visited in walk(self.repository, tree, enters=lambda visited: self._enters(visited.node)):
            self._data.update(visited.node.content or ())

    def _enters(self, node: Node) -> bool:
        if node.subtree is None or node.subtree in self._trees:
            return False
        self._trees.add(node.subtree)
        return True

    def finish(self) -> None:
        for kind, blobs in ((BlobType.TREE, self._trees), (BlobType.DATA, self._data)):
            for blob in blobs:
                self._add_blob(_place(self.repository, kind, blob))

    def _add_blob(self, place: Location) -> None:
        found, plain = self.found, content_bytes(place) + OVERHEAD_BYTES
        found.blobs += 1
        found.size += place.length
        if self.repository.config.version > 1:
            found.uncompressed_size += plain
            if place.uncompressed_length:
                found.compressed_blobs_size += place.length
                found.compressed_blobs_uncompressed_size += plain


_COUNTERS: dict[StatsMode, type[_Counter]] = {
    StatsMode.RESTORE_SIZE: _RestoreSize,
    StatsMode.FILES_BY_CONTENTS: _FilesByContents,
    StatsMode.BLOBS_PER_FILE: _BlobsPerFile,
    StatsMode.RAW_DATA: _RawData,
}


def content_bytes(place: Location) -> int:
    """How long the content of a blob is."""
    return place.uncompressed_length or place.length - OVERHEAD_BYTES


def _place(repository: Repository, kind: BlobType, blob: BlobId) -> Location:
    place = repository.index.find(kind, blob)
    if place is None:
        raise Damaged(f"{kind} blob {blob.hex()}", "no pack of the index has it")
    return place
