"""Locks of a repository as restic takes them, so that restic and we keep out of each other's way.

Source: restic's design document, "Locks", and internal/repository/lock.go: look for the locks of others, write one's
own, wait until everybody who did the same at that moment can see it, look again, and step back if there is a conflict.
While it is held a thread replaces it every five minutes. restic leaves the locks of the dead to its user; here those
of our own processes are removed by whoever comes next, when they are dead for certain (see `holders`) or when they
stand unchanged, by the clock of the storage or before our eyes, for longer than a living holder would let them.

restic asks whether the holder of a lock on its host lives by sending it SIGHUP, which it ignores itself. So must we:
`locked` sees to that on the main thread, where no handler was set. Services that lock on other threads have to ignore
or handle the signal themselves.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from opsuite_kernel.errors import OpsuiteError
from opsuite_repository.errors import Damaged, FileMissing, Locked, LockLost, naming
from opsuite_repository.format import locks
from opsuite_repository.format.locks import GIVE_UP_AFTER, REFRESH_EVERY, SETTLE, STALE_AFTER, Lock
from opsuite_repository.format.times import from_datetime
from opsuite_repository.holders import is_gone, this_process
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType, path_of

_RETRY_REFRESH: Final = timedelta(minutes=1)
_FIRST_WAIT: Final = 5.0
_LONGEST_WAIT: Final = 60.0
"""Seconds between two tries to get a lock that somebody holds; the wait doubles, as with restic's `--retry-lock`."""
_UNREADABLE: Final = (5.0, 10.0, 20.0, None)
"""Seconds after which a lock that cannot be read is tried again; storages can show a file before its content."""


def _boot_time() -> float:
    """Seconds that go on while the machine sleeps, and that nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True, slots=True)
class Timing:
    """The clocks that locking goes by; tests bring their own."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    elapsed: Callable[[], float] = _boot_time
    sleep: Callable[[float], None] = time.sleep


@contextmanager
def locked(
    repository: Repository,
    *,
    exclusive: bool = False,
    wait: timedelta = timedelta(0),
    role: str = "",
    timing: Timing | None = None,
) -> Iterator[HeldLock]:
    """Hold a lock. Conflicting locks of others are waited for up to `wait`, then Locked is raised.

    Shared ones stand beside each other, unless they have the same `role`. Raises Damaged for a lock of somebody else
    that cannot be read. Hand `ensure` of what is given as `guard` to the work that relies on the lock.
    """
    timing = timing or Timing()
    _survive_questions()
    lock = _Waiting(repository, timing, exclusive=exclusive, role=role).acquire(wait)
    with lock:
        yield lock


def unlock(repository: Repository, *, all_locks: bool = False, timing: Timing | None = None) -> list[str]:
    """Remove the locks behind which nobody is, by restic's rules, or all of them; the names of those removed.

    Removing a lock that is in use is dangerous; whoever holds it finds out at the next refresh, and stops.
    """
    timing = timing or Timing()
    now = repository.storage.now() or timing.now()
    removed = []
    for file in list(repository.storage.list(FileType.LOCK)):
        if all_locks or (file.size and _is_abandoned(repository, file.name, now)):
            repository.storage.delete(FileType.LOCK, file.name)
            removed.append(file.name)
    return removed


def current_locks(repository: Repository) -> Iterator[tuple[str, Lock]]:
    """The locks that can be read, each with its name."""
    for file in list(repository.storage.list(FileType.LOCK)):
        with contextlib.suppress(FileMissing, Damaged):
            if file.size:
                yield file.name, read_lock(repository, file.name)


def read_lock(repository: Repository, name: str) -> Lock:
    """The lock of that name. Raises FileMissing, Damaged."""
    document = repository.read_document(FileType.LOCK, name)
    with naming(path_of(FileType.LOCK, name)):
        return locks.parse(document)


