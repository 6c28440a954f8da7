"""Options that several commands of `opsuite repo` share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from opsuite_repository.choosing import SnapshotFilter
    from opsuite_repository.retention import Policy

Hosts = Annotated[list[str] | None, typer.Option("--host", "-H", help="Only snapshots of this host; several times.")]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", help="Only snapshots with all of these tags (a,b); several times: or.")
]
Paths = Annotated[list[str] | None, typer.Option("--path", help="Only snapshots of this path; several times: and.")]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[SNAPSHOT]…", help="Ids, or how they begin; `latest`. Without: all.")
]
One = Annotated[
    str, typer.Argument(metavar="SNAPSHOT", help="Id, or how it begins; `latest`; with a folder: 1a2b3c4d:/etc.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Change nothing, and say what would be done.")]
GroupBy = Annotated[str, typer.Option("--group-by", "-g", help="host, paths, tags, with commas; '': no groups.")]


class Mode(StrEnum):
    """What `stats` counts."""

    RESTORE_SIZE = "restore-size"
    FILES_BY_CONTENTS = "files-by-contents"
    BLOBS_PER_FILE = "blobs-per-file"
    RAW_DATA = "raw-data"


class Sort(StrEnum):
    """The order of `ls`."""

    NAME = "name"
    SIZE = "size"
    TIME = "time"
    MTIME = "mtime"
    ATIME = "atime"
    CTIME = "ctime"
    EXTENSION = "extension"


class ArchiveKind(StrEnum):
    """How `dump` writes a folder."""

    TAR = "tar"
    ZIP = "zip"


class Overwriting(StrEnum):
    """What `restore` does with files that are there."""

    ALWAYS = "always"
    IF_CHANGED = "if-changed"
    IF_NEWER = "if-newer"
    NEVER = "never"


class Owners(StrEnum):
    """Whose restored files are."""

    IDS = "ids"
    NAMES = "names"
    NONE = "none"


class Compression(StrEnum):
    """How hard `backup` tries to make blobs small."""

    OFF = "off"
    FASTEST = "fastest"
    AUTO = "auto"
    BETTER = "better"
    MAX = "max"


LEVELS: dict[Compression, int | None] = {
    Compression.OFF: None,
    Compression.FASTEST: 1,
    Compression.AUTO: 3,
    Compression.BETTER: 9,
    Compression.MAX: 19,
}
"""Levels of zstd."""


def snapshot_filter(hosts: list[str] | None, tags: list[str] | None, paths: list[str] | None) -> SnapshotFilter:
    """Which snapshots are meant by these options."""
    from opsuite_repository.choosing import SnapshotFilter, parse_tags

    return SnapshotFilter(
        hosts=tuple(hosts or ()),
        tags=tuple(parse_tags(each) for each in tags or ()),
        paths=tuple(str(Path(each).absolute()) if each.startswith(".") else each for each in paths or ()),
    )


def count(text: str) -> int:
    """A number of snapshots, or `unlimited`."""
    if text == "unlimited":
        return -1
    if not text.isdecimal():
        raise typer.BadParameter(f"{text} is neither a number nor 'unlimited'")
    return int(text)


def policy(keep: dict[str, Any]) -> Policy:
    """The policy of the options `keep_…` by their names without `keep_`. Raises InvalidInput."""
    from opsuite_repository.choosing import parse_tags
    from opsuite_repository.periods import Span
    from opsuite_repository.retention import Policy

    chosen: dict[str, Any] = {}
    for name, value in keep.items():
        if name == "tags":
            chosen[name] = tuple(parse_tags(each) for each in value or ())
        elif value:
            chosen[name] = Span.parse(value) if name.startswith("within") else count(value)
    return Policy(**chosen)
