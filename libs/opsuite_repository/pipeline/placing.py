"""Making room for what is restored, and writing it so that no half file stands under a name it does not deserve.

Nothing is written through a link: whatever stands where a folder has to be is no folder unless it is one itself. A file
that replaces another grows beside it and takes its name when it is complete; a new one has its name from the beginning
and loses it when it cannot be completed.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from hashlib import sha256
from typing import Final
from uuid import uuid4

from opsuite_repository.format.trees import Node, NodeType
from opsuite_repository.pipeline.findings import Finding, FindingKind, writing_failed
from opsuite_repository.pipeline.metadata import Description, description_of
from opsuite_repository.pipeline.restoring_small import Written
from opsuite_repository.pipeline.small_files import LARGEST_SMALL_BYTES, open_to_read

_HOLE_BYTES: Final = 64 << 10
_HOLE: Final = bytes(_HOLE_BYTES)
_READ_BYTES: Final = 1 << 20


class GrowingFile:
    """A file whose blobs come in any order, from any thread."""

    def __init__(
        self,
        path: bytes,
        node: Node,
        *,
        replaces: bool,
        sparse: bool,
        done: Callable[[GrowingFile, Written], None],
    ) -> None:
        self.path = path
        self.node = node
        self.written_bytes = 0
        self._growing = path + b"." + uuid4().hex[:12].encode() + b".opsuite" if replaces else path
        self._sparse = sparse
        self._done = done
        self._lock = threading.Lock()
        self._descriptor = -1
        self._missing = 1 + len(node.content or ())  # the plan of it counts as one
        self._wrong: Finding | None = None
        self._landed: Written | None = None
        self._is_handed_over = False
        """Another process may have begun to write it."""

    def take(self, offset: int, content: bytes) -> None:
        """Write a blob."""
        try:
            if self._wrong is None:
                self._write(self._opened(), offset, content)
        except OSError as error:
            self._wrong = self._wrong or writing_failed(self.path, error)
        self._arrived(len(content))

    def miss(self, why: str) -> None:
        """Give up: a blob cannot be had."""
        self._wrong = self._wrong or Finding(self.path, FindingKind.DAMAGED, why)
        self._arrived(0)

    @property
    def is_described(self) -> bool:
        """Whether it has its metadata already."""
        return self._landed is not None

    def as_small(self) -> tuple[bytes, Description] | None:
        """Path and metadata, if another process can write it at one go."""
        is_new = self._growing == self.path
        is_small = len(self.node.content or ()) == 1 and self.node.size <= LARGEST_SMALL_BYTES
        if self._sparse or not (is_new and is_small):
            return None
        self._is_handed_over = True
        return self.path, description_of(self.node)

    def landed(self, written: Written) -> None:
        """Another process has written and described it, or tried to."""
        if written.is_whole:
            self.written_bytes = self.node.size
        self._landed = written
        self._arrived(0)

    def planned(self) -> None:
        """All blobs were asked for."""
        self._arrived(0)

    def discard(self) -> None:
        """Remove what was written of it: nothing more will come."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            if self._descriptor >= 0 or self._is_handed_over:
                _unlink(self._growing)

    def _arrived(self, size: int) -> None:
        with self._lock:
            self.written_bytes += size
            self._missing -= 1
            is_last = self._missing == 0
        if is_last:
            self._finish()

    def _opened(self) -> int:
        with self._lock:
            if self._descriptor < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                self._descriptor = os.open(self._growing, flags, 0o600)
                if self._sparse:
                    os.ftruncate(self._descriptor, self.node.size)
            return self._descriptor

    def _write(self, descriptor: int, offset: int, content: bytes) -> None:
        if not self._sparse:
            _write_all(descriptor, content, offset)
            return
        view = memoryview(content)
        for at in range(0, len(view), _HOLE_BYTES):
            piece = view[at : at + _HOLE_BYTES]
            if piece != _HOLE[: len(piece)]:
                _write_all(descriptor, piece, offset + at)

    def _finish(self) -> None:
        if self._landed is not None:
            self._done(self, self._landed)
            return
        try:
            if self._wrong is None:
                self._opened()  # an empty file has no blob that would have done it
            if self._descriptor >= 0:
                os.close(self._descriptor)
            if self._wrong is None and self._growing != self.path:
                os.replace(self._growing, self.path)  # noqa: PTH105  # the path is bytes
        except OSError as error:
            self._wrong = writing_failed(self.path, error)
        if self._wrong is not None and self._descriptor >= 0:
            _unlink(self._growing)
        self._done(
            self, Written(is_damaged=False, findings=[self._wrong] if self._wrong else [], is_whole=not self._wrong)
        )


def _write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count


def _unlink(path: bytes) -> None:
    try:
        os.unlink(path)  # noqa: PTH108  # the path is bytes
    except FileNotFoundError:
        return


def status_of(path: bytes) -> os.stat_result | None:
    """What is at that path itself, links not followed; None for nothing. Raises OSError for what cannot be told."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def make_folder(path: bytes, *, replace: bool) -> bool:
    """Have a folder there, in place of what is none if that may go; whether it is new. Raises OSError."""
    found = status_of(path)
    if found is not None and stat.S_ISDIR(found.st_mode):
        return False
    if found is not None and replace:
        os.unlink(path)  # noqa: PTH108  # the path is bytes
    os.mkdir(path, 0o700)  # noqa: PTH102  # the path is bytes
    return True


def clear(path: bytes, found: os.stat_result | None, *, whole_folders: bool) -> None:
    """Have nothing there. Raises OSError, for a folder with something in it unless `whole_folders`."""
    if found is None:
        return
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(path)  # noqa: PTH108  # the path is bytes
    elif whole_folders:
        remove_folder(path)
    else:
        os.rmdir(path)  # noqa: PTH106  # the path is bytes


def remove_folder(path: bytes) -> int:
    """Remove a folder and all in it, links not followed; how many things that were. Raises OSError."""
    count = 1
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                count += remove_folder(entry.path)
            else:
                os.unlink(entry.path)  # noqa: PTH108  # the path is bytes
                count += 1
    os.rmdir(path)  # noqa: PTH106  # the path is bytes
    return count


def make_other(path: bytes, node: Node) -> bool:
    """Make a link, device or pipe; False for what cannot be made, such as a socket. Raises OSError."""
    match node.type:
        case NodeType.SYMLINK:
            os.symlink(node.link_target, path)  # noqa: PTH211  # the path is bytes
        case NodeType.FIFO:
            os.mkfifo(path, 0o600)
        case NodeType.CHAR_DEVICE:
            os.mknod(path, stat.S_IFCHR | 0o600, node.device)
        case NodeType.BLOCK_DEVICE:
            os.mknod(path, stat.S_IFBLK | 0o600, node.device)
        case _:
            return False
    return True


def holds(path: bytes, node: Node, sizes: list[int]) -> bool:
    """Whether the file has just this content, blob by blob. Raises OSError."""
    descriptor = open_to_read(path)
    try:
        for id_, size in zip(node.content or (), sizes, strict=True):
            hashed, left = sha256(), size
            while left and (piece := os.read(descriptor, min(left, _READ_BYTES))):
                hashed.update(piece)
                left -= len(piece)
            if hashed.digest() != id_:
                return False
        return not os.read(descriptor, 1)
    finally:
        os.close(descriptor)
