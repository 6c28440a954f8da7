"""Walks folders and makes trees of them, from the leaves to the root.

One thread walks. What it finds goes as batches to those who look at files, and comes back in any order; a folder is
made into a tree by whoever brings its last missing entry, and so becomes an entry of the folder above. It is in memory
from the moment it is listed until all below it is stored, and no longer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Final, NamedTuple, Protocol

from opsuite_repository.format.blobs import BlobId, BlobType, seal_blob
from opsuite_repository.format.trees import encode_node
from opsuite_repository.pipeline.findings import reading_failed
from opsuite_repository.pipeline.folders import PendingFolder, Tally
from opsuite_repository.pipeline.nodes import node_of
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.pipeline.parents import MOST_NAMES, ParentFolder, parent_folder
from opsuite_repository.pipeline.progress import Meter
from opsuite_repository.pipeline.selection import Selection, join
from opsuite_repository.pipeline.small_files import Batch, BatchResult, Deferred, Reading
from opsuite_repository.pipeline.targets import Target
from opsuite_repository.pipeline.work import Course
from opsuite_repository.repository import Repository

_CANCELLED_EVERY: Final = 0.1
"""Seconds between two looks at whether somebody has cancelled."""


class Readers(Protocol):
    """Whoever looks at files."""

    def submit(self, batch: Batch, done: Callable[[BatchResult], None]) -> None:
        """Have a batch worked on; `done` is called with the result, perhaps on another thread."""
        ...

    def submit_large(self, file: Deferred, done: Callable[[str | None], None]) -> None:
        """Have a large file stored; `done` is called with its node, or with None when it could not be read."""
        ...


class Archiver:
    """Makes the tree of one backup."""

    def __init__(
        self,
        repository: Repository,
        packer: Packer,
        reading: Reading,
        selection: Selection,
        readers: Readers,
        *,
        tally: Tally,
        meter: Meter,
        course: Course,
    ) -> None:
        self._repository = repository
        self._packer = packer
        self._reading = reading
        self._selection = selection
        self._readers = readers
        self._tally = tally
        self._meter = meter
        self._course = course
        self._tree: BlobId | None = None
        self._ended = Event()
        course.on_failure(self._ended.set)

    def walk(self, root: Target, parent: BlobId | None) -> None:
        """Start everything; the tree is complete some time after this returns. Raises what ends the course."""
        stack = [self._opened_root(root, parent)]
        while stack:
            self._course.check()
            entry = next(stack[-1].inner, None)
            if entry is None:
                stack.pop().folder.complete()
            elif (opened := self._opened(stack[-1], entry)) is not None:
                stack.append(opened)

    def wait(self) -> BlobId:
        """The tree, when all that `walk` started is done. Raises what ends the course."""
        while not self._ended.wait(_CANCELLED_EVERY):
            self._course.check()
        self._course.check()
        if self._tree is None:
            raise RuntimeError("the end was told before there was a tree")
        return self._tree

    def _opened_root(self, root: Target, parent: BlobId | None) -> _Frame:
        folder = PendingFolder(root.path, None, None, 0, {}, self._finish)
        try:
            return self._filled(folder, root, parent_folder(self._repository, parent), None)
        except OSError as error:
            self._tally.found(reading_failed(root.path or b".", error))
            return _Frame(folder, iter(()), None, None)

    def _opened(self, above: _Frame, entry: _Entry) -> _Frame | None:
        """A folder with its entries under way; None, and a finding, if it cannot be listed."""
        path = entry.target.path
        try:
            status = os.lstat(path)
            node = node_of(entry.name, path, status, with_atime=self._reading.with_atime)
            before = {} if above.parent is None else above.parent.node(entry.name)
            folder = PendingFolder(path, node, above.folder, entry.place, before, self._finish)
            parent = None if above.parent is None else above.parent.subtree(entry.name)
            is_elsewhere = above.device not in {None, status.st_dev} and self._selection.one_file_system
            target = Target(path) if is_elsewhere else entry.target
            device = status.st_dev if entry.target.selected is None else None
            return self._filled(folder, target, parent_folder(self._repository, parent), device)
        except OSError as error:
            self._tally.found(reading_failed(path, error))
            above.folder.complete()
            return None

    def _filled(self, folder: PendingFolder, target: Target, parent: ParentFolder | None, device: int | None) -> _Frame:
        """Start on everything in a folder that is no folder itself. Raises OSError, and then has started nothing."""
        if target.selected is None:
            listed = self._selection.entries(target.path or b".")
            named = [(name, is_folder, join(target.path, name)) for name, is_folder in listed]
            entries = [
                _Entry(at, name, is_folder, Target(path, None)) for at, (name, is_folder, path) in enumerate(named)
            ]
        else:
            chosen = sorted(target.selected.items())
            entries = [_Entry(at, name, _is_folder(each), each) for at, (name, each) in enumerate(chosen)]
        folder.expect(len(entries))
        files = [entry for entry in entries if not entry.is_folder]
        together = MOST_NAMES if target.selected is None else 1  # what was asked for may lie in different places
        for begin in range(0, len(files), together):
            self._start(folder, files[begin : begin + together], parent, is_all=len(files) <= together)
        return _Frame(folder, iter([entry for entry in entries if entry.is_folder]), parent, device)

    def _start(self, folder: PendingFolder, files: list[_Entry], parent: ParentFolder | None, *, is_all: bool) -> None:
        names = [file.name for file in files]
        before = None if parent is None else parent.part(names, is_all=is_all)
        place = files[0].target.path[: -len(names[0])] or b"."
        places = [file.place for file in files]
        self._readers.submit(Batch(place, names, before), partial(self._landed, folder, places))

    def _landed(self, folder: PendingFolder, places: list[int], result: BatchResult) -> None:
        """Take the result of a batch in."""
        self._tally.add(result)
        files = result.files_new + result.files_changed + result.files_unmodified
        self._meter.add(files=files, size_bytes=result.size_bytes, current=folder.path)
        ready = 0
        for place, node in zip(places, result.nodes, strict=True):
            if isinstance(node, Deferred):
                self._readers.submit_large(node, partial(self._landed_large, folder, place))
            else:
                folder.nodes[place] = node
                ready += 1
        folder.complete(ready)

    def _landed_large(self, folder: PendingFolder, place: int, node: str | None) -> None:
        folder.nodes[place] = node
        folder.complete()

    def _finish(self, folder: PendingFolder) -> None:
        """Store the tree of a folder that has all its entries."""
        if self._course.has_failed:
            return
        tree = self._stored(folder.encode())
        if folder.node is None or folder.above is None:
            self._tree = tree
            self._ended.set()
            return
        folder.node.subtree = tree
        text = encode_node(folder.node)
        self._tally.add_folder(is_new=not folder.before, is_unmodified=folder.before.get("subtree") == tree.hex())
        folder.above.nodes[folder.place] = text
        folder.above.complete()

    def _stored(self, plain: bytes) -> BlobId:
        id_ = sha256(plain).digest()
        if self._packer.claim(BlobType.TREE, id_):
            level, verify = self._reading.level, self._reading.verify
            self._packer.add(
                seal_blob(self._repository.sealer, BlobType.TREE, plain, id_=id_, level=level, verify=verify)
            )
        return id_


class _Entry(NamedTuple):
    """One entry of a folder that is being listed."""

    place: int
    name: bytes
    is_folder: bool
    target: Target


class _Frame(NamedTuple):
    """A folder the walk is in, and which of the folders in it come next."""

    folder: PendingFolder
    inner: Iterator[_Entry]
    parent: ParentFolder | None
    device: int | None
    """Of the file system the walk is in; None above what was asked for."""


def _is_folder(target: Target) -> bool:
    path = Path(os.fsdecode(target.path))
    return target.selected is not None or (path.is_dir() and not path.is_symlink())
