"""Which entries of a folder are stored."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from opsuite_repository.pipeline.excludes import Patterns

CACHE_TAG: Final = (b"CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55")
"""Source: the Cache Directory Tagging Specification, https://bford.info/cachedir/."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a folder is not to be stored."""

    excluded: Patterns
    marks: tuple[tuple[bytes, bytes], ...] = ()
    """Names of files, and how they begin: where one is, nothing but it is stored of the folder."""
    one_file_system: bool = False

    def entries(self, folder: bytes) -> list[tuple[bytes, bool]]:
        """Names of what is stored, sorted, and whether each is a folder. Raises OSError."""
        with os.scandir(folder) as found:
            listed = sorted([(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found])
        for name, begin in self.marks:
            if (name, False) in listed and _begins(join(folder, name), begin):
                return [(name, False)]
        if self.excluded:
            above = absolute(folder)
            listed = [each for each in listed if not self.excluded.match(join(above, each[0]))]
        return listed


def absolute(path: bytes) -> bytes:
    """The path from the root, without `.` and `..`, links left as they are: they are what is stored."""
    return os.path.abspath(path)  # noqa: PTH100  # Path.resolve would follow them


def join(folder: bytes, name: bytes) -> bytes:
    """The path of an entry; an empty folder is the one that this process is in."""
    return folder + name if not folder or folder.endswith(b"/") else folder + b"/" + name


def _begins(path: bytes, begin: bytes) -> bool:
    if not begin:
        return True
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # the path is bytes, which Path does not take
            return file.read(len(begin)) == begin
    except OSError:
        return False
