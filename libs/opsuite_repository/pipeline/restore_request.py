"""What to restore and how, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from opsuite_repository.pipeline.findings import Finding


class Overwrite(StrEnum):
    """What to do with a file that is there already."""

    ALWAYS = "always"
    """Give it the content and metadata of the snapshot."""
    IF_CHANGED = "if-changed"
    """The same, but believe that the content is right where size and time of change are."""
    IF_NEWER = "if-newer"
    """Only when the file in the snapshot was changed later."""
    NEVER = "never"


class Ownership(StrEnum):
    """Whose the restored files are."""

    IDS = "ids"
    """The numbers that the snapshot holds."""
    NAMES = "names"
    """Whoever has the name here that the owner had there; the numbers where nobody has."""
    NONE = "none"
    """Whoever restores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """What to restore, where, and how."""

    target: Path
    """The folder that becomes the root of the snapshot. Made if it is missing."""
    subfolder: bytes = b"/"
    """A folder of the snapshot that is to be the root instead; a single file is put into the target."""
    includes: tuple[str, ...] = ()
    """Patterns as restic's `--include`; empty: everything."""
    excludes: tuple[str, ...] = ()
    case_insensitive_includes: tuple[str, ...] = ()
    case_insensitive_excludes: tuple[str, ...] = ()
    overwrite: Overwrite = Overwrite.ALWAYS
    delete: bool = False
    """Remove what is in restored folders and not in the snapshot."""
    sparse: bool = False
    """Leave holes where the content is nothing but zeroes."""
    ownership: Ownership = Ownership.IDS
    extended_attributes: bool = True
    verify: bool = False
    """Read everything again afterwards and compare."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreResult:
    """What came of it."""

    files_restored: int
    files_unchanged: int
    """Left alone, because they were right already or not to be overwritten."""
    folders_restored: int
    others_restored: int
    """Links, devices, pipes."""
    deleted: int
    bytes_restored: int
    files_verified: int
    findings: tuple[Finding, ...]
