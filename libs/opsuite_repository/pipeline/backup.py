"""Making a snapshot of files, or of one stream.

Packs are stored first, then the index that names them, then the snapshot: whoever dies in between leaves files that
nobody refers to. The caller holds the lock (`locking`); `guard` is asked now and then, and before the snapshot
is written, and raises when the lock was lost.
"""

from __future__ import annotations

import getpass
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from opsuite_repository.errors import Damaged, Malformed
from opsuite_repository.format.blobs import BlobId, BlobType
from opsuite_repository.format.snapshots import Snapshot, Summary
from opsuite_repository.format.snapshots import parse as parse_snapshot
from opsuite_repository.format.times import from_datetime
from opsuite_repository.pipeline.archiver import Archiver
from opsuite_repository.pipeline.backup_request import AUTO, BackupRequest, BackupResult
from opsuite_repository.pipeline.chunks import Chunks
from opsuite_repository.pipeline.engines import Engines
from opsuite_repository.pipeline.excludes import Patterns
from opsuite_repository.pipeline.folder_cache import FolderCache
from opsuite_repository.pipeline.folders import Tally
from opsuite_repository.pipeline.nodes import forget_names
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.pipeline.processes import HelperPool, lent
from opsuite_repository.pipeline.progress import Meter, ProgressSink
from opsuite_repository.pipeline.reading import FileReaders, PackerStore
from opsuite_repository.pipeline.selection import CACHE_TAG, Selection, absolute
from opsuite_repository.pipeline.small_files import Reading
from opsuite_repository.pipeline.streams import StreamArchiver
from opsuite_repository.pipeline.targets import targets_of
from opsuite_repository.pipeline.work import Course
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType

PROGRAM: Final = "opsuite"
"""What snapshots name as the program that made them."""
__all__ = ["AUTO", "BackupRequest", "BackupResult", "Resident", "back_up", "back_up_stream"]


def back_up(
    repository: Repository,
    request: BackupRequest,
    *,
    progress: ProgressSink | None = None,
    cancelled: threading.Event | None = None,
    guard: Callable[[], None] | None = None,
    resident: Resident | None = None,
) -> BackupResult:
    """Store the paths and write a snapshot of them. The index of the repository has to be loaded.

    Raises NotFound when none of the paths is there, Cancelled, and what the storage raises: then there is no snapshot,
    and what was stored already serves the next backup. `resident` is what a service keeps from one backup of these
    paths to the next, which makes the next much faster.
    """
    root, missing = targets_of(request.paths)
    backup = _Backup(repository, request, _absolute(request.paths), progress, cancelled, guard)
    backup.tally.found(*missing)
    with _remembering(resident, repository, backup) as cache:
        with backup.packer as packer, lent(resident.helpers if resident else None) as pool:
            readers = backup.readers(pool)
            archiver = Archiver(
                repository, packer, backup.reading, _selection(request), readers,
                tally=backup.tally, meter=backup.meter, course=backup.course, cache=cache,
            )  # fmt: skip
            with readers:
                archiver.walk(root, backup.parent_tree)
                tree = archiver.wait()
        return backup.finished(tree)


def back_up_stream(
    repository: Repository,
    name: str,
    stream: BinaryIO,
    request: BackupRequest,
    *,
    finish: Callable[[], None] | None = None,
    progress: ProgressSink | None = None,
    cancelled: threading.Event | None = None,
    guard: Callable[[], None] | None = None,
) -> BackupResult:
    """Store what `stream` gives as one file of that name (`dump.sql`, `/databases/dump.sql`), and a snapshot of it.

    `finish` is called after the last byte and before the snapshot: it raises when whoever wrote the stream failed
    (such as a dump with an exit status), and then there is no snapshot. What reading from the stream raises ends the
    backup in the same way.
    """
    path = os.fsencode(name if name.startswith("/") else f"/{name}")
    backup = _Backup(repository, request, (os.fsdecode(path),), progress, cancelled, guard)
    with backup.packer as packer:
        storing = StreamArchiver(repository, packer, backup.reading, backup.meter, backup.course, backup.tally)
        tree = storing.store(path, stream, from_datetime(backup.time))
        if finish is not None:
            finish()
    return backup.finished(tree)


@dataclass(frozen=True, slots=True)
class Resident:
    """What a process that stays keeps for the backups of one set of paths, one at a time."""

    helpers: HelperPool
    """May be shared with others."""
    folders: FolderCache = field(default_factory=FolderCache)