class HeldLock:
    """A lock that is held, and refreshed on a thread, until its `with` ends."""

    def __init__(self, repository: Repository, lock: Lock, name: str, written_at: float, timing: Timing) -> None:
        self._repository = repository
        self._lock = lock
        self._timing = timing
        self._written_at = written_at
        self._mutex = threading.Lock()
        self._lost: LockLost | None = None
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lock-refresh", daemon=True)
        self.name = name
        """Of its file; another one after every refresh."""

    @property
    def since(self) -> datetime:
        """When it was taken, by the clock of the storage where that has one."""
        return (self._lock.since or self._lock.time).to_datetime()

    def ensure(self) -> None:
        """Return while the lock is held, at once; raise LockLost from then on when it is not."""
        if self._lost is None and self._age() <= GIVE_UP_AFTER.total_seconds():
            return
        with self._mutex:
            if self._lost is None and self._age() > GIVE_UP_AFTER.total_seconds():
                self._revive()
            if self._lost is not None:
                raise self._lost

    def refresh(self) -> None:
        """Replace the file by a younger one. Raises LockLost, or what the storage raises: then the old one stands."""
        with self._mutex:
            self._replace()

    def __enter__(self) -> HeldLock:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._thread.join()
        with self._mutex, contextlib.suppress(OpsuiteError):  # the work is done; whoever comes next sees we are gone
            self._repository.storage.delete(FileType.LOCK, self.name)

    def _age(self) -> float:
        return self._timing.elapsed() - self._written_at

    def _keep(self) -> None:
        pause = REFRESH_EVERY
        while not self._released.wait(pause.total_seconds()):
            try:
                self.refresh()
                pause = REFRESH_EVERY
            except LockLost:
                return
            except OpsuiteError:  # `ensure` tells when it has lasted too long
                pause = _RETRY_REFRESH

    def _replace(self, settle: float = 0.0) -> None:
        self._require_file()
        written_at, old = self._timing.elapsed(), self.name
        moment = from_datetime(self._repository.storage.now() or self._timing.now())
        lock = replace(self._lock, time=moment)
        name = self._repository.write_document(FileType.LOCK, lock.encode())
        if settle:
            self._timing.sleep(settle)
            self._require_file(otherwise_remove=name)
        self.name, self._lock, self._written_at = name, lock, written_at
        self._repository.storage.delete(FileType.LOCK, old)

    def _revive(self) -> None:
        """After a long sleep the lock may still stand; then nobody has begun to work against it."""
        try:
            self._replace(settle=SETTLE.total_seconds())
        except LockLost:
            return
        except OpsuiteError as error:
            self._lost = LockLost(f"the lock could not be refreshed in time: {error.message}")

    def _require_file(self, *, otherwise_remove: str | None = None) -> None:
        if self._lost is not None:
            raise self._lost
        try:
            self._repository.storage.size(FileType.LOCK, self.name)
        except FileMissing as error:
            self._lost = LockLost("the lock was removed by somebody else")
            if otherwise_remove is not None:
                self._repository.storage.delete(FileType.LOCK, otherwise_remove)
            raise self._lost from error


class _Waiting:
    """Somebody who wants a lock, and what they have seen so far."""

    def __init__(self, repository: Repository, timing: Timing, *, exclusive: bool, role: str) -> None:
        self._repository = repository
        self._timing = timing
        self._exclusive = exclusive
        self._role = role
        self._first_seen: dict[str, float] = {}

    def acquire(self, wait: timedelta) -> HeldLock:
        """The lock, after at most `wait`. Raises Locked."""
        deadline, pause = self._timing.elapsed() + wait.total_seconds(), _FIRST_WAIT
        while True:
            try:
                return self._try()
            except Locked:
                left = deadline - self._timing.elapsed()
                if left <= 0:
                    raise
            spread = pause * random.uniform(0.5, 1)  # noqa: S311  # two that collide shall not do so again
            self._timing.sleep(min(left, spread))
            pause = min(pause * 2, _LONGEST_WAIT)

    def _try(self) -> HeldLock:
        self._require_no_conflict(None)
        written_at = self._timing.elapsed()
        lock = self._own_lock()
        name = self._repository.write_document(FileType.LOCK, lock.encode())
        try:
            self._timing.sleep(SETTLE.total_seconds())
            self._require_no_conflict(name)
        except BaseException:
            self._repository.storage.delete(FileType.LOCK, name)
            raise
        return HeldLock(self._repository, lock, name, written_at, self._timing)

    def _own_lock(self) -> Lock:
        moment = from_datetime(self._repository.storage.now() or self._timing.now())
        return Lock(
            time=moment,
            exclusive=self._exclusive,
            hostname=socket.gethostname(),
            username=getpass.getuser(),
            pid=os.getpid(),
            uid=os.getuid(),
            gid=os.getgid(),
            process=this_process(),
            since=moment,
            role=self._role,
        )

    def _require_no_conflict(self, own: str | None) -> None:
        files = [file.name for file in self._repository.storage.list(FileType.LOCK) if file.size]
        self._first_seen = {name: self._first_seen.get(name, self._timing.elapsed()) for name in files}
        for name in files:
            lock = None if name == own else self._patiently_read(name)
            if lock is None or not locks.conflicts(lock, exclusive=self._exclusive, role=self._role):
                continue
            if not self._is_dead(name, lock):
                raise Locked(str(lock))
            self._repository.storage.delete(FileType.LOCK, name)

    def _patiently_read(self, name: str) -> Lock | None:
        """The lock, or None if it is gone. Raises Damaged when it stays unreadable."""
        for pause in _UNREADABLE:
            try:
                return read_lock(self._repository, name)
            except FileMissing:
                return None
            except Damaged:
                if pause is None:
                    raise
                self._timing.sleep(pause)
        raise AssertionError("the last pause is None")

    def _is_dead(self, name: str, lock: Lock) -> bool:
        """Whether the lock may be removed without asking. Of others than us, only those that we watched long enough."""
        longest = STALE_AFTER.total_seconds()
        if self._timing.elapsed() - self._first_seen[name] > longest:
            return True
        if not lock.process:
            return False
        by_storage = self._repository.storage.now()
        is_old = by_storage is not None and by_storage - lock.time.to_datetime() > STALE_AFTER
        return is_old or is_gone(lock.process, lock.pid)


def _survive_questions() -> None:
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _is_abandoned(repository: Repository, name: str, now: datetime) -> bool:
    try:
        lock = read_lock(repository, name)
    except (FileMissing, Damaged):  # what cannot be read proves nothing
        return False
    alive = _is_alive(lock.pid) and not is_gone(lock.process, lock.pid)
    return locks.is_stale(lock, now=now, hostname=socket.gethostname(), is_alive=alive)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
