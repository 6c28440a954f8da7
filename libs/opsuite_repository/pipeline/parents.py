"""What the parent snapshot knows of a folder: the tree it had, cut to what somebody asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from opsuite_repository.errors import Damaged
from opsuite_repository.format.blobs import BlobId, BlobType
from opsuite_repository.format.gojson import quote
from opsuite_repository.repository import Repository

MOST_NAMES: Final = 256
"""So many names a batch may have; the whole tree goes along with a batch that is alone."""


class ParentFolder:
    """One folder of the parent."""

    def __init__(self, plain: bytes) -> None:
        self._plain = plain
        self._nodes: dict[str, dict[str, Any]] | None = None

    def subtree(self, name: bytes) -> BlobId | None:
        """The tree of a folder in it."""
        subtree = self.node(name).get("subtree")
        return bytes.fromhex(subtree) if isinstance(subtree, str) else None

    def node(self, name: bytes) -> dict[str, Any]:
        """The raw node of that name, empty if there is none."""
        if self._nodes is None:
            self._nodes = {node["name"]: node for node in orjson.loads(self._plain)["nodes"] or ()}
        return self._nodes.get(quote(name), {})

    def part(self, names: Sequence[bytes], *, is_all: bool) -> bytes:
        """The JSON of a tree with the nodes of these names, and with others where that is cheaper."""
        if is_all:
            return self._plain
        return orjson.dumps({"nodes": [node for node in map(self.node, names) if node]})


def parent_folder(repository: Repository, tree: BlobId | None) -> ParentFolder | None:
    """The folder with that tree, or None: without one, or with a damaged one, everything in it is read."""
    if tree is None:
        return None
    try:
        return ParentFolder(repository.read_blob(BlobType.TREE, tree))
    except Damaged:
        return None
