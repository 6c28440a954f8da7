"""What changed from one snapshot to another.

Source: restic's cmd/restic/cmd_diff.go. Trees that are equal are not looked into twice: their ids say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

from opsuite_repository.errors import Damaged
from opsuite_repository.format.blobs import BlobId, BlobType
from opsuite_repository.format.times import Instant
from opsuite_repository.format.trees import Node, NodeType
from opsuite_repository.repository import Repository
from opsuite_repository.snapshot_walk import Broken
from opsuite_repository.stats import content_bytes

Blob = tuple[BlobType, BlobId]
_Work: TypeAlias = "Iterator[_Work]"


class Change(NamedTuple):
    """One entry that is not the same."""

    path: bytes
    """With a slash at the end for a folder."""
    modifier: str
    """`+` added, `-` removed, `T` another kind, `M` other content (`M?`: of a file that should not have changed, since
    nothing else of it did), `U` other metadata; several can stand together."""


@dataclass(slots=True)
class Side:
    """What was added, or removed; bytes of blobs before compression."""

    files: int = 0
    dirs: int = 0
    others: int = 0
    data_blobs: int = 0
    tree_blobs: int = 0
    size: int = 0

    def add(self, node: Node) -> None:
        """Count an entry."""
        self.files += node.type is NodeType.FILE
        self.dirs += node.type is NodeType.DIR
        self.others += node.type not in (NodeType.FILE, NodeType.DIR)


@dataclass(slots=True)
class Difference:
    """What was counted."""

    changed_files: int = 0
    added: Side = field(default_factory=Side)
    removed: Side = field(default_factory=Side)


def diff(
    repository: Repository,
    one: BlobId,
    other: BlobId,
    *,
    found: Callable[[Change], None],
    broken: Callable[[Broken], None] | None = None,
    metadata: bool = False,
) -> Difference:
    """Tell `found` every change between two trees, in the order of a walk. The index has to be loaded.

    Raises Damaged for what cannot be read, unless `broken` is there to be told.
    """
    comparing = _Comparing(repository, found, broken, metadata=metadata)
    _do(comparing.compare(b"/", one, other))
    comparing.count_blobs()
    return comparing.result


def _do(work: _Work) -> None:
    """Do work that gives further work, which is done first: as if it had called it, however deep folders are."""
    stack = [work]
    while stack:
        further = next(stack[-1], None)
        if further is None:
            stack.pop()
        else:
            stack.append(further)


class _Comparing:
    def __init__(
        self,
        repository: Repository,
        found: Callable[[Change], None],
        broken: Callable[[Broken], None] | None,
        *,
        metadata: bool,
    ) -> None:
        self._repository = repository
        self._found = found
        self._broken = broken
        self._metadata = metadata
        self._before: set[Blob] = set()
        self._after: set[Blob] = set()
        self._common: set[Blob] = set()
        self.result = Difference()

    def compare(self, at: bytes, one: BlobId, other: BlobId) -> _Work:
        """Compare two folders."""
        self._before.add((BlobType.TREE, one))
        self._after.add((BlobType.TREE, other))
        if one == other:
            yield self._collect(at, one)
            return
        for before, after in _pairs(self._nodes(at, one), self._nodes(at, other)):
            if before is not None:
                self._before.update(_blobs(before))
            if after is not None:
                self._after.update(_blobs(after))
            if before is not None and after is not None:
                yield self._both(at, before, after)
            elif before is not None:
                yield self._only(at, before, "-", self.result.removed, self._before)
            elif after is not None:
                yield self._only(at, after, "+", self.result.added, self._after)

    def _both(self, at: bytes, before: Node, after: Node) -> _Work:
        path = at + _name(after)
        modifier = "T" if before.type is not after.type else ""
        if before.type is after.type is NodeType.FILE and before.content != after.content:
            self.result.changed_files += 1
            is_silent = _comparable(replace(before, content=None)) == _comparable(replace(after, content=None))
            modifier += "M?" if is_silent else "M"
        elif self._metadata and _comparable(before) != _comparable(after):
            modifier += "U"
        if modifier:
            self._found(Change(path, modifier))
        if before.subtree is not None and after.subtree is not None:
            yield self.compare(path, before.subtree, after.subtree)

    def _only(self, at: bytes, node: Node, modifier: str, side: Side, blobs: set[Blob]) -> _Work:
        path = at + _name(node)
        self._found(Change(path, modifier))
        side.add(node)
        blobs.update(_blobs(node))
        if node.subtree is not None:
            for entry in self._nodes(path, node.subtree):
                yield self._only(path, entry, modifier, side, blobs)

    def _collect(self, at: bytes, tree: BlobId) -> _Work:
        """Note what both have, so that it counts neither as added nor as removed where it appears elsewhere."""
        if (BlobType.TREE, tree) in self._common:
            return
        self._common.add((BlobType.TREE, tree))
        for node in self._nodes(at, tree):
            self._common.update(blob for blob in _blobs(node) if blob[0] is BlobType.DATA)
            if node.subtree is not None:
                yield self._collect(at + _name(node), node.subtree)

    def _nodes(self, at: bytes, tree: BlobId) -> list[Node]:
        try:
            return self._repository.read_tree(tree)
        except Damaged as error:
            if self._broken is None:
                raise
            self._broken(Broken(at, error.message))
            return []

    def count_blobs(self) -> None:
        """Add up what only one of them has."""
        both = self._before & self._after | self._common
        self._count(self._before - both, self.result.removed)
        self._count(self._after - both, self.result.added)

    def _count(self, blobs: set[Blob], side: Side) -> None:
        for kind, id_ in blobs:
            side.data_blobs += kind is BlobType.DATA
            side.tree_blobs += kind is BlobType.TREE
            place = self._repository.index.find(kind, id_)
            if place is not None:
                side.size += content_bytes(place)
            elif self._broken is not None:
                self._broken(Broken(b"/", f"no pack of the index has the {kind} blob {id_.hex()}"))


def _pairs(before: list[Node], after: list[Node]) -> Iterator[tuple[Node | None, Node | None]]:
    """The nodes of the same names beside each other, in the order of names."""
    ones, others = {node.name: node for node in before}, {node.name: node for node in after}
    for name in sorted(ones.keys() | others.keys()):
        yield ones.get(name), others.get(name)


def _blobs(node: Node) -> Iterator[Blob]:
    if node.type is NodeType.FILE:
        yield from ((BlobType.DATA, blob) for blob in node.content or ())
    elif node.subtree is not None:
        yield BlobType.TREE, node.subtree


def _name(node: Node) -> bytes:
    return node.name + b"/" if node.type is NodeType.DIR else node.name


def _comparable(node: Node) -> Node:
    """The node with its times as moments: in which zone they were written makes no difference."""
    return replace(node, mtime=Instant(node.mtime.ns), atime=Instant(node.atime.ns), ctime=Instant(node.ctime.ns))
