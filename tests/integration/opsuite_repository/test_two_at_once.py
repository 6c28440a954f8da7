"""Several work on one repository at the same moment: backups beside each other, prunes with a grace beside backups."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
from restic import PASSWORD, Restic

from opsuite_repository.checking import ALL, CheckRequest, check
from opsuite_repository.errors import Locked, StorageUnavailable
from opsuite_repository.format import keys
from opsuite_repository.locking import current_locks, locked, unlock
from opsuite_repository.pipeline.backup import BackupRequest, back_up
from opsuite_repository.pipeline.restore import RestoreRequest, restore
from opsuite_repository.prune import PRUNE_ROLE, PruneOptions, prune
from opsuite_repository.repository import Repository
from opsuite_repository.storage.local import LocalStorage
from opsuite_repository.storage.port import FileType

CHEAP = keys.Cost(n=1 << 10, r=8, p=1)
PACK_BYTES = 64 << 10
WRITERS = 4
ROUNDS = 3


class Clocked(LocalStorage):
    """A folder with a clock that runs through an hour at every look at it."""

    hours = 0

    def now(self) -> datetime:  # type: ignore[override]  # a folder has none
        type(self).hours += 1
        return datetime(2026, 11, 25, tzinfo=UTC) + timedelta(hours=type(self).hours)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    Repository.init(LocalStorage(folder), PASSWORD, cost=CHEAP)
    return folder


def opened(folder: Path) -> Repository:
    return Repository.open(LocalStorage(folder), PASSWORD)


def content_of(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


class Writer:
    """Somebody who changes their files and backs them up, over and over. Much of it others have too."""

    def __init__(self, number: int, source: Path) -> None:
        self.source = source / f"writer {number}"
        self.source.mkdir()
        self.chance = random.Random(number)
        self.made: dict[str, dict[str, str]] = {}

    def back_up(self, repository: Repository) -> None:
        for _ in range(6):
            content = random.Random(self.chance.randrange(30)).randbytes(20_000)
            (self.source / f"file {self.chance.randrange(12)}").write_bytes(content)
        with locked(repository, wait=timedelta(minutes=5)) as lock:
            repository.load_index()
            request = BackupRequest(paths=(self.source,), pack_bytes=PACK_BYTES)
            result = back_up(repository, request, guard=lock.ensure)
        assert result.snapshot_id
        self.made[result.snapshot_id] = content_of(self.source)


def comes_back(repository: Repository, writers: list[Writer], target: Path) -> None:
    """Every snapshot that is there is what its writer saw."""
    repository.load_index()
    for writer in writers:
        for name in sorted(writer.made.keys() & {file.name for file in repository.storage.list(FileType.SNAPSHOT)}):
            restore(repository, repository.read_snapshot(name), RestoreRequest(target=target / name))
            assert content_of(target / name / writer.source.relative_to("/")) == writer.made[name]


def at_once(*works: Callable[[], None]) -> None:
    """Do all of it in as many threads; the first failure is raised."""
    barrier = threading.Barrier(len(works))

    def begin(work: Callable[[], None]) -> None:
        barrier.wait(60)
        work()

    with ThreadPoolExecutor(len(works)) as threads:
        for done in [threads.submit(begin, work) for work in works]:
            done.result(timeout=300)


def test_backups_beside_each_other_take_nothing_from_each_other(folder: Path, tmp_path: Path) -> None:
    writers = [Writer(number, tmp_path) for number in range(WRITERS)]

    def several_times(writer: Writer) -> None:
        for _ in range(ROUNDS):
            writer.back_up(opened(folder))

    at_once(*[partial(several_times, writer) for writer in writers])

    assert sum(len(writer.made) for writer in writers) == WRITERS * ROUNDS
    comes_back(opened(folder), writers, tmp_path / "restored")
    assert not check(opened(folder), CheckRequest(read=ALL)).findings
    Restic(folder)("check", "--read-data")
    with locked(repository := opened(folder), exclusive=True) as lock:
        prune(repository, PruneOptions(max_unused_percent=0), guard=lock.ensure)
    comes_back(opened(folder), writers, tmp_path / "again")
    Restic(folder)("check", "--read-data")


def test_prunes_with_a_grace_beside_backups_and_forgetting_lose_nothing(folder: Path, tmp_path: Path) -> None:
    """The clock of the storage hurries, so that packs are deleted within the test, not a day later."""
    writers = [Writer(number, tmp_path) for number in range(3)]
    removed: list[int] = []
    finished = threading.Semaphore(0)

    def hurried() -> Repository:
        return Repository.open(Clocked(folder), PASSWORD)

    def write(writer: Writer) -> None:
        try:
            for _ in range(6):
                writer.back_up(hurried())
        finally:
            finished.release()

    def tidy() -> None:
        ended = 0
        while ended < len(writers):
            ended += finished.acquire(timeout=0.05)
            repository = hurried()
            with locked(repository, role=PRUNE_ROLE, wait=timedelta(minutes=5)) as lock:
                snapshots = sorted((each.time.ns, name) for name, each in repository.snapshots())
                for _, name in snapshots[:-3]:
                    repository.storage.delete(FileType.SNAPSHOT, name)
                options = PruneOptions(max_unused_percent=0, pack_bytes=PACK_BYTES, grace=timedelta(hours=2))
                removed.append(len(prune(repository, options, guard=lock.ensure).delete))

    at_once(*[partial(write, writer) for writer in writers], tidy)
    tidy_once_more = hurried()
    with locked(tidy_once_more, role=PRUNE_ROLE) as lock:
        removed.append(len(prune(tidy_once_more, PruneOptions(grace=timedelta(hours=2)), guard=lock.ensure).delete))

    assert check(opened(folder), CheckRequest(read=ALL)).is_sound
    comes_back(opened(folder), writers, tmp_path / "restored")
    Restic(folder)("check", "--read-data")
    assert sum(removed)


def test_of_those_who_want_to_be_alone_one_at_a_time_is(folder: Path) -> None:
    inside, entered = threading.Semaphore(1), []

    def alone() -> None:
        with locked(opened(folder), exclusive=True, wait=timedelta(minutes=10)):
            assert inside.acquire(blocking=False)
            entered.append(1)
            inside.release()

    at_once(alone, alone)
    assert len(entered) == 2


@contextmanager
def restic_at_work(folder: Path) -> Iterator[None]:
    """A restic that reads from a pipe nobody fills, and so holds its lock."""
    with Restic(folder).start("backup", "--stdin", "--stdin-filename", "slow") as process:
        assert process.stdin
        repository = opened(folder)
        while not list(current_locks(repository)):
            assert process.poll() is None
        try:
            yield
        finally:
            process.stdin.write("at last")
            process.stdin.close()
            assert process.wait(120) == 0


def test_restic_and_we_keep_out_of_each_others_way(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content" * 1000)
    with locked(opened(folder)):
        Restic(folder)("backup", tmp_path / "file")
        assert Restic(folder)("prune", check=False).returncode == 11
    with locked(opened(folder), exclusive=True):
        assert Restic(folder)("backup", tmp_path / "file", check=False).returncode == 11
        assert Restic(folder)("unlock").returncode == 0  # it sees that we are alive
        assert len(list(current_locks(opened(folder)))) == 1

    with restic_at_work(folder):
        with pytest.raises(Locked), locked(opened(folder), exclusive=True):
            pass
        with locked(opened(folder)):
            pass
        assert not unlock(opened(folder))
    with locked(opened(folder), exclusive=True):
        pass


def test_who_holds_a_lock_survives_the_way_restic_asks_whether_they_live(folder: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from opsuite_repository.locking import locked
from opsuite_repository.repository import Repository
from opsuite_repository.storage.local import LocalStorage
with locked(Repository.open(LocalStorage(Path({str(folder)!r})), {PASSWORD!r})):
    os.kill(os.getpid(), signal.SIGHUP)
    print("alive")
"""
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "alive\n"
    )


def test_the_lock_of_a_restic_that_was_killed_stays_until_it_is_unlocked(folder: Path) -> None:
    with Restic(folder).start("backup", "--stdin", "--stdin-filename", "slow") as process:
        while not list(current_locks(opened(folder))):
            assert process.poll() is None
        process.kill()
    with pytest.raises(Locked), locked(opened(folder), exclusive=True):
        pass
    assert len(unlock(opened(folder))) == 1
    with locked(opened(folder), exclusive=True):
        pass


def test_a_failing_storage_is_told_and_leaves_the_lock_for_proof(folder: Path) -> None:
    class Failing(LocalStorage):
        fails = False

        def delete(self, kind: FileType, name: str) -> None:
            if self.fails:
                raise StorageUnavailable("gone")
            super().delete(kind, name)

    storage = Failing(folder)
    with locked(Repository.open(storage, PASSWORD), exclusive=True):
        storage.fails = True
    assert len(list(current_locks(opened(folder)))) == 1  # this process lives, so that nobody may remove it yet
    with pytest.raises(Locked), locked(opened(folder), exclusive=True):
        pass
