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


class References(NamedTuple):
    """What a tree refers to."""

    data: list[BlobId]
    trees: list[BlobId]


class ReadTree(NamedTuple):
    """A tree that was visited."""

    id: BlobId
    content: bytes = b""
    references: References = References([], [])
    wrong: Damaged | None = None
    """Why it cannot be had; then the rest is empty."""


def reachable_trees(repository: Repository, roots: Iterable[BlobId]) -> Iterator[ReadTree]:
    """Every tree that can be reached from `roots`, once, in no order. The index has to be loaded."""
    seen = BlobSet(repository.index, BlobType.TREE)
    waiting = [root for root in roots if seen.add(root)]
    under_way: deque[Future[ReadTree]] = deque()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="trees") as readers:
        while waiting or under_way:
            while waiting and len(under_way) < _AHEAD:
                under_way.append(readers.submit(_read, repository, waiting.pop()))
            tree = under_way.popleft().result()
            yield tree
            waiting += [below for below in tree.references.trees if seen.add(below)]


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
    for tree in reachable_trees(repository, roots):
        course.check()
        if tree.wrong is not None:
            raise tree.wrong
        used[BlobType.TREE].add(tree.id)
        for blob in tree.references.data:
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


def _read(repository: Repository, id_: BlobId) -> ReadTree:
    file = f"tree {id_.hex()}"
    try:
        content = repository.read_blob(BlobType.TREE, id_)
        with naming(file):
            return ReadTree(id_, content, references(content))
    except Damaged as error:
        return ReadTree(id_, wrong=error)
    except FileMissing as error:
        return ReadTree(id_, wrong=Damaged(file, error.message))
