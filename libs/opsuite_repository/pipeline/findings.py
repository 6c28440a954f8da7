"""What went wrong with single files while the whole went on, told as data."""

from __future__ import annotations

import errno
import os
from enum import StrEnum
from typing import Final, NamedTuple

from opsuite_kernel.errors import OpsuiteError


class FindingKind(StrEnum):
    """What happened to one path."""

    MISSING = "missing"
    """A path that was asked for is not there."""
    VANISHED = "vanished"
    """It was listed, and gone when it was to be read. Nothing is lost: a moment later it would not have been listed."""
    DENIED = "denied"
    """Permissions, or what only root may do."""
    CHANGED_WHILE_READ = "changed_while_read"
    """It was written to meanwhile: what is stored may be a mixture of before and after."""
    UNREADABLE = "unreadable"
    """The source could not be read for another reason."""
    DAMAGED = "damaged"
    """A blob that it needs is missing from the repository or damaged."""
    NOT_WRITTEN = "not_written"
    """The target could not be written."""
    DIFFERENT = "different"
    """Read again after it was written, the target is not what the snapshot says."""


HARMLESS: Final = frozenset({FindingKind.VANISHED, FindingKind.CHANGED_WHILE_READ})
"""Kinds after which a backup still holds all that it should."""

_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM})


class Finding(NamedTuple):
    """One thing that went wrong."""

    path: bytes
    """On this machine, or inside the snapshot where there is no such."""
    kind: FindingKind
    why: str

    def __str__(self) -> str:
        return f"{os.fsdecode(self.path)}: {self.kind.value}: {self.why}".encode(errors="backslashreplace").decode()


def reading_failed(path: bytes, error: OSError) -> Finding:
    """The finding that an error of the operating system means for a file that was to be read."""
    kind = FindingKind.UNREADABLE
    if error.errno in _GONE:
        kind = FindingKind.VANISHED
    elif error.errno in _DENIED:
        kind = FindingKind.DENIED
    return Finding(path, kind, error.strerror or str(error))


def writing_failed(path: bytes, error: OSError | OpsuiteError) -> Finding:
    """The finding that an error means for a file that was to be written."""
    if isinstance(error, OpsuiteError):
        return Finding(path, FindingKind.DAMAGED, error.message)
    kind = FindingKind.DENIED if error.errno in _DENIED else FindingKind.NOT_WRITTEN
    return Finding(path, kind, error.strerror or str(error))
