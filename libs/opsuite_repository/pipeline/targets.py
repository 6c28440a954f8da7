"""From the paths that were asked for to the top of the tree that holds them.

Source: restic's internal/archiver/tree.go. `/a/b` becomes a folder `a` with the real metadata of `/a` and in it `b`;
a relative path keeps only its own parts, without leading `..`; `.` gives its entries to the root itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from opsuite_kernel.errors import InvalidInput, NotFound, Violation
from opsuite_repository.pipeline.findings import Finding, FindingKind


@dataclass(slots=True)
class Target:
    """A file or folder to back up; a folder with `selected` is stored with these entries and no others."""

    path: bytes
    selected: dict[bytes, Target] | None = field(default_factory=dict)


def targets_of(paths: Iterable[Path]) -> tuple[Target, list[Finding]]:
    """The root of the tree, and a finding for each path that is not there.

    Raises NotFound when none is there, InvalidInput when two different paths would get the same place.
    """
    root = Target(b"")
    missing = [path for path in paths if not _exists(path)]
    present = [path for path in paths if path not in missing]
    if not present:
        raise NotFound("path", ", ".join(map(str, missing)) or "to back up")
    for path in present:
        _add(root, os.fsencode(os.path.normpath(path)))
    return root, [Finding(os.fsencode(path), FindingKind.MISSING, "it does not exist") for path in missing]


def _add(root: Target, path: bytes) -> None:
    parts, at = [part for part in path.split(b"/") if part], root
    real = b"/" if path.startswith(b"/") else b""
    while parts and parts[0] in {b"..", b"."}:
        real += parts.pop(0) + b"/"
    if not parts:
        root.path, root.selected = real if real == b"/" else real.rstrip(b"/"), None
        return
    for part in parts:
        if at.selected is None:  # everything in it is stored anyway
            return
        next_ = at.selected.setdefault(part, Target(real + part))
        if next_.path != real + part:
            raise _same_place(next_.path, real + part)
        at, real = next_, real + part + b"/"
    at.selected = None


def _same_place(one: bytes, other: bytes) -> InvalidInput:
    description = f"{os.fsdecode(one)} and {os.fsdecode(other)} would both become the same entry"
    return InvalidInput([Violation("paths", description, "SAME_PLACE")])


def _exists(path: Path) -> bool:
    return os.path.lexists(path)
