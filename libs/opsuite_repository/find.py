"""Looking for files by name and time, and for the places that refer to a blob, a tree or a pack.

Source: restic's cmd/restic/cmd_find.go. A pattern that means a folder means everything in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from opsuite_kernel.errors import InvalidInput, NotFound, Violation
from opsuite_repository.format.blobs import BlobId, BlobType
from opsuite_repository.format.times import from_datetime
from opsuite_repository.format.trees import NodeType
from opsuite_repository.pipeline.excludes import Leading, Patterns
from opsuite_repository.repository import Repository
from opsuite_repository.snapshot_walk import Broken, Visited, walk


@dataclass(frozen=True, slots=True, kw_only=True)
class FindRequest:
    """What to look for."""

    patterns: tuple[str, ...]
    ignore_case: bool = False
    oldest: datetime | None = None
    """Changed then or later; aware."""
    newest: datetime | None = None
    """Changed then or before; aware."""


def find(
    repository: Repository,
    tree: BlobId,
    request: FindRequest,
    *,
    broken: Callable[[Broken], None] | None = None,
) -> Iterator[Visited]:
    """What fits, in the order of the walk. Raises InvalidInput for a wrong pattern; `broken` as for `walk`."""
    exact, folded = ((), request.patterns) if request.ignore_case else (request.patterns, ())
    patterns, leading = Patterns(exact, folded), Leading(exact, folded)
    oldest = from_datetime(request.oldest).ns if request.oldest else None
    newest = from_datetime(request.newest).ns if request.newest else None

    def enters(visited: Visited) -> bool:
        return patterns.match(visited.path) or leading.match(visited.path)

    for visited in walk(repository, tree, enters=enters, broken=broken):
        changed = visited.node.mtime.ns
        is_in_time = (oldest is None or changed >= oldest) and (newest is None or changed <= newest)
        if is_in_time and patterns.match(visited.path):
            yield visited


class ObjectKind(StrEnum):
    """What an id names."""

    BLOB = "blob"
    TREE = "tree"
    PACK = "pack"


class Reference(NamedTuple):
    """A place that refers to a blob or tree."""

    kind: ObjectKind
    id: str
    path: bytes
    """Of the file or folder."""
    parent_tree: str
    """The tree that holds the file; empty for a folder."""


class Objects:
    """Blobs and trees to look for."""

    def __init__(self, repository: Repository, kind: ObjectKind, typed: Iterable[str]) -> None:
        """Ids, or how they begin. Raises NotFound for one that the index does not have; InvalidInput for no id."""
        self._wanted: dict[BlobType, set[BlobId]] = {BlobType.DATA: set(), BlobType.TREE: set()}
        for prefix in typed:
            self._add(repository, kind, prefix.lower())

    def _add(self, repository: Repository, kind: ObjectKind, prefix: str) -> None:
        if not prefix or set(prefix) - set("0123456789abcdef"):
            raise InvalidInput([Violation("id", f"{prefix!r} is not the beginning of an id", "PATTERN")])
        wanted = {
            (entry.type, entry.id)
            for pack, entry in repository.index.entries()
            if (pack if kind is ObjectKind.PACK else entry.id).hex().startswith(prefix)
            and kind in (ObjectKind.PACK, _KIND_OF[entry.type])
        }
        if not wanted:
            raise NotFound(kind.value, prefix)
        for type_, id_ in wanted:
            self._wanted[type_].add(id_)

    def references(
        self, repository: Repository, tree: BlobId, *, broken: Callable[[Broken], None] | None = None
    ) -> Iterator[Reference]:
        """The places in a snapshot that refer to one of them; a file that does so twice is there twice."""
        if tree in self._wanted[BlobType.TREE]:
            yield Reference(ObjectKind.TREE, tree.hex(), b"/", "")
        for visited in walk(repository, tree, broken=broken):
            node = visited.node
            if node.subtree is not None and node.subtree in self._wanted[BlobType.TREE]:
                yield Reference(ObjectKind.TREE, node.subtree.hex(), visited.path, "")
            if node.type is NodeType.FILE:
                for blob in node.content or ():
                    if blob in self._wanted[BlobType.DATA]:
                        yield Reference(ObjectKind.BLOB, blob.hex(), visited.path, visited.tree.hex())


_KIND_OF = {BlobType.DATA: ObjectKind.BLOB, BlobType.TREE: ObjectKind.TREE}
