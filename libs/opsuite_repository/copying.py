"""Copying snapshots into another repository, as restic's `copy` does: what is there already is not copied again.

Blobs are opened with one key and sealed with the other; those that are compressed stay as they are. Both repositories
cut files alike only if they have the same chunker seed, that is the same master key, or the same polynomial for
restic: otherwise files that the target has from elsewhere are stored twice, and everything is still right.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final

from opsuite_repository.errors import Damaged
from opsuite_repository.format.blobs import BlobId, BlobType, PackId, SealedBlob, seal_blob
from opsuite_repository.format.packs import DEFAULT_PACK_BYTES, PackEntry
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.gathering import Gathered, gather, readable
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.pipeline.progress import Meter, ProgressSink
from opsuite_repository.pipeline.work import Course
from opsuite_repository.reachable import ReadTree, reachable_trees
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType

_WRITE_EVERY_BYTES: Final = 256 << 20
"""After so much the snapshots that are complete are written: an interruption costs no more than that of the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    """What was copied."""

    copied: Mapping[str, str]
    """The id in the target of each snapshot that was copied, by its id in the source."""
    skipped: tuple[str, ...]
    """Snapshots of the source that the target had already."""
    blobs: int
    """Blobs that the target did not have."""
    bytes_stored: int


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

    Shared locks of both are enough. What cannot be read in the source ends the work with Damaged: then that snapshot
    is not copied, those before it are, and what was stored of it serves the next try. Raises Cancelled.
    """
    course, meter = Course(cancelled, guard), Meter(progress)
    found = [(name, source.read_snapshot(name)) for name in dict.fromkeys(snapshot_ids)]
    present = {_identity(name, snapshot) for name, snapshot in target.snapshots()}
    skipped = tuple(name for name, snapshot in found if _identity(name, snapshot) in present)
    with _Copy(source, target, Packer(target, pack_bytes=pack_bytes), course, meter) as work:
        for name, snapshot in sorted(found, key=lambda each: each[1].time.ns):
            if name not in skipped:
                work.copy(name, snapshot)
    meter.finish()
    packer = work.packer
    return CopyReport(
        copied=work.copied, skipped=skipped, blobs=sum(packer.blobs.values()), bytes_stored=packer.stored_bytes
    )


def _identity(name: str, snapshot: Snapshot) -> tuple[object, ...]:
    """What a snapshot has in common with its copies; the same as restic compares."""
    original = snapshot.original or name
    return (
        original, snapshot.time.ns, snapshot.tree, snapshot.hostname, snapshot.username, snapshot.uid, snapshot.gid,
        snapshot.paths, snapshot.excludes, snapshot.tags,
    )  # fmt: skip


class _Copy:
    """Copies snapshot after snapshot into packs they share.

    A snapshot is written when an index names all that it needs: after some data, and at the end, however it ends.
    """

    def __init__(self, source: Repository, target: Repository, packer: Packer, course: Course, meter: Meter) -> None:
        self._source = source
        self._target = target
        self._course = course
        self._meter = meter
        self._waiting: dict[str, Snapshot] = {}
        self._written_at = 0
        self.packer = packer
        self.copied: dict[str, str] = {}

    def copy(self, name: str, snapshot: Snapshot) -> None:
        """Copy everything below the tree of a snapshot, trees first."""
        wanted = _Wanted(self._source)
        for tree in reachable_trees(self._source, [snapshot.tree]):  # that the target has one tells nothing of others
            self._course.check()
            if tree.wrong is not None:
                raise tree.wrong
            self._copy_tree(tree)
            for blob in tree.references.data:
                if self.packer.claim(BlobType.DATA, blob):
                    wanted.add(blob)
        for gathered in gather(self._source, wanted.by_pack):
            self._course.check()
            good = readable(self._source, gathered)
            self.packer.add(_sealed_for(self._target, self._source, good))
            self._meter.add(files=1, size_bytes=good.entry.length)
        self._waiting[name] = snapshot
        if self.packer.stored_bytes - self._written_at >= _WRITE_EVERY_BYTES:
            self._write_snapshots()

    def __enter__(self) -> _Copy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, Damaged):
            with self.packer:
                self._write_snapshots()
        else:
            self.packer.__exit__(kind, error, trace)

    def _write_snapshots(self) -> None:
        self.packer.flush()
        self._course.check()
        for name, snapshot in self._waiting.items():
            there = replace(snapshot, parent=None, original=snapshot.original or name)
            self.copied[name] = self._target.write_document(FileType.SNAPSHOT, there.encode())
        self._waiting = {}
        self._written_at = self.packer.stored_bytes

    def _copy_tree(self, tree: ReadTree) -> None:
        if self.packer.claim(BlobType.TREE, tree.id):
            level = 3 if self._target.config.version > 1 else None
            self.packer.add(seal_blob(self._target.sealer, BlobType.TREE, tree.content, id_=tree.id, level=level))
            self._meter.add(files=1, size_bytes=len(tree.content))


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