class _Backup:
    """What both kinds of backup have in common: the parent, the packs, the counting and the snapshot."""

    def __init__(
        self,
        repository: Repository,
        request: BackupRequest,
        paths: tuple[str, ...],
        progress: ProgressSink | None,
        cancelled: threading.Event | None,
        guard: Callable[[], None] | None,
    ) -> None:
        self._repository = repository
        self.request = request
        self._paths = paths
        self._began = _now()
        self.time = request.time or self._began
        self._hostname = request.hostname or socket.gethostname()
        self._parent = self._found_parent()
        self.packer = Packer(repository, pack_bytes=request.pack_bytes, dry_run=request.dry_run, guard=guard)
        self.course = Course(cancelled, guard)
        self.tally = Tally()
        self.meter = self._meter(progress)
        self.reading = self._reading()
        self.tree = b""

    @property
    def parent_tree(self) -> BlobId | None:
        """The tree that the parent has."""
        return self._parent[1].tree if self._parent else None

    def readers(self, helpers: HelperPool) -> FileReaders:
        """Whoever reads files, on threads that were started."""
        chunks = Chunks(self._repository, self.packer, self.reading, self.course)
        engines = Engines(self._repository.key.master, self.reading, PackerStore(self.packer), helpers)
        return FileReaders(engines, chunks, tally=self.tally, meter=self.meter, course=self.course)

    def finished(self, tree: BlobId) -> BackupResult:
        """Write the snapshot, unless it is not wanted, now that everything it refers to is stored."""
        self.course.check()
        self.tree = tree
        summary, parent = self._summary(), self._parent[0] if self._parent else None
        is_same = self.request.skip_if_unchanged and tree == self.parent_tree
        name = None
        if not (self.request.dry_run or is_same):
            snapshot = self._snapshot(tree, parent, summary)
            name = self._repository.write_document(FileType.SNAPSHOT, snapshot.encode())
        self.meter.finish()
        return BackupResult(
            snapshot_id=name, tree=tree, parent=parent, summary=summary, findings=tuple(self.tally.findings)
        )

    def _snapshot(self, tree: BlobId, parent: str | None, summary: Summary) -> Snapshot:
        return Snapshot(
            time=from_datetime(self.time),
            tree=tree,
            paths=self._paths,
            parent=parent,
            hostname=self._hostname,
            username=getpass.getuser(),
            uid=os.getuid(),
            gid=os.getgid(),
            excludes=(*self.request.excludes, *self.request.case_insensitive_excludes),
            tags=self.request.tags,
            program_version=PROGRAM,
            summary=summary,
        )

    def _summary(self) -> Summary:
        tally, packer = self.tally, self.packer
        return Summary(
            backup_start=from_datetime(self._began),
            backup_end=from_datetime(_now()),
            files_new=tally.files_new,
            files_changed=tally.files_changed,
            files_unmodified=tally.files_unmodified,
            dirs_new=tally.dirs_new,
            dirs_changed=tally.dirs_changed,
            dirs_unmodified=tally.dirs_unmodified,
            data_blobs=packer.blobs[BlobType.DATA],
            tree_blobs=packer.blobs[BlobType.TREE],
            data_added=packer.added_bytes,
            data_added_packed=packer.stored_bytes,
            total_files_processed=tally.files_new + tally.files_changed + tally.files_unmodified,
            total_bytes_processed=tally.size_bytes,
        )

    def _found_parent(self) -> tuple[str, Snapshot] | None:
        wanted = self.request.parent
        if wanted is None:
            return None
        if wanted != AUTO:
            return wanted, self._repository.read_snapshot(wanted)
        latest = from_datetime(self.time).ns
        return max((each for each in self._alike() if _time(each) <= latest), key=_time, default=None)

    def _alike(self) -> Iterator[tuple[str, Snapshot]]:
        """Snapshots of the same host and paths. One that is damaged is no parent, and no reason not to back up."""
        for name, document in self._repository.try_documents(FileType.SNAPSHOT):
            if isinstance(document, Damaged):
                continue
            with suppress(Malformed):
                snapshot = parse_snapshot(document)
                if snapshot.hostname == self._hostname and set(snapshot.paths) == set(self._paths):
                    yield name, snapshot

    def _meter(self, progress: ProgressSink | None) -> Meter:
        """Until everything was looked at, the parent is the best guess at how much there is."""
        before = self._parent[1].summary if self._parent else None
        return Meter(
            progress,
            files_total=before.total_files_processed if before else None,
            bytes_total=before.total_bytes_processed if before else None,
        )

    def _reading(self) -> Reading:
        request = self.request
        return Reading(
            level=request.compression_level if self._repository.config.version > 1 else None,
            verify=request.verify,
            read_all=request.read_all,
            ignore_inode=request.ignore_inode,
            ignore_ctime=request.ignore_ctime,
            with_atime=request.with_atime,
            exclude_larger_than=request.exclude_larger_than,
        )


@contextmanager
def _remembering(resident: Resident | None, repository: Repository, backup: _Backup) -> Iterator[FolderCache | None]:
    """Use what is remembered of folders if it is still true, and remember them as they are now; nothing if it fails."""
    forget_names()
    request = backup.request
    if resident is None or request.read_all or request.with_atime or request.dry_run:
        yield None
        return
    options = replace(request, parent=AUTO, tags=(), time=None)
    resident.folders.begin(backup.parent_tree, options, repository.index_files)
    try:
        yield resident.folders
    except BaseException:
        resident.folders.forget()
        raise
    resident.folders.finish(backup.tree, options, repository.index_files)


def _time(found: tuple[str, Snapshot]) -> int:
    return found[1].time.ns


def _now() -> datetime:
    """In the zone of this machine, as snapshots tell it."""
    return datetime.now(UTC).astimezone()


def _absolute(paths: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(sorted({os.fsdecode(absolute(os.fsencode(path))) for path in paths}))


def _selection(request: BackupRequest) -> Selection:
    marks = [mark.partition(":") for mark in request.exclude_if_present]
    return Selection(
        Patterns(request.excludes, request.case_insensitive_excludes),
        (
            *((os.fsencode(name), os.fsencode(begin)) for name, _, begin in marks),
            *([CACHE_TAG] * request.exclude_caches),
        ),
        request.one_file_system,
    )
