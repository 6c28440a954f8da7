"""Which packs a prune keeps, empties or deletes: decided here, over numbers, and done elsewhere.

Packs without anything in use go. Of those that are partly in use, the worst are written anew until the rest wastes no
more than was allowed: restic's rule (`decidePackAction` in internal/repository/prune.go), by which a few per cent of
waste save most of the copying. Packs of trees come first, whatever is allowed: they are small, and read all the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from typing import Final

from opsuite_repository.format.blobs import BlobType, PackId
from opsuite_repository.format.packs import DEFAULT_PACK_BYTES

GRACE: Final = timedelta(hours=23)
"""As rustic: somewhat less than a day, so that a daily prune removes what the one before has marked."""
_SMALL_PART: Final = 4
"""A pack is small when it has less than one part in four of the usual size."""
_WORTHWHILE: Final = 10
"""Small packs are put together once there are so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """How much to do. Unlimited waste means: delete only packs that are not used at all."""

    max_unused_percent: float | None = 5.0
    """Waste that may stay, in percent of what is stored afterwards; None: any."""
    max_unused_bytes: int | None = None
    """The same in bytes; the smaller bound counts."""
    max_repack_bytes: int | None = None
    """Write no more than about so much anew; None: whatever is needed."""
    repack_small: bool = True
    """Put packs together that are much smaller than usual, once there are some."""
    pack_bytes: int = DEFAULT_PACK_BYTES
    grace: timedelta | None = None
    """None: delete at once, as restic does; needs an exclusive lock. Otherwise the first prune marks packs as unused
    and one that comes so much later deletes them, beside running backups; all clients have to be of this library."""


@dataclass(slots=True)
class PackUse:
    """One pack, and how much of it somebody refers to."""

    id: PackId
    kind: BlobType = BlobType.DATA
    size_bytes: int = 0
    used_blobs: int = 0
    used_bytes: int = 0
    unused_blobs: int = 0
    unused_bytes: int = 0
    is_mixed: bool = False
    """Holds trees and data, as in repositories of version 1."""


@dataclass(slots=True)
class PrunePlan:
    """What a prune will do, or has done."""

    keep: set[PackId] = field(default_factory=set)
    repack: set[PackId] = field(default_factory=set)
    """Written anew without what is unused, then deleted."""
    delete: set[PackId] = field(default_factory=set)
    """Nobody refers to them."""
    unindexed: dict[PackId, int] = field(default_factory=dict)
    """Packs that no index names, with their sizes: what an interrupted backup left, or one under way has written."""
    vanished: set[PackId] = field(default_factory=set)
    """Packs that are gone already and of which nothing was in use; the index will forget them."""
    used_bytes: int = 0
    unused_bytes_before: int = 0
    unused_bytes_after: int = 0
    repacked_bytes: int = 0
    """What is read and written anew."""
    freed_bytes: int = 0
    """Files deleted, at once or after the grace, less what is written anew."""
    marked: set[PackId] = field(default_factory=set)
    """With a grace: not deleted yet, but marked now."""
    recovered: set[PackId] = field(default_factory=set)
    """With a grace: marked before, and in use again."""
    waiting: set[PackId] = field(default_factory=set)
    """With a grace: marked before, and the grace or a backup that began earlier is not over."""


def decide(uses: Iterable[PackUse], options: PruneOptions) -> PrunePlan:
    """The plan for these packs. The order of `uses` does not matter."""
    plan, candidates, small = PrunePlan(), [], []
    for use in sorted(uses, key=lambda use: use.id):
        plan.used_bytes += use.used_bytes
        plan.unused_bytes_before += use.unused_bytes
        if not use.used_blobs:
            plan.delete.add(use.id)
            plan.freed_bytes += use.size_bytes
        elif use.unused_blobs or use.is_mixed:
            candidates.append(use)
        elif options.repack_small and use.size_bytes * _SMALL_PART < options.pack_bytes:
            small.append(use)
        else:
            plan.keep.add(use.id)
    waste = sum(use.unused_bytes for use in candidates)
    for use in sorted(candidates, key=_urgency):
        allowed = _allowed(plan.used_bytes, options)
        is_good_enough = waste <= allowed and (_is_plain_data(use) or allowed == inf)
        if is_good_enough or not _fits(plan, use, options):
            plan.keep.add(use.id)
            continue
        waste -= use.unused_bytes
        _repack(plan, use)
    plan.unused_bytes_after = waste
    for kind in BlobType:
        _put_together([use for use in small if use.kind is kind], plan, options)
    return plan


def _put_together(small: list[PackUse], plan: PrunePlan, options: PruneOptions) -> None:
    """Small packs cost a request each with every read; two or three are not worth it."""
    for use in small:
        if len(small) >= _WORTHWHILE and _fits(plan, use, options):
            _repack(plan, use)
        else:
            plan.keep.add(use.id)


def _repack(plan: PrunePlan, use: PackUse) -> None:
    plan.repack.add(use.id)
    plan.repacked_bytes += use.used_bytes
    plan.freed_bytes += use.unused_bytes


def _urgency(use: PackUse) -> tuple[bool, float, PackId]:
    share = use.used_bytes / (use.used_bytes + use.unused_bytes)
    return _is_plain_data(use), share, use.id


def _is_plain_data(use: PackUse) -> bool:
    return use.kind is BlobType.DATA and not use.is_mixed


def _allowed(used_bytes: int, options: PruneOptions) -> float:
    """How much waste may stay. A percentage is of the whole, waste included."""
    percent, most = options.max_unused_percent, options.max_unused_bytes
    by_percent = inf if percent is None or percent >= 100 else percent / (100 - percent) * used_bytes
    return min(by_percent, inf if most is None else most)


def _fits(plan: PrunePlan, use: PackUse, options: PruneOptions) -> bool:
    most = options.max_repack_bytes
    return most is None or plan.repacked_bytes + use.used_bytes <= most
