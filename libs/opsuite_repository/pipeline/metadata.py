"""Giving a restored file what is known of it beside its content.

Order matters: a change of owner clears setuid and capabilities, and everything changes the times, which come last.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from opsuite_repository.format.modes import permissions
from opsuite_repository.format.trees import Node, NodeType
from opsuite_repository.pipeline.findings import Finding, FindingKind, writing_failed

_ROOT: Final = 0


class Description(NamedTuple):
    """What of a node is metadata; small, since it travels to helper processes."""

    is_link: bool
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    atime_ns: int
    mtime_ns: int
    attributes: tuple[tuple[str, bytes | None], ...]


def description_of(node: Node) -> Description:
    """The metadata of a node."""
    return Description(
        node.type is NodeType.SYMLINK, node.mode, node.uid, node.gid, node.user, node.group,
        node.atime.ns, node.mtime.ns, tuple((each.name, each.value) for each in node.extended_attributes),
    )  # fmt: skip


class Metadata:
    """Gives paths what descriptions say."""

    def __init__(self, *, by_name: bool = False, owners: bool = True, attributes: bool = True) -> None:
        self._by_name = by_name
        self._owners = owners
        self._attributes = attributes

    def apply(self, path: bytes, told: Description) -> list[Finding]:
        """Everything that can be applied is; a finding for each thing that cannot."""
        return list(self._applied(path, told))

    def _applied(self, path: bytes, told: Description) -> Iterator[Finding]:
        try:
            if self._owners:
                self._chown(path, told)
            if not told.is_link:
                os.chmod(path, permissions(told.mode))  # noqa: PTH101  # the path is bytes
        except OSError as error:
            yield writing_failed(path, error)
        if self._attributes and told.attributes:
            yield from _set_attributes(path, told)
        try:
            os.utime(path, ns=(told.atime_ns, told.mtime_ns), follow_symlinks=False)
        except OverflowError:
            yield Finding(path, FindingKind.NOT_WRITTEN, "a time that this system cannot hold")
        except OSError as error:
            yield writing_failed(path, error)

    def _chown(self, path: bytes, told: Description) -> None:
        """Only root may give files away; for everybody else they stay their own, as with every program of Unix."""
        uid = _uid_of(told.user, told.uid) if self._by_name else told.uid
        gid = _gid_of(told.group, told.gid) if self._by_name else told.gid
        try:
            os.chown(path, uid, gid, follow_symlinks=False)
        except OSError as error:
            if os.geteuid() == _ROOT or error.errno != errno.EPERM:
                raise


def _set_attributes(path: bytes, told: Description) -> Iterator[Finding]:
    for name, value in told.attributes:
        try:
            os.setxattr(path, name, value or b"", follow_symlinks=False)
        except OSError as error:
            why = f"extended attribute {name}: {error.strerror}"
            yield writing_failed(path, error)._replace(why=why)


@lru_cache(maxsize=4096)
def _uid_of(user: str, otherwise: int) -> int:
    try:
        return pwd.getpwnam(user).pw_uid if user else otherwise
    except KeyError:
        return otherwise


@lru_cache(maxsize=4096)
def _gid_of(group: str, otherwise: int) -> int:
    try:
        return grp.getgrnam(group).gr_gid if group else otherwise
    except KeyError:
        return otherwise
