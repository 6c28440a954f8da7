"""What a check is asked to do, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias


class DamageKind(StrEnum):
    """What is wrong."""

    KEY_DAMAGED = "key damaged"
    INDEX_DAMAGED = "index damaged"
    SNAPSHOT_DAMAGED = "snapshot damaged"
    PACK_DAMAGED = "pack damaged"
    """The file is shorter or longer than the index says, or its content is not what its name says."""
    PACK_MISSING = "pack missing"
    INDEX_WRONG = "index wrong"
    """A sound pack holds something else than the index says."""
    TREE_DAMAGED = "tree damaged"
    """No pack has the directory, or it says what makes no sense."""
    BLOB_MISSING = "blob missing"
    """No pack of the index has a part of a file."""
    PACK_UNINDEXED = "pack unindexed"
    """Harmless: left by an interrupted backup, or it belongs to one that is under way."""


HARMLESS: Final = frozenset({DamageKind.PACK_UNINDEXED})
"""Kinds that nobody has to do anything about."""


class Repair(StrEnum):
    """What can be done; the value is the command of `opsuite repo` for it."""

    INDEX = "repair index"
    PACKS = "repair packs"
    SNAPSHOTS = "repair snapshots"
    PRUNE = "prune"
    REMOVE_KEY = "keys remove"
    FORGET = "forget"
    """A snapshot file that cannot be read is lost; a new backup is the way to have one again."""


REPAIRS: Final = {
    DamageKind.KEY_DAMAGED: Repair.REMOVE_KEY,
    DamageKind.INDEX_DAMAGED: Repair.INDEX,
    DamageKind.SNAPSHOT_DAMAGED: Repair.FORGET,
    DamageKind.PACK_DAMAGED: Repair.PACKS,
    DamageKind.PACK_MISSING: Repair.INDEX,
    DamageKind.INDEX_WRONG: Repair.INDEX,
    DamageKind.TREE_DAMAGED: Repair.SNAPSHOTS,
    DamageKind.BLOB_MISSING: Repair.SNAPSHOTS,
    DamageKind.PACK_UNINDEXED: Repair.PRUNE,
}


class Finding(NamedTuple):
    """One thing that is wrong."""

    file: str
    """The path inside the repository, or `tree ID` for a directory that is a blob of some pack."""
    kind: DamageKind
    why: str

    @property
    def repair(self) -> Repair:
        """What can be done about it. Index first, then packs, then snapshots."""
        return REPAIRS[self.kind]


@dataclass(frozen=True, slots=True)
class Subset:
    """Every `of`-th pack, counted so that the subsets 1 to `of` are all packs: restic's `n/t`. At most 256."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of <= 256:
            raise ValueError("a subset is numbered from 1 to the number of subsets, which is at most 256")


@dataclass(frozen=True, slots=True)
class Percent:
    """So much of the packs, chosen at random; at least one."""

    percent: float

    def __post_init__(self) -> None:
        if not 0 < self.percent <= 100:
            raise ValueError("the part to read is more than 0 and at most 100 percent")


@dataclass(frozen=True, slots=True)
class Size:
    """About so many bytes of packs, chosen at random; at least one pack."""

    size_bytes: int


Read: TypeAlias = Subset | Percent | Size | None
"""Which packs to read to the last byte; None: none of them."""
ALL: Final = Subset(1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """How thorough a check is to be. Everything that is metadata is always read."""

    read: Read = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a check found."""

    findings: tuple[Finding, ...]
    snapshots: int
    trees: int
    packs: int
    packs_read: int
    bytes_read: int

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong that matters."""
        return all(finding.kind in HARMLESS for finding in self.findings)
