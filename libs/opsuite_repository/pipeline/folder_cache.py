"""What a process that stays remembers of the folders it backed up, so that it need not read their trees again.

For each folder: a fingerprint of all that the system tells of its files, one of what its folders became, and the tree
that was stored. While both fingerprints are the same the tree would be too, and neither the parent is read, nor a file
looked at a second time, nor a node written. An entry is about 300 bytes, however many files the folder has.

It is used only for a backup against the very snapshot that the last one made, with the same options, while every index
file of then is still there (no prune came in between), and while users and groups have the names they had.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from opsuite_repository.format.blobs import BlobId
from opsuite_repository.pipeline.nodes import group_name, user_name

_STATUS: Final = struct.Struct("<QQQQQQQqq")


class Fingerprint(NamedTuple):
    """What the files of a folder look like from outside."""

    digest: bytes
    files: int
    size_bytes: int


class RememberedFolder(NamedTuple):
    """A folder as it was at the last backup."""

    files: Fingerprint
    folders: bytes
    """The digest of the nodes of the folders in it."""
    tree: BlobId


class FolderCache:
    """Remembers the folders of the last backup. For one backup at a time."""

    def __init__(self) -> None:
        self._known: dict[bytes, RememberedFolder] = {}
        self._seen: dict[bytes, RememberedFolder] = {}
        self._validity: tuple[object, ...] = ()
        self._index_files: frozenset[str] = frozenset()
        self._owners: set[tuple[int, int]] = set()
        self._names: dict[tuple[int, int], tuple[str, str]] = {}

    def begin(self, parent_tree: BlobId | None, options: object, index_files: frozenset[str]) -> None:
        """Forget everything unless it is still true."""
        names = {each: _names(each) for each in self._names}
        is_valid = (
            parent_tree is not None
            and self._validity == (parent_tree, options)
            and self._index_files <= index_files
            and names == self._names
        )
        if not is_valid:
            self._known = {}
        self._seen = {}
        self._owners = set()

    def finish(self, tree: BlobId, options: object, index_files: frozenset[str]) -> None:
        """Keep what this backup has seen, now that its snapshot is written."""
        self._known, self._seen = self._seen, {}
        self._validity = tree, options
        self._index_files = index_files
        self._names = {each: _names(each) for each in self._owners}

    def forget(self) -> None:
        """Remember nothing."""
        self._known, self._seen, self._validity = {}, {}, ()

    def known(self, path: bytes) -> RememberedFolder | None:
        """The folder as it was."""
        return self._known.get(path)

    def remember(self, path: bytes, folder: RememberedFolder) -> None:
        """Keep a folder that was stored, for the next backup."""
        self._seen[path] = folder

    def fingerprint(self, folder: bytes, names: Sequence[bytes]) -> Fingerprint | None:
        """Of these files; None if one of them cannot be looked at."""
        digest, files, size = blake2b(digest_size=16), 0, 0
        parts: list[bytes] = []
        owners, last = self._owners, None
        try:
            for name in names:
                found = os.lstat(folder + name)
                parts += (name, _packed(found))
                if stat.S_ISREG(found.st_mode):
                    files += 1
                    size += found.st_size
                if last != (owner := (found.st_uid, found.st_gid)):
                    owners.add(owner)
                    last = owner
        except (OSError, struct.error):
            return None
        digest.update(b"\0".join(parts))
        return Fingerprint(digest.digest(), files, size)


def _packed(found: os.stat_result) -> bytes:
    return _STATUS.pack(
        found.st_mode, found.st_ino, found.st_dev, found.st_nlink, found.st_uid, found.st_gid,
        found.st_size, found.st_mtime_ns, found.st_ctime_ns,
    )  # fmt: skip


def digest_of(nodes: Iterable[str | None]) -> bytes:
    """The digest of what folders became."""
    return blake2b("\n".join(node or "" for node in nodes).encode(), digest_size=16).digest()


def _names(owner: tuple[int, int]) -> tuple[str, str]:
    return user_name(owner[0]), group_name(owner[1])
