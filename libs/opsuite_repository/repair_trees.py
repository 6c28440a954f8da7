"""Snapshots that refer to what is lost, written anew without it.

As restic's `repair snapshots`: a file keeps the parts that are there, and its size is what is left; a directory that
is lost becomes an empty one. Everything that changed is told by its path. The new snapshot has the tag `repaired` and
names the old one as its original, so that nobody takes it for what was backed up.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from opsuite_repository.errors import Damaged, Malformed
from opsuite_repository.format.blobs import BlobId, BlobType, seal_blob
from opsuite_repository.format.sealing import OVERHEAD_BYTES
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.format.trees import Node, NodeType, decode_tree, encode_tree
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.pipeline.work import Course
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType

REPAIRED_TAG: Final = "repaired"
_MOST_CHANGES: Final = 10_000
"""So many changes below one directory are told."""


class Change(NamedTuple):
    """What the replacement does not have."""

    path: str
    """Inside the snapshot; "" for its root."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairedSnapshot:
    """A snapshot that was not whole."""

    id: str
    replacement: str | None
    """None: nothing of it is left, or it was a dry run."""
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRepair:
    """What came of the snapshots."""

    repaired: tuple[RepairedSnapshot, ...]
    whole: tuple[str, ...]
    """Snapshots that lack nothing."""
    unreadable: tuple[Damaged, ...]
    """Snapshot files that cannot be read; removed if that was wanted."""


def repair_snapshots(
    repository: Repository,
    names: Iterable[str] | None = None,
    *,
    forget: bool = True,
    remove_unreadable: bool = False,
    dry_run: bool = False,
    cancelled: threading.Event | None = None,
    guard: Callable[[], None] | None = None,
) -> SnapshotRepair:
    """Replace those of the named snapshots (None: of all) that are not whole. The index has to be loaded, and right.

    `forget` removes the broken ones once the new ones are written.
    """
    course = Course(cancelled, guard)
    wanted = None if names is None else set(names)
    found, unreadable = _snapshots(repository, wanted)
    with Packer(repository, dry_run=dry_run) as packer:
        mender = _Mender(repository, packer, course)
        mended = {name: mender.mend(snapshot) for name, snapshot in found.items()}
    repaired, whole = [], []
    for name, tree in mended.items():
        if tree.id == found[name].tree and not tree.changes:
            whole.append(name)
            continue
        course.check()
        replacement = None if dry_run or tree.id is None else _replace(repository, name, found[name], tree.id)
        repaired.append(RepairedSnapshot(id=name, replacement=replacement, changes=tuple(tree.changes)))
        if forget and not dry_run:
            repository.storage.delete(FileType.SNAPSHOT, name)
    for name in unreadable if remove_unreadable and not dry_run else ():
        course.check()
        repository.storage.delete(FileType.SNAPSHOT, name)
    return SnapshotRepair(repaired=tuple(repaired), whole=tuple(whole), unreadable=tuple(unreadable.values()))


def _snapshots(repository: Repository, wanted: set[str] | None) -> tuple[dict[str, Snapshot], dict[str, Damaged]]:
    names = wanted or {file.name for file in repository.storage.list(FileType.SNAPSHOT)}
    found: dict[str, Snapshot] = {}
    unreadable: dict[str, Damaged] = {}
    for name in sorted(names):
        try:
            found[name] = repository.read_snapshot(name)
        except Damaged as error:
            unreadable[name] = error
    return found, unreadable


def _replace(repository: Repository, name: str, snapshot: Snapshot, tree: BlobId) -> str:
    tags = tuple(dict.fromkeys((*snapshot.tags, REPAIRED_TAG)))
    new = replace(snapshot, tree=tree, tags=tags, original=snapshot.original or name, parent=None)
    return repository.write_document(FileType.SNAPSHOT, new.encode())


@dataclass(frozen=True, slots=True)
class _Mended:
    """What became of a tree: its new id (None: nothing is left), and what is missing, by paths below it."""

    id: BlobId | None
    changes: tuple[Change, ...] = ()


class _Mender:
    """Writes trees anew; each is looked at once, however many snapshots have it."""

    def __init__(self, repository: Repository, packer: Packer, course: Course) -> None:
        self._repository = repository
        self._packer = packer
        self._course = course
        self._done: dict[BlobId, _Mended] = {}

    def mend(self, snapshot: Snapshot) -> _Mended:
        return self._mended(snapshot.tree)

    def _mended(self, id_: BlobId) -> _Mended:
        if id_ not in self._done:
            self._done[id_] = self._mend(id_)
        return self._done[id_]

    def _mend(self, id_: BlobId) -> _Mended:
        self._course.check()
        try:
            nodes = decode_tree(self._repository.read_blob(BlobType.TREE, id_))
        except (Damaged, Malformed) as error:
            return _Mended(None, (Change("", error.message),))
        kept: list[Node] = []
        changes: list[Change] = []
        for node in sorted(nodes, key=lambda node: node.name):
            if kept and kept[-1].name == node.name:
                changes.append(Change(f"/{os.fsdecode(node.name)}", "a second entry of that name was left out"))
                continue
            kept.append(self._mended_node(node, changes))
        if not changes:
            return _Mended(id_)
        return _Mended(self._stored(kept), tuple(changes[:_MOST_CHANGES]))

    def _mended_node(self, node: Node, changes: list[Change]) -> Node:
        path = f"/{os.fsdecode(node.name)}"
        if node.type is NodeType.DIR:
            lost = _Mended(None, (Change("", "it has no tree"),))
            below = lost if node.subtree is None else self._mended(node.subtree)
            changes += [change._replace(path=path + change.path) for change in below.changes]
            return replace(node, subtree=self._stored([]) if below.id is None else below.id)
        if node.type is NodeType.FILE:
            return self._mended_file(node, path, changes)
        return node

    def _mended_file(self, node: Node, path: str, changes: list[Change]) -> Node:
        content = node.content or ()
        places = [self._repository.index.find(BlobType.DATA, blob) for blob in content]
        if node.content is not None and None not in places:
            return node
        kept = tuple(blob for blob, place in zip(content, places, strict=True) if place is not None)
        size = sum(place.uncompressed_length or place.length - OVERHEAD_BYTES for place in places if place is not None)
        changes.append(Change(path, f"{node.size - size} of {node.size} bytes are lost"))
        return replace(node, content=kept, size=size)

    def _stored(self, nodes: list[Node]) -> BlobId:
        level = 3 if self._repository.config.version > 1 else None
        sealed = seal_blob(self._repository.sealer, BlobType.TREE, encode_tree(nodes), level=level)
        if self._packer.claim(BlobType.TREE, sealed.id):
            self._packer.add(sealed)
        return sealed.id
