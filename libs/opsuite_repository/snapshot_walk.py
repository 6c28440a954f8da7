"""Going through the tree of a snapshot, each folder before what is in it, names in the order of their bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from opsuite_kernel.errors import NotFound
from opsuite_repository.errors import Damaged
from opsuite_repository.format.blobs import BlobId
from opsuite_repository.format.trees import Node, NodeType
from opsuite_repository.repository import Repository


class Visited(NamedTuple):
    """An entry of the snapshot."""

    path: bytes
    """From the top of the tree, with a slash in front."""
    node: Node
    tree: BlobId
    """The tree of the folder that it is in."""


class Broken(NamedTuple):
    """A folder whose tree cannot be read."""

    path: bytes
    why: str


def walk(
    repository: Repository,
    tree: BlobId,
    at: bytes = b"",
    *,
    enters: Callable[[Visited], bool] | None = None,
    broken: Callable[[Broken], None] | None = None,
) -> Iterator[Visited]:
    """Everything below a tree; paths begin with `at`. The index has to be loaded.

    Folders that `enters` declines are given, and what is in them is not. A tree that cannot be read is told to
    `broken`, and the walk goes on behind it; without that it raises Damaged.
    """
    stack = [_entries(repository, tree, at, broken)]
    while stack:
        visited = next(stack[-1], None)
        if visited is None:
            stack.pop()
            continue
        yield visited
        if visited.node.type is NodeType.DIR and (enters is None or enters(visited)):
            stack.append(_entries(repository, visited.node.subtree, visited.path, broken))


def _entries(
    repository: Repository, subtree: BlobId | None, at: bytes, broken: Callable[[Broken], None] | None
) -> Iterator[Visited]:
    try:
        tree = _required(subtree, at)
        nodes = repository.read_tree(tree)
    except Damaged as error:
        if broken is None:
            raise
        broken(Broken(at or b"/", error.message))
        return
    for node in nodes:
        yield Visited(at + b"/" + node.name, node, tree)


def _required(subtree: BlobId | None, at: bytes) -> BlobId:
    if subtree is None:
        raise Damaged(f"the entry {os.fsdecode(at)}", "it is a folder without a tree")
    return subtree


def tree_at(repository: Repository, tree: BlobId, folder: bytes) -> BlobId:
    """The tree of a folder; an empty path is the top. Raises NotFound, Damaged."""
    for part in filter(None, folder.split(b"/")):
        node = _entry(repository, tree, part)
        if node is None or node.subtree is None:
            raise NotFound("folder", os.fsdecode(folder))
        tree = node.subtree
    return tree


def node_at(repository: Repository, tree: BlobId, path: bytes) -> Node:
    """The entry of that path, which is not empty. Raises NotFound, Damaged."""
    folder, _, name = path.rstrip(b"/").rpartition(b"/")
    node = _entry(repository, tree_at(repository, tree, folder), name)
    if node is None:
        raise NotFound("path", os.fsdecode(path))
    return node


def _entry(repository: Repository, tree: BlobId, name: bytes) -> Node | None:
    return next((node for node in repository.read_tree(tree) if node.name == name), None)
