"""Paths that have to stay below configured roots: as they are written, and as they are once links are resolved.

Registration can only read what is written. What a path leads to is asked again before it is used (`resolve_below`),
since links may have changed in between.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

from opsuite_kernel.errors import InvalidInput, Violation


def is_below(roots: Sequence[Path], path: str) -> bool:
    """Whether an absolute path, read as it is written (`..` takes away the part before it), is a root or below one."""
    # normpath keeps two leading slashes, as POSIX allows them a meaning; Linux gives them none.
    plain = posixpath.normpath("/" + path.lstrip("/"))
    return any(_is_part(str(root), plain) for root in roots)


def lexically_below(roots: Sequence[Path], path: str, *, relative_to: Path | None = None) -> Path:
    """Return `path` as an absolute one below the roots, read as it is written; touches no disk.

    A relative path starts at `relative_to`, by default the first root. Raises InvalidInput (OUTSIDE_ROOTS).
    """
    found = Path(posixpath.normpath(_absolute(roots, path, relative_to)))
    if not is_below(roots, str(found)):
        raise _outside(path, roots)
    return found


def resolve_below(roots: Sequence[Path], path: str, *, relative_to: Path | str | None = None) -> str:
    """Return `path` with every link resolved, below the resolved roots; what is missing at its end may be made later.

    A relative path starts at `relative_to`, by default the first root. Raises InvalidInput (OUTSIDE_ROOTS).
    """
    found = real_path(_absolute(roots, path, relative_to))
    if not is_really_below(roots, found):
        raise _outside(path, roots)
    return found


def is_really_below(roots: Sequence[Path], path: str) -> bool:
    """Whether an absolute path without links is a root or below one, the links of the roots resolved.

    What a path without links begins with holds none either, so only the roots that it does not begin with are resolved.
    """
    return any(_is_part(str(root), path) or _is_part(real_path(str(root)), path) for root in roots)


def real_path(path: str) -> str:
    """Return `path` with every link resolved, as far as it exists.

    The kernel is asked, which takes a tenth of the time of `os.path.realpath`; every step of a deployment asks twice.
    """
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return os.path.realpath(path)
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - this is about speed
    except OSError:
        return os.path.realpath(path)
    finally:
        os.close(descriptor)


def _absolute(roots: Sequence[Path], path: str, relative_to: Path | str | None) -> str:
    if not roots:
        raise InvalidInput([Violation("", "is a path, but no root is configured", "OUTSIDE_ROOTS")])
    if "\0" in path:
        raise InvalidInput([Violation("", "holds a NUL character", "NOT_PRINTABLE")])
    return posixpath.join("/", str(relative_to or roots[0]), path)


def _is_part(root: str, path: str) -> bool:
    return path == root or path.startswith(root if root.endswith("/") else root + "/")


def _outside(path: str, roots: Sequence[Path]) -> InvalidInput:
    names = ", ".join(str(root) for root in roots)
    return InvalidInput([Violation("", f"{path!r} is not below the allowed directories: {names}", "OUTSIDE_ROOTS")])
