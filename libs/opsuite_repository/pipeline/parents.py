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
    """One folder of the parent, read when somebody asks for it. Without a tree, or with a damaged one, it is empty."""

    def __init__(self, repository: Repository, tree: BlobId | None) -> None:
        self._repository = repository
        self._tree = tree
        self._plain: bytes | None = None
        self._nodes: dict[str, dict[str, Any]] | None = None

    def subtree(self, name: bytes) -> BlobId | None:
        """The tree of a folder in it."""
        subtree = self.node(name).get("subtree")
        return bytes.fromhex(subtree) if isinstance(subtree, str) else None

    def node(self, name: bytes) -> dict[str, Any]:
        """The raw node of that name, empty if there is none."""
        if self._nodes is None:
            plain = self._read()
            self._nodes = {} if plain is None else {node["name"]: node for node in orjson.loads(plain)["nodes"] or ()}
        return self._nodes.get(quote(name), {})

    def part(self, names: Sequence[bytes], *, is_all: bool) -> bytes | None:
        """The JSON of a tree with the nodes of these names, and with others where that is cheaper."""
        if is_all:
            return self._read()
        return orjson.dumps({"nodes": [node for node in map(self.node, names) if node]})

    def _read(self) -> bytes | None:
        if self._tree is not None and self._plain is None:
            try:
                self._plain = self._repository.read_blob(BlobType.TREE, self._tree)
            except Damaged:
                self._tree = None
        return self._plain
