"""The key files of a repository: who may open it, taking that right away, and changing a password.

All key files hold the same master key, which never changes: whoever once opened the repository and kept the master
key can read it for ever. What is taken away is the way from a password to the key. Source: restic's design document,
"Keys, Encryption and MAC"; its `key` commands, whose rules are these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from opsuite_kernel.errors import Conflict
from opsuite_repository.errors import Damaged, FileMissing, Malformed, Unsupported
from opsuite_repository.format import keys
from opsuite_repository.format.times import Instant
from opsuite_repository.repository import OpenedKey, Repository, add_key, find_key
from opsuite_repository.storage.port import FileType


class KeyInfo(NamedTuple):
    """One key file, without its secrets."""

    name: str
    is_current: bool
    """Whether the repository was opened with it."""
    created: Instant | None
    """None, and the rest empty, for one that cannot be read."""
    username: str
    hostname: str


def list_keys(repository: Repository) -> Iterator[KeyInfo]:
    """Every key file, in the order of the names."""
    storage = repository.storage
    for name in sorted(file.name for file in storage.list(FileType.KEY)):
        is_current = name == repository.key.name
        try:
            key = keys.parse(storage.read(FileType.KEY, name))
        except (Malformed, Damaged, Unsupported):
            yield KeyInfo(name, is_current, None, "", "")
            continue
        except FileMissing:
            continue
        yield KeyInfo(name, is_current, key.created, key.username, key.hostname)


def remove_key(repository: Repository, name: str) -> None:
    """Let a password no longer open the repository. Needs an exclusive lock.

    Raises Conflict for the key that the repository was opened with: so the last one is never lost. FileMissing.
    """
    if name == repository.key.name:
        raise Conflict("the key that the repository was opened with cannot be removed")
    repository.storage.size(FileType.KEY, name)
    repository.storage.delete(FileType.KEY, name)


def change_password(repository: Repository, password: str, *, cost: keys.Cost | None = None) -> str:
    """Put a new password in the place of the one that the repository was opened with; the name of the new key file.

    Needs an exclusive lock. The new file is read back and opened before the old one goes, so that there is a way in
    at every moment; after a crash in between both passwords open the repository.
    """
    storage, old = repository.storage, repository.key
    name = add_key(storage, old.master, password, cost=cost)
    found = find_key(storage, password, key_hint=name)
    if found.master != old.master:
        raise Damaged(f"keys/{found.name}", "it opens with the new password and holds another master key")
    repository.key = OpenedKey(name, old.master)
    storage.delete(FileType.KEY, old.name)
    return name
