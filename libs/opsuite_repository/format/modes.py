"""Modes of files as Go counts them, which is how trees hold them.

Source: Go's io/fs.FileMode (permission bits as in Unix, everything else at the top) and package os, which converts.
"""

from __future__ import annotations

import stat
from typing import Final

_PERMISSIONS: Final = 0o777
DIR: Final = 1 << 31
SYMLINK: Final = 1 << 27
DEVICE: Final = 1 << 26
FIFO: Final = 1 << 25
SOCKET: Final = 1 << 24
CHAR_DEVICE: Final = 1 << 21

_SPECIAL_BITS: Final = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))
_KINDS: Final = {
    stat.S_IFDIR: DIR,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFBLK: DEVICE,
    stat.S_IFCHR: DEVICE | CHAR_DEVICE,
    stat.S_IFIFO: FIFO,
    stat.S_IFSOCK: SOCKET,
}


def to_go(st_mode: int) -> int:
    """Go's form of an `st_mode`."""
    mode = st_mode & _PERMISSIONS | _KINDS.get(stat.S_IFMT(st_mode), 0)
    for unix, go in _SPECIAL_BITS:
        if st_mode & unix:
            mode |= go
    return mode


def permissions(go_mode: int) -> int:
    """What to give to chmod: the permission bits with setuid, setgid and sticky, without the kind of file."""
    mode = go_mode & _PERMISSIONS
    for unix, go in _SPECIAL_BITS:
        if go_mode & go:
            mode |= unix
    return mode


def written(go_mode: int) -> str:
    """As Go writes a mode: `drwxr-xr-x`, `-rw-r--r--`, `Lrwxrwxrwx`, `dtrwxrwxrwx`."""
    kinds = "".join(letter for at, letter in enumerate("dalTLDpSugct?") if go_mode & 1 << (31 - at))
    rights = "".join(letter if go_mode & 1 << (8 - at) else "-" for at, letter in enumerate("rwxrwxrwx"))
    return (kinds or "-") + rights


def to_unix(go_mode: int, kind: int) -> int:
    """An `st_mode`, `kind` being one of stat's `S_IF…`."""
    return permissions(go_mode) | kind
