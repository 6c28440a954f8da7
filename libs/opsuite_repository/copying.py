"""Copying snapshots into another repository, as restic's `copy` does: what is there already is not copied again.

Blobs are opened with one key and sealed with the other; those that are compressed stay as they are. Both repositories
cut files alike only if they have the same chunker seed, that is the same master key, or the same polynomial for
restic: otherwise files that the target has from elsewhere are stored twice, and everything is still right.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from opsuite_repository.errors import Damaged, naming
from opsuite_repository.format.blobs import BlobId, BlobType, PackId, SealedBlob, seal_blob
from opsuite_repository.format.packs import DEFAULT_PACK_BYTES, PackEntry
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.gathering import Gathered, gather, readable
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.pipeline.progress import Meter, ProgressSink
from opsuite_repository.pipeline.work import Course
from opsuite_repository.reachable import reachable_trees, references
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    """What was copied."""

    copied: Mapping[str, str]
    """The id in the target of each snapshot that was copied, by its id in the source."""
    skipped: tuple[str, ...]
    """Snapshots of the source that the target has already."""
    blobs: int
    """Blobs that the target did not have."""
    bytes_stored: int


@dataclass(slots=True)
class _Counts:
    copied: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    blobs: int = 0
    bytes_stored: int = 0


def copy(
    source: Repository,
    target: Repository,
    snapshot_ids: Iterable[str],
    *,
    pack_bytes: int = DEFAULT_PACK_BYTES,
    progress: ProgressSink | None = None,
    cancelled: threading.Event | None = None,
    guard: Callable[[], None] | None = None,
) -> CopyReport:
    """Copy these snapshots (full ids), oldest first; the index of both repositories has to be loaded.

    Shared locks of both are enough. What cannot be read in the source ends the work with Damaged: then the snapshot
    is not copied, those before it are, and what was stored of it serves the next try. Raises Cancelled.
    """
    course, counts = Course(cancelled, guard), _Counts()
    chosen = sorted(
        ((name, source.read_snapshot(name)) for name in dict.fromkeys(snapshot_ids)), key=lambda each: each[1].time.ns
    )
    present = {_identity(name, snapshot) for name, snapshot in target.snapshots()}
    meter = Meter(progress)
    for name, snapshot in chosen:
        if _identity(name, snapshot) in present:
            counts.skipped.append(name)
            continue
        _copy_blobs(source, target, snapshot.tree, Packer(target, pack_bytes=pack_bytes), course, meter, counts)
        course.check()
        there = replace(snapshot, parent=None, original=snapshot.original or name)
        counts.copied[name] = target.write_document(FileType.SNAPSHOT, there.encode())
    meter.finish()
    return CopyReport(
        copied=counts.copied, skipped=tuple(counts.skipped), blobs=counts.blobs, bytes_stored=counts.bytes_stored
    )


def _identity(name: str, snapshot: Snapshot) -> tuple[object, ...]:
    """What a snapshot has in common with its copies; the same as restic compares."""
    original = snapshot.original or name
    return (
        original, snapshot.time.ns, snapshot.tree, snapshot.hostname, snapshot.username, snapshot.uid, snapshot.gid,
        snapshot.paths, snapshot.excludes, snapshot.tags,
    )  # fmt: skip


def _copy_blobs(
    source: Repository, target: Repository, root: BlobId, packer: Packer, course: Course, meter: Meter, counts: _Counts
) -> None:
    """Everything below a tree, trees first; an index names it all before this returns."""
    with packer:
        wanted = _Wanted(source)
        for tree in _trees(source, root):
            course.check()
            _copy_tree(target, packer, tree, meter)
            for blob in tree.data:
                if packer.claim(BlobType.DATA, blob):
                    wanted.add(blob)
        for gathered in gather(source, wanted.by_pack):
            course.check()
            good = readable(source, gathered)
            packer.add(_sealed_for(target, source, good))
            meter.add(files=1, size_bytes=good.entry.length)
    counts.blobs += sum(packer.blobs.values())
    counts.bytes_stored += packer.stored_bytes


@dataclass(frozen=True, slots=True)
class _Tree:
    id: BlobId
    content: bytes
    data: list[BlobId]


def _trees(source: Repository, root: BlobId) -> Iterator[_Tree]:
    """Every tree below the root. All of them are looked at: that the target has one says nothing of what is below."""
    for id_, content in reachable_trees(source, [root]):
        if isinstance(content, Damaged):
            raise content
        with naming(f"tree {id_.hex()}"):
            data = references(content).data
        yield _Tree(id_, content, data)


def _copy_tree(target: Repository, packer: Packer, tree: _Tree, meter: Meter) -> None:
    if packer.claim(BlobType.TREE, tree.id):
        level = 3 if target.config.version > 1 else None
        packer.add(seal_blob(target.sealer, BlobType.TREE, tree.content, id_=tree.id, level=level))
        meter.add(files=1, size_bytes=len(tree.content))


class _Wanted:
    """Blobs to read from the source, by the packs they are in. Raises Damaged for one that is in none."""

    def __init__(self, source: Repository) -> None:
        self._index = source.index
        self.by_pack: defaultdict[PackId, list[PackEntry]] = defaultdict(list)

    def add(self, id_: BlobId) -> None:
        place = self._index.find(BlobType.DATA, id_)
        if place is None:
            raise Damaged(f"data blob {id_.hex()}", "a snapshot needs it, and no pack of the index has it")
        entry = PackEntry(BlobType.DATA, id_, place.offset, place.length, place.uncompressed_length)
        self.by_pack[place.pack].append(entry)


def _sealed_for(target: Repository, source: Repository, blob: Gathered) -> SealedBlob:
    """The blob under the key of the target. It was checked when it was read; what is compressed stays so."""
    entry = blob.entry
    if entry.uncompressed_length and target.config.version == 1:
        return seal_blob(target.sealer, entry.type, blob.content, id_=entry.id, level=None)
    plain = source.sealer.open(blob.stored)
    return SealedBlob(entry.type, entry.id, target.sealer.seal(plain), entry.uncompressed_length)
