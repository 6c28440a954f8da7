from __future__ import annotations

import contextlib
import random
import threading
from datetime import timedelta

import pytest
from fakes.repository_in_memory import (
    DatedStorage,
    a_repository,
    damage,
    files_of,
    memory,
    names,
    opened,
    put,
    save,
)

from opsuite_repository.checking import ALL, CheckRequest, check
from opsuite_repository.errors import Cancelled, Damaged, LockLost
from opsuite_repository.format.blobs import BlobType
from opsuite_repository.format.locks import Lock
from opsuite_repository.format.times import from_datetime
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.prune import PruneOptions, plan_prune, prune
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType

FILES = {f"file {number}": random.Random(number).randbytes(2000) for number in range(10)}
SOME = {name: FILES[name] for name in list(FILES)[:4]}
OTHERS = {"other": b"x" * 500}
ALL_OF_IT = PruneOptions(max_unused_percent=0)
WITH_GRACE = PruneOptions(max_unused_percent=0, grace=timedelta(hours=23))


def is_whole(repository: Repository) -> bool:
    report = check(opened(repository), CheckRequest(read=ALL))
    return not report.findings


def forget(repository: Repository, snapshot: str) -> None:
    repository.storage.delete(FileType.SNAPSHOT, snapshot)


def test_what_nobody_refers_to_is_removed_and_the_rest_stays() -> None:
    repository = a_repository()
    gone, kept = save(repository, FILES, at=1), save(repository, OTHERS, at=2)
    forget(repository, gone)
    before = names(repository, FileType.DATA)

    plan = prune(repository, ALL_OF_IT)

    assert files_of(opened(repository), kept) == OTHERS
    assert is_whole(repository)
    assert names(repository, FileType.DATA) < before
    assert len(plan.delete) == 2
    assert not plan.repack
    assert plan.freed_bytes > 20_000


def test_a_pack_that_is_partly_used_is_written_anew() -> None:
    repository = a_repository()
    gone, kept = save(repository, FILES, at=1), save(repository, SOME, at=2)
    forget(repository, gone)

    plan = prune(repository, ALL_OF_IT)

    assert len(plan.repack) == 1
    assert plan.repacked_bytes == pytest.approx(4 * 2000, rel=0.1)
    assert files_of(opened(repository), kept) == SOME
    assert is_whole(repository)
    assert repository.index.count(BlobType.DATA) == 4
    assert not plan_prune(repository, ALL_OF_IT).repack


def test_a_plan_changes_nothing() -> None:
    repository = a_repository()
    forget(repository, save(repository, FILES))
    before = dict(memory(repository).files)
    plan = plan_prune(repository, ALL_OF_IT)
    assert len(plan.delete) == 2
    assert memory(repository).files == before


def test_of_a_blob_that_is_stored_twice_one_copy_stays() -> None:
    repository = a_repository()
    with Packer(repository) as packer:
        put(repository, packer, BlobType.DATA, SOME["file 0"])
    twin = Repository.open(repository.storage, "right")
    twin.load_index = lambda: None  # type: ignore[method-assign]  # a writer that began at the same time
    kept = save(twin, SOME)
    assert len(list(opened(repository).index.copies(BlobType.DATA))) == 1

    plan = prune(repository, ALL_OF_IT)

    assert plan.unused_bytes_before > 2000
    assert not list(opened(repository).index.copies(BlobType.DATA))
    assert files_of(opened(repository), kept) == SOME
    assert is_whole(repository)


def test_packs_that_no_index_names_are_removed() -> None:
    repository = a_repository()
    kept = save(repository, SOME)
    orphans = a_repository()
    save(orphans, FILES)
    name, content = next((name, data) for (kind, name), data in memory(orphans).files.items() if kind is FileType.DATA)
    memory(repository).files[FileType.DATA, name] = content

    plan = prune(repository, ALL_OF_IT)

    assert [pack.hex() for pack in plan.unindexed] == [name]
    assert plan.freed_bytes == len(content)
    assert name not in names(repository, FileType.DATA)
    assert files_of(opened(repository), kept) == SOME


def test_a_pack_that_is_missing_and_not_needed_is_forgotten() -> None:
    repository = a_repository()
    gone, kept = save(repository, FILES, at=1), save(repository, OTHERS, at=2)
    forget(repository, gone)
    delete = plan_prune(repository, ALL_OF_IT).delete
    memory(repository).delete(FileType.DATA, min(delete).hex())

    assert len(prune(repository, ALL_OF_IT).vanished) == 1
    assert files_of(opened(repository), kept) == OTHERS
    assert is_whole(repository)


