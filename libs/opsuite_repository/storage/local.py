"""A repository in a folder.

A file grows under `tmp/`, is forced to disk, made read-only and only then linked to its name; after that the folder is
forced to disk too. Whoever dies in between leaves a nameless file in `tmp/`: nobody reads it, a later open removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

from opsuite_kernel.errors import OpsuiteError
from opsuite_repository.errors import (
    AlreadyExists,
    Damaged,
    FileMissing,
    StorageDenied,
    StorageFull,
    StorageUnavailable,
)
from opsuite_repository.storage.checks import checked
from opsuite_repository.storage.port import CONFIG_NAME, FileType, StoredFile, is_name, path_of

TEMPORARY: Final = "tmp"
ABANDONED_AFTER: Final = 24 * 3600.0
"""Seconds without a change after which a temporary file has no writer any more."""

_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class LocalStorage:
    """Storage in a folder of this machine, laid out like restic's local repositories."""

    def __init__(self, root: Path) -> None:
        self.root = root
        remove_abandoned(root / TEMPORARY, before=time.time() - ABANDONED_AFTER)

    def list(self, kind: FileType) -> Iterator[StoredFile]:
        """List what is in the folders of that kind and named as such files are."""
        if kind is FileType.CONFIG:
            with contextlib.suppress(FileMissing):
                yield StoredFile(CONFIG_NAME, self.size(kind, CONFIG_NAME))
        elif kind is FileType.DATA:
            for folder in _entries(self.root / kind):
                yield from _files(kind, Path(folder.path)) if len(folder.name) == 2 else ()
        else:
            yield from _files(kind, self.root / kind)

    def read(self, kind: FileType, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read from the file itself, never from a mapping: a file that is cut short meanwhile must not kill us."""
        path = self.path(kind, name)
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(offset)
                data = file.readall() if length is None else _read_up_to(file.fileno(), length)
        except OSError as error:
            raise translated(error, path_of(kind, name)) from error
        return checked(kind, name, data, offset, length)

    def size(self, kind: FileType, name: str) -> int:
        """Ask the file system."""
        try:
            return self.path(kind, name).stat().st_size
        except OSError as error:
            raise translated(error, path_of(kind, name)) from error

    def write(self, kind: FileType, name: str, data: bytes | bytearray | memoryview, *, create: bool = True) -> None:
        """Store durably; two writers of one name are both right when they bring the same content."""
        if create and self._holds(kind, name, data):
            force_folder(self.path(kind, name).parent)  # its writer may have died before doing so
            return
        with self.incoming(kind, name) as incoming:
            incoming.write(data)
            try:
                incoming.publish(replace=not create)
            except AlreadyExists:
                if not self._holds(kind, name, data):  # else another writer was as fast with the same content
                    raise

    def delete(self, kind: FileType, name: str) -> None:
        """Remove the name, durably."""
        path = self.path(kind, name)
        try:
            path.unlink()
            force_folder(path.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise translated(error, path_of(kind, name)) from error

    def now(self) -> None:
        """Return None: the clock is that of this machine, or not known."""

    def close(self) -> None:
        """There is nothing to give back."""

    def path(self, kind: FileType, name: str) -> Path:
        """Where the file lies, or would lie."""
        return self.root / path_of(kind, name)

    def incoming(self, kind: FileType, name: str) -> Incoming:
        """A file to fill piece by piece; invisible until it is published."""
        return Incoming(self.root, kind, name)

    def _holds(self, kind: FileType, name: str, data: bytes | bytearray | memoryview) -> bool:
        """Whether the file is there with just this content. Raises AlreadyExists when the content is another."""
        try:
            same = self.size(kind, name) == len(data) and self.read(kind, name, 0, len(data)) == data
        except FileMissing:
            return False
        except Damaged:  # became shorter meanwhile: certainly another content
            same = False
        if not same:
            raise AlreadyExists(path_of(kind, name))
        return True


class Incoming:
    """A file on its way into a folder. Use it in a `with`: what was not published by its end is thrown away."""

    def __init__(self, root: Path, kind: FileType, name: str) -> None:
        self._root = root
        self._file = path_of(kind, name)
        self._target = root / self._file
        self._temporary = root / TEMPORARY / uuid4().hex
        self._descriptor = -1

    def __enter__(self) -> Self:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            make_folders(self._temporary.parent, self._root)
            self._descriptor = os.open(self._temporary, flags, 0o600)
        except OSError as error:
            raise translated(error, self._file) from error
        return self

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append these bytes."""
        rest = memoryview(data).cast("B")
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise translated(error, self._file) from error

    def publish(self, *, replace: bool = False) -> None:
        """Give the file its name, durably. Raises AlreadyExists unless it may `replace` what is there."""
        try:
            os.fchmod(self._descriptor, _file_mode(self._root))
            os.fsync(self._descriptor)
            make_folders(self._target.parent, self._root)
            if replace:
                self._temporary.replace(self._target)
            else:
                self._link()
            force_folder(self._target.parent)
        except FileExistsError as error:
            raise AlreadyExists(self._file) from error
        except OSError as error:
            raise translated(error, self._file) from error

    def _link(self) -> None:
        """Name the file unless the name is taken; a file system without hard links leaves a moment in between."""
        try:
            os.link(self._temporary, self._target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if self._target.exists():
                raise FileExistsError(errno.EEXIST, "exists", str(self._target)) from error
            self._temporary.rename(self._target)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
        with contextlib.suppress(OSError):  # a leftover is harmless: nobody reads it, and a later open removes it
            self._temporary.unlink(missing_ok=True)


def translated(error: OSError, file: str) -> OpsuiteError:
    """The kind of error that the operating system's error means for a repository."""
    message = f"{file}: {error.strerror or error}"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return FileMissing(file)
    if error.errno in _FULL:
        return StorageFull(message)
    if error.errno in _DENIED:
        return StorageDenied(message)
    return StorageUnavailable(message)


def remove_abandoned(folder: Path, *, before: float) -> None:
    """Remove temporary files that nobody has written to since that time (seconds since 1970)."""
    with contextlib.suppress(OSError):  # tidying must not keep anybody from reading
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mtime < before:
                    Path(entry.path).unlink()


def force_folder(folder: Path) -> None:
    """Force the names in a folder to disk: without it a power cut can take back a rename."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot, and need not
            raise
    finally:
        os.close(descriptor)


def make_folders(folder: Path, root: Path) -> None:
    """Make a folder and what is missing above it, each name forced to disk."""
    if folder.is_dir():
        return
    make_folders(folder.parent, root)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o770 if _is_shared(root) else 0o700)
    force_folder(folder.parent)


def _is_shared(root: Path) -> bool:
    """Whether a group may read the repository: like restic, files follow the config in this."""
    try:
        return bool(stat.S_IMODE((root / CONFIG_NAME).stat().st_mode) & stat.S_IRGRP)
    except OSError:
        return False


def _file_mode(root: Path) -> int:
    return 0o440 if _is_shared(root) else 0o400


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise translated(error, folder.name) from error


def _files(kind: FileType, folder: Path) -> Iterator[StoredFile]:
    for entry in _entries(folder):
        if is_name(kind, entry.name):
            try:
                found = entry.stat()
            except FileNotFoundError:  # deleted since the folder was read
                continue
            except OSError as error:
                raise translated(error, path_of(kind, entry.name)) from error
            if stat.S_ISREG(found.st_mode):
                yield StoredFile(entry.name, found.st_size)


def _read_up_to(descriptor: int, length: int) -> bytes:
    """That many bytes, or all there are: one read call returns at most 2 GiB, and less on some file systems."""
    first = os.read(descriptor, length)
    pieces = [first]
    missing = length - len(first)
    while missing and pieces[-1]:
        pieces.append(os.read(descriptor, missing))
        missing -= len(pieces[-1])
    return first if len(pieces) == 1 else b"".join(pieces)
