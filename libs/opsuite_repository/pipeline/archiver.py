"""Walks folders and makes trees of them, from the leaves to the root.

One thread walks. What it finds goes as batches to those who look at files, and comes back in any order; a folder is
made into a tree by whoever brings its last missing entry, and so becomes an entry of the folder above. It is in memory
from the moment it is listed until all below it is stored, and no longer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Final, NamedTuple, Protocol

from opsuite_repository.format.blobs import BlobId, BlobType, seal_blob
from opsuite_repository.format.trees import encode_node
from opsuite_repository.pipeline.findings import reading_failed
from opsuite_repository.pipeline.folder_cache import Fingerprint, FolderCache, RememberedFolder, digest_of
from opsuite_repository.pipeline.folders import PendingFolder, Tally
from opsuite_repository.pipeline.nodes import node_of
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.pipeline.parents import MOST_NAMES, ParentFolder
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
        cache: FolderCache | None = None,
    ) -> None:
        self._repository = repository
        self._packer = packer
        self._reading = reading
        self._selection = selection
        self._readers = readers
        self._tally = tally
        self._meter = meter
        self._course = course
        self._cache = cache
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
                self._completed(stack.pop().folder)
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
        folder = PendingFolder(root.path, None, None, 0, parent)
        frame = _Frame(folder, iter(()), ParentFolder(self._repository, parent), None)
        try:
            return self._filled(frame, root)
        except OSError as error:
            self._tally.found(reading_failed(root.path or b".", error))
            return frame

    def _opened(self, above: _Frame, entry: _Entry) -> _Frame | None:
        """A folder with its entries under way; None, and a finding, if it cannot be listed."""
        path = entry.target.path
        try:
            status = os.lstat(path)
            node = node_of(entry.name, path, status, with_atime=self._reading.with_atime)
            remembered = self._cache.known(path) if self._cache else None
            before = remembered.tree if remembered else above.parent.subtree(entry.name)
            folder = PendingFolder(path, node, above.folder, entry.place, before)
            is_elsewhere = above.device not in {None, status.st_dev} and self._selection.one_file_system
            device = status.st_dev if entry.target.selected is None else None
            frame = _Frame(folder, iter(()), ParentFolder(self._repository, before), device)
            return self._filled(frame, Target(path) if is_elsewhere else entry.target)
        except OSError as error:
            self._tally.found(reading_failed(path, error))
            self._completed(above.folder)
            return None

    def _filled(self, frame: _Frame, target: Target) -> _Frame:
        """Start on everything in a folder that is no folder itself. Raises OSError, and then has started nothing."""
        folder = frame.folder
        listing = self._listed(target) if target.selected is None else _chosen(target.selected)
        folder.expect(listing.names, [entry.place for entry in listing.folders])
        if self._cache and target.selected is None:
            base, places = listing.files[0]
            folder.files = self._cache.fingerprint(base, [listing.names[place] for place in places])
            folder.unchanged = self._cache.known(folder.path)
        if folder.unchanged and folder.unchanged.files == folder.files:
            self._pass_over(folder, folder.unchanged.files, len(listing.files[0][1]))
        else:
            folder.unchanged = None
            for base, places in listing.files:
                self._start(frame, base, places)
        return frame._replace(inner=iter(listing.folders))

    def _listed(self, target: Target) -> _Listing:
        listed = self._selection.entries(target.path or b".")
        names = [name for name, _ in listed]
        folders = [
            _Entry(place, name, Target(join(target.path, name), None))
            for place, (name, is_folder) in enumerate(listed)
            if is_folder
        ]
        files = [place for place, (_, is_folder) in enumerate(listed) if not is_folder]
        return _Listing(names, folders, [(join(target.path or b".", b""), files)])

    def _pass_over(self, folder: PendingFolder, files: Fingerprint, count: int) -> None:
        """Count the files of a folder in which none has changed."""
        self._tally.add(BatchResult(files_unmodified=files.files, size_bytes=files.size_bytes))
        self._meter.add(files=files.files, size_bytes=files.size_bytes, current=folder.path)
        self._completed(folder, count)

    def _start(self, frame: _Frame, base: bytes, places: list[int]) -> None:
        for begin in range(0, len(places), MOST_NAMES):
            some = places[begin : begin + MOST_NAMES]
            names = [frame.folder.names[place] for place in some]
            before = frame.parent.part(names, is_all=len(places) <= MOST_NAMES)
            self._readers.submit(Batch(base, names, before), partial(self._landed, frame.folder, some))

    def _landed(self, folder: PendingFolder, places: list[int], result: BatchResult) -> None:
        """Take the result of a batch in."""
        self._tally.add(result)
        files = result.files_new + result.files_changed + result.files_unmodified
        self._meter.add(files=files, size_bytes=result.size_bytes, current=folder.path)
        if result.findings:
            folder.files = None
        ready = 0
        for place, node in zip(places, result.nodes, strict=True):
            if isinstance(node, Deferred):
                self._readers.submit_large(node, partial(self._landed_large, folder, place))
            else:
                folder.nodes[place] = node
                ready += 1
        self._completed(folder, ready)

    def _landed_large(self, folder: PendingFolder, place: int, node: str | None) -> None:
        folder.nodes[place] = node
        if node is None:
            folder.files = None
        self._completed(folder)

    def _completed(self, folder: PendingFolder, count: int = 1) -> None:
        """So many entries have come. If they were the last, make the tree, and those above that waited only for it."""
        while folder.complete(count) and not self._course.has_failed:
            tree = self._tree_of(folder)
            if folder.node is None or folder.above is None:
                self._tree = tree
                self._ended.set()
                return
            folder.node.subtree = tree
            self._tally.add_folder(is_new=folder.before is None, is_unmodified=folder.before == tree)
            folder.above.nodes[folder.place] = encode_node(folder.node)
            folder, count = folder.above, 1

    def _tree_of(self, folder: PendingFolder) -> BlobId:
        if self._cache is None:
            return self._stored(folder.encode())
        folders = digest_of(folder.nodes[place] for place in folder.folders)
        if folder.unchanged and folder.unchanged.folders == folders:
            tree = folder.unchanged.tree
        else:
            if folder.unchanged:
                self._recall_files(folder, folder.unchanged.tree)
            tree = self._stored(folder.encode())
        if folder.files is not None:
            self._cache.remember(folder.path, RememberedFolder(folder.files, folders, tree))
        return tree

    def _recall_files(self, folder: PendingFolder, tree: BlobId) -> None:
        """Take the nodes of files from the last backup: none of them has changed, but a folder beside them has."""
        nodes = {node.name: encode_node(node) for node in self._repository.read_tree(tree)}
        for place in set(range(len(folder.names))).difference(folder.folders):
            folder.nodes[place] = nodes.get(folder.names[place])

    def _stored(self, plain: bytes) -> BlobId:
        id_ = sha256(plain).digest()
        if self._packer.claim(BlobType.TREE, id_):
            level, verify = self._reading.level, self._reading.verify
            self._packer.add(
                seal_blob(self._repository.sealer, BlobType.TREE, plain, id_=id_, level=level, verify=verify)
            )
        return id_


class _Entry(NamedTuple):
    """A folder in a folder that is being listed."""

    place: int
    name: bytes
    target: Target


class _Listing(NamedTuple):
    """What is in a folder."""

    names: list[bytes]
    folders: list[_Entry]
    files: list[tuple[bytes, list[int]]]
    """Places of all others, with the path before their names: what was asked for may lie in different folders."""


class _Frame(NamedTuple):
    """A folder the walk is in, and which of the folders in it come next."""

    folder: PendingFolder
    inner: Iterator[_Entry]
    parent: ParentFolder
    device: int | None
    """Of the file system the walk is in; None above what was asked for."""


def _chosen(selected: Mapping[bytes, Target]) -> _Listing:
    """What was asked for in a folder."""
    chosen = sorted(selected.items())
    folders = [_Entry(place, name, each) for place, (name, each) in enumerate(chosen) if _is_folder(each)]
    others = set(range(len(chosen))).difference(entry.place for entry in folders)
    files = [(chosen[place][1].path[: -len(chosen[place][0])] or b"./", [place]) for place in sorted(others)]
    return _Listing([name for name, _ in chosen], folders, files)


def _is_folder(target: Target) -> bool:
    path = Path(os.fsdecode(target.path))
    return target.selected is not None or (path.is_dir() and not path.is_symlink())
