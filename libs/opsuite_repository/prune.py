"""Giving back the room of what no snapshot refers to any more.

Used under an exclusive lock, as restic does it, everything happens at once: what is still needed of wasteful packs is
written anew, then the index without the old packs, then they are deleted. Dying in between leaves files that nobody
refers to, and the next prune removes them.

With a grace nobody is kept out, if all clients are of this library. Packs that are not needed are marked in the index.
From then on our backups do not rely on them, while whoever has relied on them before can finish; they are deleted by a
prune that comes after the grace, sees that no lock is older than the mark, and still finds nobody who needs them.
Two prunes keep each other out by the role of their locks. Source of the idea: rustic's two-phase pruning, which moves
such packs out of the part of the index that restic reads; here they stay in it, so that restic can read everything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from opsuite_repository.errors import Damaged, FileMissing
from opsuite_repository.format.blobs import BlobId, BlobType, PackId, SealedBlob
from opsuite_repository.format.index import IndexedPack
from opsuite_repository.format.packs import PackEntry, bytes_in_pack
from opsuite_repository.format.times import Instant, from_datetime
from opsuite_repository.gathering import entries_by_pack, gather, readable
from opsuite_repository.index_files import LoadedIndex, load_tolerantly, rewrite
from opsuite_repository.locking import current_locks
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.pipeline.progress import Meter, ProgressSink
from opsuite_repository.pipeline.work import Course
from opsuite_repository.prune_plan import GRACE, PackUse, PruneOptions, PrunePlan, decide
from opsuite_repository.reachable import BlobSet, used_blobs
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType, path_of

__all__ = ["GRACE", "PRUNE_ROLE", "PruneOptions", "PrunePlan", "plan_prune", "prune"]

PRUNE_ROLE: Final = "prune"
"""The role of the shared lock that a prune with a grace needs."""
_SLACK: Final = timedelta(hours=1)
"""Clocks of different machines, and the moment between a mark and its being seen, differ by less."""


def plan_prune(
    repository: Repository,
    options: PruneOptions | None = None,
    *,
    cancelled: threading.Event | None = None,
    guard: Callable[[], None] | None = None,
) -> PrunePlan:
    """What `prune` would do now; a shared lock is enough. The index is loaded by this.

    Raises Damaged when something is missing or cannot be read: pruning what is not whole could make it worse.
    """
    return _Prune(repository, options or PruneOptions(), Course(cancelled, guard)).plan


def prune(
    repository: Repository,
    options: PruneOptions | None = None,
    *,
    progress: ProgressSink | None = None,
    cancelled: threading.Event | None = None,
    guard: Callable[[], None] | None = None,
) -> PrunePlan:
    """Do it; what was done is given back. `guard` is the `ensure` of the lock, and asked before every deletion.

    Without a grace the lock has to be exclusive; with one it is shared and has the role PRUNE_ROLE. The files and
    bytes of `progress` are the blobs that are written anew. Raises as `plan_prune`, and Cancelled.
    """
    course = Course(cancelled, guard)
    work = _Prune(repository, options or PruneOptions(), course)
    work.do(progress)
    repository.load_index()
    return work.plan


class _Prune:
    """One prune: the plan is made by making it."""

    def __init__(self, repository: Repository, options: PruneOptions, course: Course) -> None:
        self._repository = repository
        self._options = options
        self._course = course
        self._now = _now(repository)
        deletable = self._marked_before() if options.grace is not None else None  # locks are looked at first
        roots = [snapshot.tree for _, snapshot in repository.snapshots()]
        self._loaded = loaded = load_tolerantly(repository)
        for error in loaded.damaged.values():
            raise error
        self._used = used_blobs(repository, roots, course)
        self._require_known()
        self._sizes = {bytes.fromhex(file.name): file.size for file in repository.storage.list(FileType.DATA)}
        self.plan = self._decided(deletable)

    def _marked_before(self) -> datetime:
        """Packs that were marked before may be deleted: whoever works now has begun after that, and saw the mark."""
        begun = [lock.since.to_datetime() if lock.since else None for _, lock in current_locks(self._repository)]
        known = [since for since in begun if since is not None and since <= self._now + _SLACK]
        if len(known) < len(begun):  # a foreign client knows nothing of marks; a clock that was set proves nothing
            return datetime.min.replace(tzinfo=UTC)
        return min(min(known, default=self._now) - _SLACK, self._now - (self._options.grace or GRACE))

    def _decided(self, deletable: datetime | None) -> PrunePlan:
        uses = pack_uses(self._repository, self._used, self._loaded, self._sizes)
        present = {pack: use for pack, use in uses.items() if pack in self._sizes}
        for pack, use in uses.items():
            self._require_whole(pack, use)
        for pack, use in present.items():
            use.size_bytes = self._sizes[pack]
        marks = self._loaded.marks if deletable else {}
        plan = decide((use for pack, use in present.items() if pack not in marks), self._options)
        plan.vanished = uses.keys() - present.keys()
        plan.unindexed = {pack: size for pack, size in self._sizes.items() if pack not in uses}
        if deletable is None:
            plan.freed_bytes += sum(plan.unindexed.values())
            return plan
        plan.marked, plan.delete, plan.freed_bytes = plan.delete | plan.repack, set(), 0
        for pack in marks.keys() & present.keys():
            use, since = present[pack], marks[pack].to_datetime()
            group = plan.recovered if use.used_blobs else plan.delete if since < deletable else plan.waiting
            group.add(pack)
            plan.freed_bytes += use.size_bytes if group is plan.delete else 0
        return plan

    def _require_known(self) -> None:
        for kind, blobs in self._used.items():
            for id_ in blobs.unknown:
                if self._repository.index.find(kind, id_) is None:  # a retired pack may have it
                    raise Damaged(f"{kind} blob {id_.hex()}", "a snapshot needs it, and no pack of the index has it")

    def _require_whole(self, pack: PackId, use: PackUse) -> None:
        """Raises Damaged for a pack that is needed and is not what the index says."""
        size, expected = self._sizes.get(pack), self._loaded.packs[pack].size_bytes
        if not use.used_blobs or size == expected:
            return
        why = "it is missing" if size is None else f"it has {size} bytes; by the index it should have {expected}"
        raise Damaged(path_of(FileType.DATA, pack.hex()), f"{why}, and {use.used_blobs} blobs of it are in use")

    def do(self, progress: ProgressSink | None) -> None:
        plan = self.plan
        if self._options.grace is None:
            self._delete(plan.unindexed)  # first: the room may be needed
        self._repack(progress)
        if self._options.grace is None:
            gone = plan.delete | plan.repack
            self._rewrite(dict.fromkeys(self._loaded.marks.keys() & plan.keep), frozenset(gone | plan.vanished))
            self._delete(gone)
        else:
            adopted = self._adopted()
            mark = from_datetime(_now(self._repository))
            change: dict[PackId, Instant | None] = dict.fromkeys(plan.marked, mark)
            change.update(dict.fromkeys(plan.recovered, None))
            extra = [pack._replace(unused_since=mark) for pack in adopted]
            self._rewrite(change, frozenset(plan.delete | plan.vanished), extra)
            self._delete(plan.delete)

    def _repack(self, progress: ProgressSink | None) -> None:
        """Write what is needed of the packs to repack into new ones, each blob once, its stored form as it is."""
        wanted = self._wanted(entries_by_pack(self._repository.index, self.plan.repack))
        blobs = [entry for entries in wanted.values() for entry in entries]
        meter = Meter(progress, files_total=len(blobs), bytes_total=sum(entry.length for entry in blobs))
        with Packer(self._repository, pack_bytes=self._options.pack_bytes) as packer:
            for gathered in gather(self._repository, wanted):
                self._course.check()
                entry = gathered.entry
                good = readable(self._repository, gathered)
                packer.add(SealedBlob(entry.type, entry.id, good.stored, good.entry.uncompressed_length))
                meter.add(files=1, size_bytes=entry.length)
        meter.finish()

    def _wanted(self, packs: Mapping[PackId, list[PackEntry]]) -> dict[PackId, list[PackEntry]]:
        taken: set[tuple[BlobType, BlobId]] = set()
        wanted: dict[PackId, list[PackEntry]] = {}
        for pack, entries in packs.items():
            for entry in entries:
                key = entry.type, entry.id
                if entry.id in self._used[entry.type] and key not in taken and not self._is_kept(entry):
                    taken.add(key)
                    wanted.setdefault(pack, []).append(entry)
        return wanted

    def _is_kept(self, entry: PackEntry) -> bool:
        """Whether another pack has the blob that stays."""
        stays = self.plan.keep | self.plan.recovered
        return any(place.pack in stays for place in self._repository.index.find_all(entry.type, entry.id))

    def _adopted(self) -> list[IndexedPack]:
        """Packs that no index names, to be marked in one. If they belong to a backup, its own index counts."""
        adopted = []
        for pack, size in self.plan.unindexed.items():
            try:
                entries = self._repository.read_pack_header(pack.hex(), size)
            except (Damaged, FileMissing):  # left for a prune under an exclusive lock, which needs no header
                continue
            adopted.append(IndexedPack(pack, entries))
            self.plan.marked.add(pack)
        return adopted

    def _rewrite(
        self, change: Mapping[PackId, Instant | None], drop: frozenset[PackId], extra: Iterable[IndexedPack] = ()
    ) -> None:
        self._course.check()
        rewrite(self._repository, self._loaded.files, change=change, drop=drop, extra=extra, guard=self._course.check)

    def _delete(self, packs: Iterable[PackId]) -> None:
        for pack in packs:
            self._course.check()
            self._repository.storage.delete(FileType.DATA, pack.hex())


def pack_uses(
    repository: Repository, used: Mapping[BlobType, BlobSet], loaded: LoadedIndex, sizes: Mapping[PackId, int]
) -> dict[PackId, PackUse]:
    """How much of each pack of the index is in use. Of a blob that is in several packs, one copy is.

    `sizes` are those of the files; a copy in a pack that is whole is preferred.
    """

    def is_whole(pack: PackId) -> bool:
        return sizes.get(pack) == loaded.packs[pack].size_bytes

    uses = {pack: PackUse(pack) for pack in loaded.packs}
    index = repository.index
    several = {kind: _several(repository, kind) for kind in BlobType}
    copied: dict[tuple[BlobType, BlobId], dict[PackId, PackEntry]] = {}
    for each in (index, index.retired) if index.retired else (index,):
        for pack, entry in each.entries():
            use = uses[pack]
            use.is_mixed = use.is_mixed or bool(use.used_blobs + use.unused_blobs and use.kind is not entry.type)
            use.kind = entry.type
            is_used = entry.id in used[entry.type]
            if is_used and entry.id in several[entry.type]:
                copied.setdefault((entry.type, entry.id), {})[pack] = entry
            _count(use, entry, is_used=is_used)
    for copies in copied.values():
        best = min(copies, key=lambda pack: (not is_whole(pack), pack in loaded.marks, -uses[pack].used_bytes, pack))
        for pack, entry in copies.items():
            if pack != best:
                _count(uses[pack], entry, is_used=True, by=-1)
                _count(uses[pack], entry, is_used=False)
    return uses


def _several(repository: Repository, kind: BlobType) -> set[BlobId]:
    """The blobs that are in more than one pack, retired ones included."""
    index = repository.index
    several = set(index.copies(kind))
    if index.retired:
        several.update(index.retired.copies(kind))
        several.update(entry.id for _, entry in index.retired.entries() if index.has(kind, entry.id))
    return several


def _count(use: PackUse, entry: PackEntry, *, is_used: bool, by: int = 1) -> None:
    if is_used:
        use.used_blobs += by
        use.used_bytes += by * bytes_in_pack(entry)
    else:
        use.unused_blobs += by
        use.unused_bytes += by * bytes_in_pack(entry)


def _now(repository: Repository) -> datetime:
    return repository.storage.now() or datetime.now(UTC)
