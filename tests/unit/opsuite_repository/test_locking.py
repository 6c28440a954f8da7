from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from fakes.memory_storage import MemoryStorage

from opsuite_repository.errors import Damaged, Locked, LockLost, StorageUnavailable
from opsuite_repository.format import keys
from opsuite_repository.format.locks import Lock
from opsuite_repository.format.times import from_datetime
from opsuite_repository.holders import is_gone, this_process
from opsuite_repository.locking import HeldLock, Timing, locked, read_lock, unlock
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
CHEAP = keys.Cost(n=16, r=1, p=1)


class Hands:
    """Clocks that move when somebody sleeps, or when they are set."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.wall = NOON
        self.sleeps: list[float] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.pass_(timedelta(seconds=seconds))
        self.meanwhile()

    def pass_(self, time: timedelta) -> None:
        self.passed += time.total_seconds()
        self.wall += time

    @property
    def timing(self) -> Timing:
        return Timing(now=lambda: self.wall, elapsed=lambda: self.passed, sleep=self.sleep)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def repository() -> Repository:
    return Repository.init(MemoryStorage(), "right", cost=CHEAP)


def lock_names(repository: Repository) -> set[str]:
    return {file.name for file in repository.storage.list(FileType.LOCK)}


def leave(repository: Repository, **of: object) -> str:
    """Write the lock of somebody else: by default restic on another host, shared, this minute."""
    given = {"time": from_datetime(NOON), "exclusive": False, "hostname": "elsewhere", "username": "bob", "pid": 77}
    return repository.write_document(FileType.LOCK, Lock(**{**given, **of}).encode())  # type: ignore[arg-type]  # tests


@contextmanager
def hold(repository: Repository, hands: Hands, *, exclusive: bool = False, role: str = "") -> Iterator[HeldLock]:
    with locked(repository, exclusive=exclusive, role=role, timing=hands.timing) as lock:
        yield lock


@pytest.mark.parametrize(("one", "other"), [(False, True), (True, False), (True, True)])
def test_an_exclusive_lock_stands_alone(repository: Repository, hands: Hands, one: bool, other: bool) -> None:
    with hold(repository, hands, exclusive=one) as held:
        with pytest.raises(Locked), hold(repository, hands, exclusive=other):
            pass
        assert lock_names(repository) == {held.name}
    assert not lock_names(repository)


def test_shared_locks_stand_beside_each_other_unless_they_have_one_role(repository: Repository, hands: Hands) -> None:
    with hold(repository, hands, role="prune"), hold(repository, hands), hold(repository, hands):
        assert len(lock_names(repository)) == 3
        with pytest.raises(Locked), hold(repository, hands, role="prune"):
            pass
        assert len(lock_names(repository)) == 3


def test_who_comes_while_a_lock_settles_makes_it_step_back(repository: Repository, hands: Hands) -> None:
    theirs: list[str] = []
    hands.meanwhile = lambda: theirs.append(leave(repository, exclusive=True))
    with pytest.raises(Locked), hold(repository, hands):
        pass
    assert hands.sleeps == [0.2]
    assert lock_names(repository) == set(theirs)


def test_a_lock_is_waited_for(repository: Repository, hands: Hands) -> None:
    theirs = leave(repository, exclusive=True)

    def go_away_in_time() -> None:
        if len(hands.sleeps) == 3:
            repository.storage.delete(FileType.LOCK, theirs)

    hands.meanwhile = go_away_in_time
    with locked(repository, wait=timedelta(minutes=5), timing=hands.timing):
        first, second, third, settling = hands.sleeps
    assert settling == 0.2
    assert 2.5 <= first <= 5
    assert 5 <= second <= 10
    assert 10 <= third <= 20


def test_waiting_ends_when_it_was_said_to_end(repository: Repository, hands: Hands) -> None:
    theirs = leave(repository, exclusive=True)
    with pytest.raises(Locked, match="bob on elsewhere"), locked(
        repository, wait=timedelta(minutes=5), timing=hands.timing
    ):  # fmt: skip
        pass
    assert hands.passed == pytest.approx(300)
    assert lock_names(repository) == {theirs}


def test_a_lock_that_stands_unchanged_before_our_eyes_is_removed_in_the_end(
    repository: Repository, hands: Hands
) -> None:
    leave(repository, exclusive=True, time=from_datetime(NOON + timedelta(days=1)))
    with locked(repository, wait=timedelta(hours=1), timing=hands.timing) as lock:
        assert lock_names(repository) == {lock.name}
    assert timedelta(minutes=30) < timedelta(seconds=hands.passed) < timedelta(minutes=32)


def test_a_clock_that_was_set_makes_nobody_remove_the_lock_of_another(repository: Repository, hands: Hands) -> None:
    theirs = leave(repository, exclusive=True)
    hands.wall += timedelta(days=400)
    with pytest.raises(Locked), hold(repository, hands):
        pass
    assert lock_names(repository) == {theirs}


def test_a_clock_that_was_set_costs_nobody_their_own_lock(repository: Repository, hands: Hands) -> None:
    with hold(repository, hands) as lock:
        hands.wall += timedelta(days=400)
        lock.ensure()
        hands.wall -= timedelta(days=800)
        lock.ensure()


def test_the_lock_of_a_process_of_ours_that_is_dead_is_in_nobodys_way(repository: Repository, hands: Hands) -> None:
    telling = "from opsuite_repository.holders import this_process; print(this_process())"
    dead = subprocess.Popen([sys.executable, "-c", telling], stdout=subprocess.PIPE, text=True)
    process = dead.communicate()[0].strip()
    assert process
    leave(repository, exclusive=True, process=process, pid=dead.pid)
    living = leave(repository, process=this_process(), pid=os.getpid())

    with hold(repository, hands) as lock:
        assert lock_names(repository) == {lock.name, living}


def test_a_number_that_was_given_to_another_process_does_not_stand_for_the_dead_one() -> None:
    machine, boot, namespace, started = this_process().split(" ")
    assert not is_gone(f"{machine} {boot} {namespace} {started}", os.getpid())
    assert is_gone(f"{machine} {boot} {namespace} {int(started) - 1}", os.getpid())
    assert is_gone(f"{machine} {boot} {namespace} {started}", 2**22 + 1)


def test_nothing_is_proven_about_other_machines_and_other_namespaces() -> None:
    machine, boot, namespace, started = this_process().split(" ")
    assert not is_gone(f"another {boot}x {namespace} {started}", 2**22 + 1)
    assert not is_gone(f"{machine} {boot} pid:[1] {started}", 2**22 + 1)
    assert not is_gone("", 2**22 + 1)
    assert not is_gone("a b", 2**22 + 1)


def test_a_lock_of_ours_that_is_old_by_the_clock_of_the_storage_is_removed(hands: Hands) -> None:
    class Dated(MemoryStorage):
        def now(self) -> datetime:
            return NOON + timedelta(minutes=31)

    repository = Repository.init(Dated(), "right", cost=CHEAP)
    leave(repository, exclusive=True, process="of another machine entirely")
    with hold(repository, hands) as lock:
        assert lock.since == NOON + timedelta(minutes=31)
        assert read_lock(repository, lock.name).time.to_datetime() == NOON + timedelta(minutes=31)
        foreign = leave(repository, exclusive=True)
    with pytest.raises(Locked), hold(repository, hands):
        pass
    assert lock_names(repository) == {foreign}


def test_a_refresh_replaces_the_file_and_keeps_the_beginning(repository: Repository, hands: Hands) -> None:
    with hold(repository, hands) as lock:
        before = lock.name
        hands.pass_(timedelta(minutes=20))
        lock.refresh()
        hands.pass_(timedelta(minutes=20))
        lock.ensure()
        assert lock_names(repository) == {lock.name} != {before}
        assert lock.since == NOON
        assert read_lock(repository, lock.name).time.to_datetime() == NOON + timedelta(minutes=20, seconds=0.2)


def test_a_lock_that_somebody_removed_is_lost_for_good(repository: Repository, hands: Hands) -> None:
    with hold(repository, hands) as lock:
        assert unlock(repository, all_locks=True, timing=hands.timing) == [lock.name]
        with pytest.raises(LockLost):
            lock.refresh()
        with pytest.raises(LockLost):
            lock.ensure()
        assert not lock_names(repository)


def test_a_lock_that_outlived_a_long_sleep_is_used_on(repository: Repository, hands: Hands) -> None:
    with hold(repository, hands) as lock:
        hands.pass_(timedelta(hours=3))
        lock.ensure()
        assert hands.sleeps == [0.2, 0.2]
        assert lock_names(repository) == {lock.name}


def test_a_lock_that_was_removed_while_it_came_back_to_life_is_lost(repository: Repository, hands: Hands) -> None:
    with hold(repository, hands) as lock:
        old = lock.name
        hands.pass_(timedelta(hours=3))
        hands.meanwhile = lambda: repository.storage.delete(FileType.LOCK, old)
        with pytest.raises(LockLost):
            lock.ensure()
        assert not lock_names(repository)


def test_a_lock_that_cannot_be_refreshed_for_too_long_is_lost(hands: Hands) -> None:
    class Failing(MemoryStorage):
        fails = False

        def write(
            self, kind: FileType, name: str, data: bytes | bytearray | memoryview, *, create: bool = True
        ) -> None:
            if self.fails:
                raise StorageUnavailable("gone fishing")
            super().write(kind, name, data, create=create)

    storage = Failing()
    repository = Repository.init(storage, "right", cost=CHEAP)
    with hold(repository, hands) as lock:
        storage.fails = True
        with pytest.raises(StorageUnavailable):
            lock.refresh()
        lock.ensure()
        hands.pass_(timedelta(minutes=23))
        with pytest.raises(LockLost, match="gone fishing"):
            lock.ensure()


def test_unlock_removes_what_restic_calls_stale_and_nothing_else(repository: Repository, hands: Hands) -> None:
    host = os.uname().nodename
    old = leave(repository, time=from_datetime(NOON - timedelta(minutes=31)))
    dead = leave(repository, hostname=host, pid=2**22 + 1)
    leave(repository, hostname=host, pid=os.getpid())
    leave(repository)
    assert set(unlock(repository, timing=hands.timing)) == {old, dead}
    assert len(lock_names(repository)) == 2


def test_a_lock_that_cannot_be_read_is_tried_again_and_then_named(repository: Repository, hands: Hands) -> None:
    name = leave(repository, exclusive=True)
    files = memory(repository).files
    files[FileType.LOCK, name] = b"x" * 50
    with pytest.raises(Damaged, match=f"locks/{name}"), hold(repository, hands):
        pass
    assert hands.sleeps == [5, 10, 20]
    assert not unlock(repository, timing=hands.timing)

    files[FileType.LOCK, name] = b""  # a place was made for it, and nothing else
    with hold(repository, hands):
        pass


def memory(repository: Repository) -> MemoryStorage:
    assert isinstance(repository.storage, MemoryStorage)
    return repository.storage
