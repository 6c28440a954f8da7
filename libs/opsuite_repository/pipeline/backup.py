"""Making a snapshot of files, or of one stream.

Packs are stored first, then the index that names them, then the snapshot: whoever dies in between leaves files that
nobody refers to. The caller holds the lock (`locking`); `guard` is asked before the snapshot is written and raises when
the lock was lost.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from opsuite_repository.format.blobs import BlobId
from opsuite_repository.format.snapshots import Summary
from opsuite_repository.pipeline.findings import HARMLESS, Finding
from opsuite_repository.pipeline.progress import ProgressSink
from opsuite_repository.repository import Repository

AUTO: Final = "auto"
"""As parent: the latest snapshot of the same host and paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRequest:
    """What to back up, and how."""

    paths: tuple[Path, ...] = ()
    """Relative ones become relative in the tree, as with restic; the snapshot names them all absolutely."""
    excludes: tuple[str, ...] = ()
    """Patterns as restic's `--exclude`; `!` in front takes an exclusion back."""
    case_insensitive_excludes: tuple[str, ...] = ()
    exclude_if_present: tuple[str, ...] = ()
    """`name` or `name:header`: a folder that holds such a file (beginning so) is stored without its content."""
    exclude_caches: bool = False
    """Folders with a CACHEDIR.TAG are stored without their content."""
    exclude_larger_than: int | None = None
    """Bytes."""
    one_file_system: bool = False
    parent: str | None = AUTO
    """The full id of a snapshot to look for changes against, AUTO, or None: read everything."""
    read_all: bool = False
    """Read files even if they look unchanged."""
    ignore_inode: bool = False
    ignore_ctime: bool = False
    with_atime: bool = False
    hostname: str | None = None
    """None: that of this machine."""
    tags: tuple[str, ...] = ()
    time: datetime | None = None
    """Aware; None: now."""
    dry_run: bool = False
    skip_if_unchanged: bool = False
    """Write no snapshot when the tree is that of the parent."""
    compression_level: int | None = 3
    """None stores blobs as they are."""
    verify: bool = True
    """Open every new blob again before it is stored, against faults of memory and processor."""
    pack_bytes: int = 16 << 20
    processes: int | None = None
    """How many processes read small files beside this one; None: as many as there are processors. 0: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupResult:
    """What came of it."""

    snapshot_id: str | None
    """None after a dry run, and when nothing changed and that was to be skipped."""
    tree: BlobId
    parent: str | None
    """The snapshot that changes were looked for against."""
    summary: Summary
    findings: tuple[Finding, ...]

    @property
    def is_incomplete(self) -> bool:
        """Whether something is missing that should be in the snapshot (restic's exit code 3)."""
        return any(finding.kind not in HARMLESS for finding in self.findings)


def back_up(
    repository: Repository,
    request: BackupRequest,
    *,
    progress: ProgressSink | None = None,
    cancelled: threading.Event | None = None,
    guard: Callable[[], None] | None = None,
) -> BackupResult:
    """Store the paths and write a snapshot of them. The index of the repository has to be loaded.

    Raises NotFound when none of the paths is there, Cancelled, and what the storage raises: then there is no snapshot,
    and what was stored already serves the next backup.
    """
    raise NotImplementedError


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
    """Store what `stream` gives as one file of that name, and a snapshot of it.

    `finish` is called after the last byte and before the snapshot: it raises when whoever wrote the stream failed
    (such as a dump with an exit status), and then there is no snapshot.
    """
    raise NotImplementedError
