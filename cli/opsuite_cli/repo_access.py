"""Getting at a repository: which one, its lock, its snapshots and index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from typer.core import TyperGroup

from opsuite_cli import options, screen
from opsuite_cli.repo_ending import reported
from opsuite_cli.repo_passwords import password
from opsuite_kernel.errors import Conflict, InvalidInput, Violation

if TYPE_CHECKING:  # help needs none of it
    from opsuite_repository.choosing import Saved
    from opsuite_repository.locking import HeldLock
    from opsuite_repository.repository import Repository
    from opsuite_repository.storage.port import Storage

ADDRESSES: Final = ("OPSUITE_REPOSITORY", "RESTIC_REPOSITORY")


@dataclass(frozen=True, slots=True)
class Access:
    """How to get at a repository."""

    address: str = ""
    password_file: Path | None = None
    password_command: str = ""
    key_hint: str | None = None
    no_lock: bool = False
    retry_lock: timedelta = timedelta(0)


_VALUED: Final = ("--repo", "-r", "--password-file", "-p", "--password-command", "--key-hint", "--retry-lock")
_FLAGS: Final = ("--no-lock",)
_CURRENT: Final[ContextVar[Access]] = ContextVar("access", default=Access())  # noqa: B039  # frozen


class AccessAnywhere(TyperGroup):
    """The commands of repositories; the options that say which one may stand behind them too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read these options first."""
        return super().parse_args(ctx, options.in_front(args, _VALUED, _FLAGS))


def choose(access: Access) -> None:
    """Set how this call of the command gets at its repository."""
    _CURRENT.set(access)


def current() -> Access:
    """How this call gets at its repository."""
    return _CURRENT.get()


class LockMode(Enum):
    """Who may work beside us."""

    READ = auto()
    """Everybody who does not remove anything; left out with `--no-lock`."""
    WRITE = auto()
    """The same, and there has to be a lock."""
    EXCLUSIVE = auto()
    """Nobody."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A repository that is open, under a lock."""

    repository: Repository
    lock: HeldLock | None
    snapshots: list[Saved]
    """Those there were before the index was loaded."""
    unreadable: dict[str, str]
    """Snapshots that cannot be read, by their ids, and why."""

    def guard(self) -> None:
        """Raises when the lock was lost."""
        if self.lock is not None:
            self.lock.ensure()


@contextmanager
def opened(
    mode: LockMode = LockMode.READ, *, role: str = "", index: bool = True, snapshots: bool = True
) -> Iterator[Opened]:
    """The repository that was chosen, its snapshots listed and its index loaded, until the block ends.

    An error in the block ends the command with the status that restic has for it. Snapshots that cannot be read are
    told, and left out.
    """
    with reported():
        access = current()
        with (
            repository_at(access.address, password(access), key_hint=access.key_hint) as repository,
            lock(repository, mode, role) as held,
        ):
            saved, unreadable = snapshots_of(repository) if snapshots else ([], {})
            screen.complain([f"snapshot {id_} is left out: {why}" for id_, why in unreadable.items()], headed=False)
            if index:
                repository.load_index()
            yield Opened(repository, held, saved, unreadable)


@contextmanager
def repository_at(address: str, secret: str, *, key_hint: str | None = None) -> Iterator[Repository]:
    """The repository at an address, without a lock."""
    from opsuite_repository.repository import Repository

    with storage_at(address) as storage:
        yield Repository.open(storage, secret, key_hint=key_hint)


@contextmanager
def storage_at(address: str) -> Iterator[Storage]:
    """The storage at an address, closed in the end."""
    if not address:
        raise InvalidInput([Violation("--repo", f"say which repository, here or in {ADDRESSES[0]}", "REQUIRED")])
    from opsuite_repository.storage.open import open_storage

    storage = open_storage(address)
    try:
        yield storage
    finally:
        storage.close()


def lock(repository: Repository, mode: LockMode, role: str = "") -> AbstractContextManager[HeldLock | None]:
    """The lock of a repository, unless it is not wanted. Raises Conflict where one is indispensable.

    Of locks with the same `role` there is only one at a time.
    """
    from opsuite_repository.locking import locked

    access = current()
    if not access.no_lock:
        return locked(repository, exclusive=mode is LockMode.EXCLUSIVE, wait=access.retry_lock, role=role)
    if mode is LockMode.READ:
        return nullcontext()
    raise Conflict("--no-lock is for commands that only read", reason="LOCK_NEEDED")


def snapshots_of(repository: Repository) -> tuple[list[Saved], dict[str, str]]:
    """Every snapshot, and why some of them cannot be read."""
    from opsuite_repository.choosing import Saved
    from opsuite_repository.errors import Damaged, Malformed
    from opsuite_repository.format import snapshots
    from opsuite_repository.storage.port import FileType

    found, unreadable = list[Saved](), dict[str, str]()
    for id_, document in repository.try_documents(FileType.SNAPSHOT):
        if isinstance(document, Damaged):
            unreadable[id_] = document.why
            continue
        try:
            found.append(Saved(id_, snapshots.parse(document)))
        except Malformed as error:
            unreadable[id_] = error.message
    return found, unreadable