@pytest.mark.parametrize("kind", [FileType.DATA, FileType.INDEX, FileType.SNAPSHOT])
def test_nothing_is_removed_from_a_repository_that_is_not_whole(kind: FileType) -> None:
    repository = a_repository()
    gone = save(repository, FILES, at=1)
    save(repository, SOME, at=2)
    forget(repository, gone)
    for name in names(repository, kind):
        if kind is FileType.DATA:
            memory(repository).delete(kind, name)
        else:
            damage(repository, kind, name)
    before = dict(memory(repository).files)
    with pytest.raises(Damaged):
        prune(repository, ALL_OF_IT)
    assert memory(repository).files == before


def test_a_blob_that_is_damaged_in_a_pack_to_be_written_anew_stops_the_prune_with_the_pack_still_there() -> None:
    repository = a_repository()
    gone = save(repository, FILES, at=1)
    save(repository, SOME, at=2)
    forget(repository, gone)
    (pack,) = plan_prune(repository, ALL_OF_IT).repack
    for offset in range(40, 20_000, 1000):
        damage(repository, FileType.DATA, pack.hex(), offset)
    with pytest.raises(Damaged, match=pack.hex()):
        prune(repository, ALL_OF_IT)
    assert pack.hex() in names(repository, FileType.DATA)


def test_a_lost_lock_ends_a_prune_before_it_deletes_anything() -> None:
    repository = a_repository()
    gone, kept = save(repository, FILES, at=1), save(repository, SOME, at=2)
    forget(repository, gone)
    memory(repository).log.clear()
    asked = iter(range(100))

    def guard() -> None:
        if next(asked) >= 5:
            raise LockLost("lost")

    with pytest.raises(LockLost):
        prune(repository, ALL_OF_IT, guard=guard)
    assert not any(line.startswith("delete") for line in memory(repository).log)
    assert files_of(opened(repository), kept) == SOME


def test_a_prune_can_be_cancelled() -> None:
    repository = a_repository()
    save(repository, FILES)
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        prune(repository, ALL_OF_IT, cancelled=cancelled)


class EndingStorage(DatedStorage):
    """One that takes some more changes, and then nothing more."""

    left = 10_000

    def write(self, kind: FileType, name: str, data: bytes | bytearray | memoryview, *, create: bool = True) -> None:
        self._count()
        super().write(kind, name, data, create=create)

    def delete(self, kind: FileType, name: str) -> None:
        self._count()
        super().delete(kind, name)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the power went")


@pytest.mark.parametrize("options", [ALL_OF_IT, WITH_GRACE], ids=["at once", "with a grace"])
@pytest.mark.parametrize("changes", range(12))
def test_a_prune_that_ends_anywhere_leaves_everything_that_is_needed(changes: int, options: PruneOptions) -> None:
    storage = EndingStorage()
    repository = a_repository(storage)
    gone, kept = save(repository, FILES, at=1), save(repository, SOME, at=2)
    forget(repository, gone)
    for _ in range(2):  # the second prune removes what the first has marked
        storage.left = changes
        with contextlib.suppress(RuntimeError):
            prune(opened(repository), options)
        storage.left = 10_000
        storage.time += timedelta(days=2)

        assert files_of(opened(repository), kept) == SOME
        assert check(opened(repository), CheckRequest(read=ALL)).is_sound

    for _ in range(2):
        prune(opened(repository), options)
        storage.time += timedelta(days=2)
    assert is_whole(repository)
    assert opened(repository).index.count(BlobType.DATA) == 4
    assert not opened(repository).index.retired


class Graceful:
    """A repository with a clock, pruned with a grace, from which a snapshot was forgotten."""

    def __init__(self) -> None:
        self.storage = DatedStorage()
        self.repository = a_repository(self.storage)
        gone, self.kept = save(self.repository, FILES, at=1), save(self.repository, SOME, at=2)
        forget(self.repository, gone)
        self.first = prune(self.repository, WITH_GRACE)

    def pass_(self, time: timedelta) -> None:
        self.storage.time += time

    def lock_of(self, since: timedelta | None) -> str:
        """Somebody holds a lock: restic, or one of us that began so long before now."""
        lock = Lock(
            time=from_datetime(self.storage.time),
            exclusive=False,
            hostname="elsewhere",
            username="bob",
            pid=77,
            process="somewhere" if since is not None else "",
            since=None if since is None else from_datetime(self.storage.time - since),
        )
        return self.repository.write_document(FileType.LOCK, lock.encode())


