"""All trees below some roots, each once, read ahead on threads; and so every blob that anybody refers to.

What was seen is remembered in a byte a blob where the index knows the blob, so that repositories of many millions of
blobs are gone through in little memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from opsuite_repository.errors import Damaged, FileMissing, Malformed, naming
from opsuite_repository.format.blob_index import BlobIndex
from opsuite_repository.format.blobs import ID_BYTES, BlobId, BlobType
from opsuite_repository.format.sealing import Buffer
from opsuite_repository.format.unpacked import parse_object
from opsuite_repository.pipeline.work import Course
from opsuite_repository.repository import Repository

_READERS: Final = 4
_AHEAD: Final = 16


class BlobSet:
    """A set of blobs of one type."""

    def __init__(self, index: BlobIndex, kind: BlobType) -> None:
        self._index = index
        self._kind = kind
        self._known = bytearray(index.numbers(kind))
        self.unknown: set[BlobId] = set()
        """Those in it that no pack has."""

    def add(self, id_: BlobId) -> bool:
        """Put a blob in; whether it was not in yet."""
        number = self._index.number(self._kind, id_)
        if number is None or number >= len(self._known):
            is_new = id_ not in self.unknown
            self.unknown.add(id_)
            return is_new
        is_new = not self._known[number]
        self._known[number] = 1
        return is_new

    def __contains__(self, id_: BlobId) -> bool:
        number = self._index.number(self._kind, id_)
        return id_ in self.unknown if number is None or number >= len(self._known) else bool(self._known[number])


class ReadTree(NamedTuple):
    """A tree that was visited: its JSON, or why it cannot be had."""

    id: BlobId
    content: bytes | Damaged


def reachable_trees(repository: Repository, roots: Iterable[BlobId]) -> Iterator[ReadTree]:
    """Every tree that can be reached from `roots`, once, in no order. The index has to be loaded."""
    seen = BlobSet(repository.index, BlobType.TREE)
    waiting = [root for root in roots if seen.add(root)]
    under_way: deque[tuple[BlobId, Future[bytes | Damaged]]] = deque()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="trees") as readers:
        while waiting or under_way:
            while waiting and len(under_way) < _AHEAD:
                id_ = waiting.pop()
                under_way.append((id_, readers.submit(_read, repository, id_)))
            id_, reading = under_way.popleft()
            tree = ReadTree(id_, reading.result())
            yield tree
            waiting += [below for below in _subtrees(tree) if seen.add(below)]


class References(NamedTuple):
    """What a tree refers to."""

    data: list[BlobId]
    trees: list[BlobId]


def references(content: Buffer) -> References:
    """The blobs that a tree refers to, without the cost of making nodes of it. Raises Malformed."""
    nodes = parse_object(content).get("nodes")
    if not isinstance(nodes, list):
        raise Malformed("the tree has no nodes")
    found = References([], [])
    try:
        for node in nodes:
            _refer(node, found)
    except (TypeError, ValueError, AttributeError) as error:
        raise Malformed(f"a node of the tree cannot be read: {type(error).__name__} {error}") from error
    return found


def used_blobs(repository: Repository, roots: Iterable[BlobId], course: Course) -> dict[BlobType, BlobSet]:
    """Every blob that is needed by the trees `roots`. Raises Damaged when one cannot be read: then nobody can know."""
    used = {kind: BlobSet(repository.index, kind) for kind in BlobType}
    for id_, content in reachable_trees(repository, roots):
        course.check()
        if isinstance(content, Damaged):
            raise content
        used[BlobType.TREE].add(id_)
        with naming(f"tree {id_.hex()}"):
            for blob in references(content).data:
                used[BlobType.DATA].add(blob)
    return used


def _refer(node: dict[str, Any], found: References) -> None:
    if node.get("content"):
        found.data.extend(map(_id, node["content"]))
    if node.get("subtree"):
        found.trees.append(_id(node["subtree"]))


def _id(text: str) -> BlobId:
    id_ = bytes.fromhex(text)
    if len(id_) != ID_BYTES:
        raise ValueError(f"{text!r} is not the name of a blob")
    return id_


def _read(repository: Repository, id_: BlobId) -> bytes | Damaged:
    try:
        return repository.read_blob(BlobType.TREE, id_)
    except Damaged as error:
        return error
    except FileMissing as error:
        return Damaged(f"tree {id_.hex()}", error.message)


def _subtrees(tree: ReadTree) -> list[BlobId]:
    """Those of a tree that can be read; whoever goes through the trees finds out about the others."""
    if isinstance(tree.content, Damaged):
        return []
    try:
        return references(tree.content).trees
    except Malformed:
        return []
