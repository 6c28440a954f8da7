"""Saving what can be saved. In this order: the index, then packs, then snapshots; afterwards a prune.

Every step writes what is good first and removes what is bad after, so that it may be interrupted and repeated. All
of it needs an exclusive lock. What restic's `repair` commands do is done here too, with the same results.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from opsuite_repository.errors import Damaged, FileMissing
from opsuite_repository.format.blobs import BlobId, BlobType, PackId, SealedBlob
from opsuite_repository.format.index import IndexedPack
from opsuite_repository.format.packs import PackEntry
from opsuite_repository.gathering import entries_by_pack, read_run, runs
from opsuite_repository.index_files import LoadedIndex, load_tolerantly, rewrite
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.pipeline.progress import Meter, ProgressSink
from opsuite_repository.pipeline.work import Course
from opsuite_repository.repair_trees import Change, RepairedSnapshot, SnapshotRepair, repair_snapshots
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType, path_of

__all__ = [
    "Change", "IndexRepair", "PackRepair", "RepairedSnapshot", "SnapshotRepair", "repair_index", "repair_packs",
    "repair_snapshots",
]  # fmt: skip

_READERS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRepair:
    """What the new index has more and less than the old one."""

    removed_files: tuple[str, ...]
    """Index files that could not be read, and were removed."""
    added_packs: tuple[str, ...]
    """Packs that no index named, or that hold something else than it said."""
    dropped_packs: tuple[str, ...]
    """Packs that the index named and that are not there."""
    unreadable_packs: tuple[Damaged, ...]
    """Packs whose header cannot be read, left for `repair_packs`. What the index says of them stays in it: perhaps
    some of their blobs can be saved."""


def repair_index(
    repository: Repository,
    *,
    read_all_packs: bool = False,
    dry_run: bool = False,
    progress: ProgressSink | None = None,
    cancelled: threading.Event | None = None,
    guard: Callable[[], None] | None = None,
) -> IndexRepair:
    """Make the index say what the packs hold: those it does not know, or whose sizes differ, are read.

    `read_all_packs` trusts nothing that the index says. The files of `progress` are the headers that are read. The
    index is loaded by this.
    """
    course = Course(cancelled, guard)
    loaded = load_tolerantly(repository)
    sizes = {bytes.fromhex(file.name): file.size for file in repository.storage.list(FileType.DATA)}
    unknown = {
        pack: size
        for pack, size in sizes.items()
        if read_all_packs or pack not in loaded.packs or loaded.packs[pack].size_bytes != size
    }
    readable: list[IndexedPack] = []
    unreadable: dict[PackId, Damaged] = {}
    for pack, found in _headers(repository, unknown, course, progress):
        if isinstance(found, Damaged):
            unreadable[pack] = found
        else:
            readable.append(IndexedPack(pack, found))
    vanished = loaded.packs.keys() - sizes.keys()
    if not dry_run:
        rewrite(
            repository,
            loaded.files,
            change={},
            drop=frozenset(vanished | {pack.id for pack in readable}),
            extra=readable,
            also_delete=loaded.damaged,
            guard=course.check,
        )
        repository.load_index()
    return IndexRepair(
        removed_files=tuple(sorted(loaded.damaged)),
        added_packs=tuple(sorted(pack.id.hex() for pack in readable)),
        dropped_packs=tuple(sorted(pack.hex() for pack in vanished)),
        unreadable_packs=tuple(unreadable.values()),
    )


def _headers(
    repository: Repository, packs: dict[PackId, int], course: Course, progress: ProgressSink | None
) -> Iterator[tuple[PackId, list[PackEntry] | Damaged]]:
    meter = Meter(progress, files_total=len(packs))
    under_way: deque[tuple[PackId, Future[list[PackEntry] | Damaged]]] = deque()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="headers") as readers:
        for pack, size in packs.items():
            course.check()
            under_way.append((pack, readers.submit(_header, repository, pack, size)))
            if len(under_way) > _READERS:
                first, reading = under_way.popleft()
                yield first, reading.result()
            meter.add(files=1)
        for pack, reading in under_way:
            yield pack, reading.result()
    meter.finish()


def _header(repository: Repository, pack: PackId, size: int) -> list[PackEntry] | Damaged:
    try:
        return repository.read_pack_header(pack.hex(), size)
    except Damaged as error:
        return error
    except FileMissing as error:
        return Damaged(path_of(FileType.DATA, pack.hex()), error.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRepair:
    """What came of damaged packs."""

    saved_blobs: int
    """Blobs that were whole, and are in new packs now."""
    lost_blobs: tuple[str, ...]
    """Ids of blobs that no pack has any more: run `repair_snapshots`."""
    removed_packs: tuple[str, ...]
    sound_packs: tuple[str, ...]
    """Packs that turned out to be whole, and were left alone."""


def repair_packs(
    repository: Repository,
    names: Iterable[str],
    *,
    keep_in: Path | None = None,
    progress: ProgressSink | None = None,
    cancelled: threading.Event | None = None,
    guard: Callable[[], None] | None = None,
) -> PackRepair:
    """Write what is whole in these packs into new ones, and remove them. The index is loaded by this.

    What is in a pack is taken from its header and from the index, whichever can be read. `keep_in` is a folder that
    gets a copy of each file before it is removed. Names of packs that are missing are fine: the index forgets them.
    """
    course = Course(cancelled, guard)
    loaded = load_tolerantly(repository)
    for error in loaded.damaged.values():
        raise error  # the index comes first
    packs = {bytes.fromhex(name) for name in names}
    sizes = {pack: size for pack in sorted(packs) if (size := _size(repository, pack)) is not None}
    sound = {pack for pack, size in sizes.items() if _is_sound(repository, loaded, pack, size)}
    bad = packs - sound
    saved, lost = _save(repository, bad, sizes, course, progress)
    rewrite(repository, loaded.files, change={}, drop=frozenset(bad), guard=course.check)
    for pack in sorted(bad & sizes.keys()):
        course.check()
        if keep_in is not None:
            (keep_in / pack.hex()).write_bytes(repository.storage.read(FileType.DATA, pack.hex(), 0, sizes[pack]))
        repository.storage.delete(FileType.DATA, pack.hex())
    repository.load_index()
    still_lost = sorted(id_.hex() for kind, id_ in lost if not repository.index.has(kind, id_))
    return PackRepair(
        saved_blobs=saved,
        lost_blobs=tuple(still_lost),
        removed_packs=tuple(sorted(pack.hex() for pack in bad)),
        sound_packs=tuple(sorted(pack.hex() for pack in sound)),
    )


def _size(repository: Repository, pack: PackId) -> int | None:
    try:
        return repository.storage.size(FileType.DATA, pack.hex())
    except FileMissing:
        return None


def _is_sound(repository: Repository, loaded: LoadedIndex, pack: PackId, size: int) -> bool:
    """Whether the file is what its name says and the index knows it."""
    try:
        data = repository.storage.read(FileType.DATA, pack.hex(), 0, size)
    except (Damaged, FileMissing):
        return False
    return sha256(data).digest() == pack and pack in loaded.packs and loaded.packs[pack].size_bytes == size


def _save(
    repository: Repository, bad: set[PackId], sizes: dict[PackId, int], course: Course, progress: ProgressSink | None
) -> tuple[int, set[tuple[BlobType, BlobId]]]:
    """How many blobs were saved, and which ones could not be."""
    saved: set[tuple[BlobType, BlobId]] = set()
    lost: set[tuple[BlobType, BlobId]] = set()
    indexed = entries_by_pack(repository.index, bad)
    meter = Meter(progress, files_total=len(bad), bytes_total=sum(sizes[pack] for pack in bad & sizes.keys()))
    with Packer(repository) as packer:
        for pack in sorted(bad):
            entries = set(indexed.get(pack, ()))
            header = _header(repository, pack, sizes[pack]) if pack in sizes else []
            entries.update(() if isinstance(header, Damaged) else header)
            for run in runs(sorted(entries, key=lambda entry: entry.offset)):
                course.check()
                for blob in read_run(repository, pack, run):
                    key = blob.entry.type, blob.entry.id
                    if blob.wrong is not None:
                        lost.add(key)
                    elif key not in saved:
                        saved.add(key)
                        packer.add(SealedBlob(*key, blob.stored, blob.entry.uncompressed_length))
            meter.add(files=1, size_bytes=sizes.get(pack, 0))
    meter.finish()
    return len(saved), lost - saved