def test_with_a_grace_unused_packs_are_marked_first_and_removed_later() -> None:
    it = Graceful()
    assert len(it.first.marked) == 2
    assert it.first.repack < it.first.marked
    assert it.first.freed_bytes == 0
    assert is_whole(it.repository)
    before = names(it.repository, FileType.DATA)

    it.pass_(timedelta(hours=22))
    early = prune(it.repository, WITH_GRACE)
    assert early.waiting == it.first.marked
    assert names(it.repository, FileType.DATA) == before

    it.pass_(timedelta(hours=2))
    late = prune(it.repository, WITH_GRACE)
    assert late.delete == it.first.marked
    assert late.freed_bytes > 20_000
    assert names(it.repository, FileType.DATA) == before - {pack.hex() for pack in it.first.marked}
    assert files_of(opened(it.repository), it.kept) == SOME
    assert is_whole(it.repository)


def test_a_backup_that_began_before_the_mark_can_rely_on_what_it_marked() -> None:
    storage = DatedStorage()
    repository = a_repository(storage)
    gone = save(repository, FILES, at=1)
    slow = opened(repository)  # knows all the blobs
    slow.load_index = lambda: None  # type: ignore[method-assign]  # it will not look again
    forget(repository, gone)
    prune(repository, WITH_GRACE)
    made = save(slow, FILES, at=3)

    assert files_of(opened(repository), made) == FILES
    assert is_whole(repository)
    storage.time += timedelta(days=3)
    assert prune(repository, WITH_GRACE).recovered
    assert not opened(repository).index.retired
    assert files_of(opened(repository), made) == FILES


def test_a_backup_that_begins_after_the_mark_stores_again_what_is_going_to_be_removed() -> None:
    it = Graceful()
    made = save(opened(it.repository), FILES, at=3)
    it.pass_(timedelta(days=3))
    late = prune(it.repository, WITH_GRACE)
    assert late.delete == it.first.marked
    assert not late.recovered
    assert files_of(opened(it.repository), made) == FILES
    assert is_whole(it.repository)


@pytest.mark.parametrize(
    ("since", "waits"),
    [(timedelta(days=4), True), (timedelta(days=2), False), (timedelta(days=-400), True), (None, True)],
    ids=[
        "of ours, begun before the mark",
        "of ours, begun after it",
        "with a clock that was set",
        "of a foreign client",
    ],
)
def test_nothing_is_removed_while_somebody_works_who_may_not_have_seen_the_mark(
    since: timedelta | None, waits: bool
) -> None:
    it = Graceful()
    it.pass_(timedelta(days=3))
    lock = it.lock_of(since)
    plan = prune(it.repository, WITH_GRACE)
    assert (plan.waiting if waits else plan.delete) == it.first.marked
    it.storage.delete(FileType.LOCK, lock)
    prune(it.repository, WITH_GRACE)
    assert not opened(it.repository).index.retired


def test_packs_that_a_backup_under_way_has_not_named_yet_are_let_live() -> None:
    storage = DatedStorage()
    repository = a_repository(storage)
    made = save(repository, FILES)
    written_last = {key: data for key, data in storage.files.items() if key[0] in {FileType.INDEX, FileType.SNAPSHOT}}
    for kind, name in written_last:
        storage.delete(kind, name)

    plan = prune(repository, WITH_GRACE)
    assert len(plan.unindexed) == len(plan.marked) == 2
    assert not opened(repository).index.count(BlobType.DATA)

    storage.files.update(written_last)
    assert files_of(opened(repository), made) == FILES
    storage.time += timedelta(days=3)
    prune(repository, WITH_GRACE)
    assert files_of(opened(repository), made) == FILES
    assert is_whole(repository)


def test_packs_that_an_interrupted_backup_left_are_removed_after_the_grace() -> None:
    storage = DatedStorage()
    repository = a_repository(storage)
    made = save(repository, FILES)
    for kind, name in [
        (FileType.SNAPSHOT, made),
        *((FileType.INDEX, name) for name in names(repository, FileType.INDEX)),
    ]:
        storage.delete(kind, name)
    prune(repository, WITH_GRACE)
    assert len(names(repository, FileType.DATA)) == 2
    storage.time += timedelta(days=3)
    prune(repository, WITH_GRACE)
    assert not names(repository, FileType.DATA)


def test_an_exclusive_prune_needs_no_grace_for_what_was_marked_before() -> None:
    it = Graceful()
    plan = prune(it.repository, ALL_OF_IT)
    assert plan.delete >= it.first.marked - it.first.repack
    assert not opened(it.repository).index.retired
    assert files_of(opened(it.repository), it.kept) == SOME
    assert is_whole(it.repository)
