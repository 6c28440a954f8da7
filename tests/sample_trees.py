"""A folder with one of everything that can be backed up, and what it means that another one is the same."""

from __future__ import annotations

import contextlib
import os
import random
import stat
from pathlib import Path

ODD_NAMES = (
    b"\xff not UTF-8", b'quote " backslash \\', b"new\nline\ttab", "grün 漢 😀".encode(), b"<&>",
    "\u2028\u00a0\u200b".encode(), b" ", b"-dash", b"\x01\x7f", "\ufffd".encode(), b"\xed\xa0\x80", b"~" * 255,
)  # fmt: skip


def make_tree(root: Path) -> None:
    """One of everything that an ordinary user can make and a backup can store."""
    chance = random.Random(6)
    for name in ODD_NAMES:
        (root / os.fsdecode(name)).write_bytes(name * 3)
    (root / "empty").touch()
    (root / "text").write_text("all work and no play\n" * 20_000)
    (root / "random").write_bytes(chance.randbytes(3 << 20))
    (root / "hard link").hardlink_to(root / "text")
    (root / "link").symlink_to("text")
    (root / "link to no UTF-8").symlink_to(os.fsdecode(b"to <\xff>"))
    os.mkfifo(root / "fifo")
    (root / "empty folder").mkdir(mode=0o1777)
    (root / "setuid").touch()
    (root / "setuid").chmod(0o6755)
    os.utime(root / "setuid", ns=(5, -123_456_789))
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "file").write_text("x")
    with contextlib.suppress(OSError):  # not every file system has them
        os.setxattr(root / "deep" / "er" / "file", "user.colour", b"\x00green")


def assert_same_tree(one: Path, other: Path) -> None:
    """The same names, kinds, modes, times, targets and content."""
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}
    for here in one.iterdir():
        there = other / here.name
        left, right = here.lstat(), there.lstat()
        assert _seen(left) == _seen(right)
        assert _attributes(here) == _attributes(there)
        if stat.S_ISREG(left.st_mode):
            assert here.read_bytes() == there.read_bytes()
        if stat.S_ISLNK(left.st_mode):
            assert here.readlink() == there.readlink()
        if stat.S_ISDIR(left.st_mode):
            assert_same_tree(here, there)


def _seen(found: os.stat_result) -> tuple[int, ...]:
    return found.st_mode, found.st_mtime_ns, found.st_nlink, found.st_uid, found.st_gid, found.st_rdev


def _attributes(path: Path) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
