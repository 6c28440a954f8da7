"""What to back up and how, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from opsuite_repository.format.blobs import BlobId
from opsuite_repository.format.compression import DEFAULT_LEVEL
from opsuite_repository.format.packs import DEFAULT_PACK_BYTES
from opsuite_repository.format.snapshots import Summary
from opsuite_repository.pipeline.findings import HARMLESS, Finding

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
    compression_level: int | None = DEFAULT_LEVEL
    """None stores blobs as they are."""
    verify: bool = True
    """Open every new blob again before it is stored, against faults of memory and processor."""
    pack_bytes: int = DEFAULT_PACK_BYTES


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
