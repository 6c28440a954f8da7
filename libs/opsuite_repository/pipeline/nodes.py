"""From what the operating system tells about a file to the node of a tree.

Source: restic's internal/fs/node.go: which fields each kind of file has, and that the time of the last access is not
kept unless that is wanted. Times carry the zone that holds here at that moment, as Go's do: equal trees have equal
bytes.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import time
from functools import lru_cache
from typing import Final

from opsuite_repository.format.modes import to_go
from opsuite_repository.format.times import Instant
from opsuite_repository.format.trees import ExtendedAttribute, Node, NodeType

_TYPES: Final = {
    stat.S_IFREG: NodeType.FILE,
    stat.S_IFDIR: NodeType.DIR,
    stat.S_IFLNK: NodeType.SYMLINK,
    stat.S_IFBLK: NodeType.BLOCK_DEVICE,
    stat.S_IFCHR: NodeType.CHAR_DEVICE,
    stat.S_IFIFO: NodeType.FIFO,
    stat.S_IFSOCK: NodeType.SOCKET,
}
_LINKED: Final = frozenset({NodeType.FILE, NodeType.SYMLINK, NodeType.BLOCK_DEVICE, NodeType.CHAR_DEVICE})
"""What restic counts the hard links of."""
_QUARTER_OF_AN_HOUR: Final = 900  # clocks of no zone are ever set forward or back in between
_NO_ATTRIBUTES: Final = frozenset({errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.ENODATA})


def node_type(found: os.stat_result) -> NodeType:
    """What kind of node the file is."""
    return _TYPES.get(stat.S_IFMT(found.st_mode), NodeType.IRREGULAR)


def node_of(name: bytes, path: bytes, found: os.stat_result, *, with_atime: bool = False) -> Node:
    """The node of what lies at `path`, without content or subtree. Raises OSError, for a link that is gone by now."""
    kind = node_type(found)
    modified = instant_of(found.st_mtime_ns)
    node = Node(
        name=name,
        type=kind,
        mode=to_go(found.st_mode),
        mtime=modified,
        atime=instant_of(found.st_atime_ns) if with_atime else modified,
        ctime=instant_of(found.st_ctime_ns),
        uid=found.st_uid,
        gid=found.st_gid,
        user=user_name(found.st_uid),
        group=group_name(found.st_gid),
        inode=found.st_ino,
        device_id=found.st_dev,
        extended_attributes=extended_attributes(path),
    )
    if kind in _LINKED:
        node.links = found.st_nlink
    if kind is NodeType.FILE:
        node.size = found.st_size
    elif kind is NodeType.SYMLINK:
        node.link_target = os.readlink(path)  # noqa: PTH115  # the path is bytes
    elif kind in {NodeType.BLOCK_DEVICE, NodeType.CHAR_DEVICE}:
        node.device = found.st_rdev
    return node


def extended_attributes(path: bytes) -> tuple[ExtendedAttribute, ...]:
    """All that can be read; file systems without any, and secrets of the system, are passed over as by restic."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return ()
        raise
    return tuple(filter(None, [_attribute(path, name) for name in names])) if names else ()


def _attribute(path: bytes, name: str) -> ExtendedAttribute | None:
    try:
        return ExtendedAttribute(name, os.getxattr(path, name, follow_symlinks=False))
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return None
        raise


def instant_of(ns: int) -> Instant:
    """The instant in the zone that this machine is in, or was then."""
    return Instant(ns, _offset_minutes(ns // (_QUARTER_OF_AN_HOUR * 1_000_000_000)))


@lru_cache(maxsize=65_536)
def _offset_minutes(quarter: int) -> int:
    try:
        return time.localtime(quarter * _QUARTER_OF_AN_HOUR).tm_gmtoff // 60
    except (OverflowError, ValueError, OSError):  # years that the C library does not know
        return 0


def forget_names() -> None:
    """Ask again who has which number: between two backups a user may have got another name."""
    user_name.cache_clear()
    group_name.cache_clear()


@lru_cache(maxsize=4096)
def user_name(uid: int) -> str:
    """The name of a user, or nothing."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


@lru_cache(maxsize=4096)
def group_name(gid: int) -> str:
    """The name of a group, or nothing."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""
