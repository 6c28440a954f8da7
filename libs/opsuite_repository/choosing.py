"""Which snapshots are meant: by what they are of, by their ids, or the latest; and which belong together.

Source: restic's internal/data/snapshot_find.go and snapshot_group.go.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, Violation
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.format.times import from_datetime

LATEST: Final = "latest"
SHORT_ID: Final = 8
"""Digits of an id that people see."""


class Saved(NamedTuple):
    """A snapshot with its id, which is the name of its file."""

    id: str
    snapshot: Snapshot

    @property
    def short_id(self) -> str:
        """What people see of the id."""
        return self.id[:SHORT_ID]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFilter:
    """What a snapshot has to be of. Empty means any."""

    hosts: tuple[str, ...] = ()
    """One of these."""
    paths: tuple[str, ...] = ()
    """All of these, and perhaps more."""
    tags: tuple[tuple[str, ...], ...] = ()
    """All of one of these lists; `("",)` means no tags at all."""
    until: datetime | None = None
    """Made then or before; aware."""

    def __bool__(self) -> bool:
        return bool(self.hosts or self.paths or self.tags or self.until)

    def matches(self, snapshot: Snapshot) -> bool:
        """Whether the snapshot is such a one."""
        return (
            (not self.hosts or snapshot.hostname in self.hosts)
            and (not self.tags or any(has_tags(snapshot, tags) for tags in self.tags))
            and set(self.paths) <= set(snapshot.paths)
            and (self.until is None or snapshot.time.ns <= from_datetime(self.until).ns)
        )


ANY: Final = SnapshotFilter()


def has_tags(snapshot: Snapshot, tags: Iterable[str]) -> bool:
    """Whether it has all of these; an empty one is had by a snapshot without any, and then nothing else counts."""
    for tag in tags:
        if tag == "" and not snapshot.tags:
            return True
        if tag not in snapshot.tags:
            return False
    return True


def parse_tags(text: str) -> tuple[str, ...]:
    """`a, b` as `("a", "b")`."""
    return tuple(tag.strip() for tag in text.split(","))


def newest_first(snapshots: Iterable[Saved]) -> list[Saved]:
    """By time; of two made at the same moment the one with the smaller id comes first."""
    return sorted(snapshots, key=lambda saved: (-saved.snapshot.time.ns, saved.id))


def latest(snapshots: Iterable[Saved], wanted: SnapshotFilter = ANY) -> Saved:
    """The newest of those. Raises NotFound when there is none."""
    found = newest_first(saved for saved in snapshots if wanted.matches(saved.snapshot))
    if not found:
        raise NotFound("snapshot", LATEST)
    return found[0]


def by_id(snapshots: Iterable[Saved], typed: str) -> Saved:
    """The snapshot whose id begins so. Raises NotFound; Conflict when several do."""
    found = [saved for saved in snapshots if typed and saved.id.startswith(typed)]
    if not found:
        raise NotFound("snapshot", typed)
    if len(found) > 1:
        raise Conflict(f"several snapshots begin with {typed!r}", reason="AMBIGUOUS")
    return found[0]


def one(snapshots: Sequence[Saved], typed: str, wanted: SnapshotFilter = ANY) -> tuple[Saved, bytes]:
    """The snapshot and folder of `latest`, `1a2b3c4d` or `1a2b3c4d:/etc`; the filter is for `latest` only.

    Raises NotFound, Conflict.
    """
    id_, _, folder = typed.partition(":")
    return latest(snapshots, wanted) if id_ == LATEST else by_id(snapshots, id_), os.fsencode(folder)


def some(snapshots: Sequence[Saved], typed: Sequence[str], wanted: SnapshotFilter) -> list[Saved]:
    """Those with these ids, or, if none is given, those that the filter lets pass: oldest first, each once.

    Raises NotFound, Conflict; InvalidInput for a folder behind an id, or a filter that would be without effect.
    """
    if any(":" in each for each in typed):
        raise InvalidInput([Violation("snapshot", "a folder cannot be given here", "PATTERN")])
    if typed and wanted and LATEST not in typed:
        raise InvalidInput([Violation("snapshot", "ids and conditions cannot be given at once", "PATTERN")])
    if typed:
        found = {saved.id: saved for saved in (one(snapshots, each, wanted)[0] for each in typed)}
        return newest_first(found.values())[::-1]
    return newest_first(saved for saved in snapshots if wanted.matches(saved.snapshot))[::-1]


class GroupBy(StrEnum):
    """What the snapshots of a group have in common."""

    HOST = "host"
    PATHS = "paths"
    TAGS = "tags"


class GroupKey(NamedTuple):
    """What the snapshots of one group have in common; what was not asked for is empty."""

    hostname: str = ""
    paths: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"host {self.hostname}" if self.hostname else "", _list("paths", self.paths), _list("tags", self.tags)]
        return ", ".join(filter(None, parts)) or "all snapshots"


DEFAULT_GROUPS: Final = frozenset({GroupBy.HOST, GroupBy.PATHS})


def parse_group_by(text: str) -> frozenset[GroupBy]:
    """`host,paths`; an empty text groups by nothing. Raises InvalidInput."""
    singular = {"hosts": "host", "path": "paths", "tag": "tags"}
    try:
        return frozenset(GroupBy(singular.get(part, part)) for part in text.split(",") if part)
    except ValueError as error:
        raise InvalidInput([Violation("group-by", "consists of host, paths and tags", "PATTERN")]) from error


def grouped(snapshots: Iterable[Saved], by: Iterable[GroupBy]) -> dict[GroupKey, list[Saved]]:
    """The groups by their keys, which ascend."""
    wanted, groups = frozenset(by), dict[GroupKey, list[Saved]]()
    for saved in snapshots:
        groups.setdefault(_key(saved.snapshot, wanted), []).append(saved)
    return dict(sorted(groups.items()))


def _key(snapshot: Snapshot, by: frozenset[GroupBy]) -> GroupKey:
    return GroupKey(
        snapshot.hostname if GroupBy.HOST in by else "",
        tuple(sorted(snapshot.paths)) if GroupBy.PATHS in by else (),
        tuple(sorted(snapshot.tags)) if GroupBy.TAGS in by else (),
    )


def _list(name: str, members: tuple[str, ...]) -> str:
    return f"{name} {', '.join(members)}" if members else ""
