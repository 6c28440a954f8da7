"""What is in a snapshot, or in some folders of it.

Source: restic's cmd/restic/cmd_ls.go. Without folders everything is listed; with folders what is directly in them, or
everything below them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any, Final

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_repository.format.blobs import BlobId
from opsuite_repository.format.modes import permissions
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.format.trees import Node, NodeType
from opsuite_repository.repository import Repository
from opsuite_repository.snapshot_walk import Visited, walk


class SortBy(StrEnum):
    """The order of a listing."""

    NAME = "name"
    """As the walk gives it."""
    SIZE = "size"
    MTIME = "mtime"
    ATIME = "atime"
    CTIME = "ctime"
    EXTENSION = "extension"


def listing(
    repository: Repository, tree: BlobId, folders: Sequence[bytes] = (), *, recursive: bool = False
) -> Iterator[Visited]:
    """The entries, those of a folder behind it. Raises InvalidInput unless folders begin with a slash; Damaged."""
    wanted = [_Folder(folder) for folder in folders]

    def enters(visited: Visited) -> bool:
        if any(folder.leads_through(visited.path) for folder in wanted) or not wanted:
            return True
        return recursive and any(folder.holds(visited.path) for folder in wanted)

    for visited in walk(repository, tree, enters=enters):
        if not wanted or any(folder.holds(visited.path) for folder in wanted):
            yield visited


class _Folder:
    def __init__(self, path: bytes) -> None:
        if not path.startswith(b"/"):
            raise InvalidInput([Violation("folder", "begins with a slash", "PATTERN")])
        self._parts = [part for part in path.split(b"/") if part]

    def holds(self, path: bytes) -> bool:
        """Whether it is the path, or above it."""
        return path.split(b"/")[1 : len(self._parts) + 1] == self._parts

    def leads_through(self, path: bytes) -> bool:
        """Whether it is the path, or below it."""
        parts = path.split(b"/")[1:]
        return self._parts[: len(parts)] == parts


def in_order(entries: Iterable[Visited], by: SortBy, *, reverse: bool = False) -> list[Visited]:
    """The entries sorted, equal ones by their paths. All of them are in memory."""
    ordered = list(entries)
    if by is not SortBy.NAME:
        ordered.sort(key=_KEYS[by])
    return ordered[::-1] if reverse else ordered


_KEYS: Final[dict[SortBy, Callable[[Visited], tuple[Any, bytes]]]] = {
    SortBy.SIZE: lambda visited: (visited.node.size, visited.path),
    SortBy.MTIME: lambda visited: (visited.node.mtime.ns, visited.path),
    SortBy.ATIME: lambda visited: (visited.node.atime.ns, visited.path),
    SortBy.CTIME: lambda visited: (visited.node.ctime.ns, visited.path),
    SortBy.EXTENSION: lambda visited: (_extension(visited.node.name), visited.path),
}


def _extension(name: bytes) -> bytes:
    """As Go's filepath.Ext: from the last dot on, also for names that begin with it."""
    dot = name.rfind(b".")
    return name[dot:] if dot >= 0 else b""


def ncdu(snapshot: Snapshot, entries: Iterable[Visited]) -> Iterator[str]:
    """The lines of a file for `ncdu -f`. Entries are those of a whole walk, in its order.

    Source: https://dev.yorhel.nl/ncdu/jsonfmt.
    """
    about = json.dumps({"paths": list(snapshot.paths), "hostname": snapshot.hostname})
    yield f'[1, 2, {about}, [{{"name":"/"}}'
    depth = 0
    for visited in entries:
        level = visited.path.count(b"/") - 1
        if level < depth:
            yield "]" * (depth - level)
            depth = level
        is_folder = visited.node.type is NodeType.DIR
        yield f",{'[' if is_folder else ''}{json.dumps(_ncdu_node(visited.node))}"
        depth += is_folder
    yield "]" * (depth + 2)


_BLOCK: Final = 512


def _ncdu_node(node: Node) -> dict[str, Any]:
    return {
        "name": node.name.decode(errors="replace"),
        "asize": node.size,
        "dsize": -(-node.size // _BLOCK) * _BLOCK,
        "dev": node.device_id,
        "ino": node.inode,
        "nlink": node.links,
        "notreg": node.type not in (NodeType.DIR, NodeType.FILE),
        "uid": node.uid,
        "gid": node.gid,
        "mode": permissions(node.mode),
        "mtime": max(0, node.mtime.ns // 1_000_000_000),
    }
