"""Where a repository's files lie: the few things that every place, from a folder to a bucket, has to be able to do.

Files are written once and never changed. Every file but the config is named by the lower-case hexadecimal SHA-256 of
its bytes, which is what makes repeated writes harmless. Layout: restic's design document, "Repository Layout".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

CONFIG_NAME: Final = "config"
"""The name of the one file of the kind `CONFIG`."""

_NAME: Final = re.compile(r"[0-9a-f]{64}")


class FileType(StrEnum):
    """What a file is for; the value is the name of its folder (of the file itself, for the config)."""

    CONFIG = "config"
    KEY = "keys"
    DATA = "data"
    INDEX = "index"
    SNAPSHOT = "snapshots"
    LOCK = "locks"


class StoredFile(NamedTuple):
    """One line of a listing."""

    name: str
    size: int


class Storage(Protocol):
    """A place for the files of one repository. Safe to use from several threads at once.

    Adapters repeat what is worth repeating, a bounded number of times. What they raise are kinds of
    `opsuite_repository.errors`: FileMissing, AlreadyExists, StorageDenied, StorageFull, StorageUnavailable, Damaged.
    """

    def list(self, kind: FileType) -> Iterator[StoredFile]:
        """Every complete file of that kind, in no order. One that comes or goes meanwhile may be in it or not."""
        ...

    def read(self, kind: FileType, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes from `offset` on, `length` of them or up to the end; never fewer than asked for.

        Raises FileMissing; Damaged, when the file ends before `offset + length`, and, for a file that is read as a
        whole (neither offset nor length given), when its content is not what its name says. To get at the bytes of
        a damaged file, give its size as the length.
        """
        ...

    def size(self, kind: FileType, name: str) -> int:
        """How many bytes the file holds. Raises FileMissing."""
        ...

    def write(self, kind: FileType, name: str, data: bytes | bytearray | memoryview, *, create: bool = True) -> None:
        """Store the whole file or nothing: it is durable when this returns, and nobody ever sees a part of it.

        A file that is there with the same content is left alone. With other content: AlreadyExists when `create`,
        otherwise the new content takes its place at once (only for repair).
        """
        ...

    def delete(self, kind: FileType, name: str) -> None:
        """Remove the file for good; one that is missing already is fine."""
        ...

    def now(self) -> datetime | None:
        """The time by the clock of the place itself (aware, UTC), or None where it has none of its own."""
        ...

    def close(self) -> None:
        """Give back connections. Nothing else may be called afterwards."""
        ...


def is_name(kind: FileType, name: str) -> bool:
    """Whether a file of that kind can be called so; everything else in the repository's folders is somebody else's."""
    return name == CONFIG_NAME if kind is FileType.CONFIG else _NAME.fullmatch(name) is not None


def path_of(kind: FileType, name: str) -> str:
    """The path of a file inside its repository, with slashes: packs are spread over 256 folders."""
    if not is_name(kind, name):
        raise ValueError(f"no file of the kind {kind} can be called {name!r}")
    match kind:
        case FileType.CONFIG:
            return CONFIG_NAME
        case FileType.DATA:
            return f"{kind}/{name[:2]}/{name}"
        case _:
            return f"{kind}/{name}"
