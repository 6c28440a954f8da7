"""Getting at a repository: its address and password, its lock, and what an error means for the exit status."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperGroup

from opsuite_cli import options, screen
from opsuite_kernel.errors import Conflict, InvalidInput, OpsuiteError, Violation

if TYPE_CHECKING:  # help needs none of it
    from opsuite_repository.choosing import Saved
    from opsuite_repository.locking import HeldLock
    from opsuite_repository.repository import Repository
    from opsuite_repository.storage.port import Storage

FAILED: Final = 1
INCOMPLETE: Final = 3
"""Exit status when the work was done, but for parts of it."""
NO_REPOSITORY: Final = 10
LOCKED: Final = 11
WRONG_PASSWORD: Final = 12
INTERRUPTED: Final = 130

PASSWORDS: Final = ("OPSUITE_REPOSITORY_PASSWORD", "RESTIC_PASSWORD")
PASSWORD_FILES: Final = ("OPSUITE_REPOSITORY_PASSWORD_FILE", "RESTIC_PASSWORD_FILE")
PASSWORD_COMMANDS: Final = ("OPSUITE_REPOSITORY_PASSWORD_COMMAND", "RESTIC_PASSWORD_COMMAND")
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


def password(access: Access, *, twice: bool = False, what: str = "password") -> str:
    """The password by file, command, environment or terminal, in this order. Raises InvalidInput without any."""
    if access.password_file is not None:
        return _of_file(access.password_file)
    if access.password_command:
        return _of_command(access.password_command)
    for name in PASSWORDS:
        if value := os.environ.get(name):
            return value
    if not sys.stdin.isatty():
        ways = f"--password-file, --password-command or {PASSWORDS[0]}"
        raise InvalidInput([Violation(what, f"give it by {ways}", "REQUIRED")])
    return str(typer.prompt(f"{what} of the repository", hide_input=True, confirmation_prompt=twice, err=True))


def new_password(file: Path | None, command: str) -> str:
    """A password to be added. Raises InvalidInput when it is empty."""
    if file is not None or command:
        found = _of_file(file) if file is not None else _of_command(command)
    elif sys.stdin.isatty():
        found = str(typer.prompt("new password", hide_input=True, confirmation_prompt=True, err=True))
    else:
        raise InvalidInput([Violation("--new-password-file", "or --new-password-command has to be given", "REQUIRED")])
    if not found:
        raise InvalidInput([Violation("new password", "is empty", "REQUIRED")])
    return found


def _of_file(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([Violation("--password-file", f"cannot be read: {error}", "FILE")]) from error


def _of_command(command: str) -> str:
    try:
        done = subprocess.run(shlex.split(command), stdout=subprocess.PIPE, text=True, check=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise InvalidInput([Violation("--password-command", f"failed: {error}", "COMMAND")]) from error
    return done.stdout.strip()


@contextmanager
def reported() -> Iterator[None]:
    """An error inside is told, and ends the command with the status that restic has for it. So does Ctrl-C."""
    try:
        with _terminated_like_interrupted():
            yield
    except OpsuiteError as error:
        _tell(exit_status(error), error.message, _hint(error))
        raise typer.Exit(exit_status(error)) from error
    except KeyboardInterrupt as stop:
        _tell(INTERRUPTED, "interrupted")
        raise typer.Exit(INTERRUPTED) from stop
    except BrokenPipeError as closed:  # whoever reads has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  # so that the interpreter does not flush into the pipe
        raise typer.Exit(FAILED) from closed
    except ModuleNotFoundError as absent:
        if (absent.name or "").startswith("opsuite"):
            raise
        _tell(FAILED, f"{absent.name} is not installed", "pip install 'opsuite[repository]'")
        raise typer.Exit(FAILED) from absent


def exit_status(error: OpsuiteError) -> int:
    """The status of restic's that means the same."""
    return _STATUS.get(error.reason, FAILED)


_STATUS: Final[Mapping[str, int]] = {
    "REPOSITORY_MISSING": NO_REPOSITORY,
    "LOCKED": LOCKED,
    "WRONG_PASSWORD": WRONG_PASSWORD,
    "CANCELLED": INTERRUPTED,
}
_HINTS: Final[Mapping[str, str]] = {
    "REPOSITORY_MISSING": "opsuite repo init makes one",
    "LOCKED": "--retry-lock 5m waits for it; opsuite repo unlock removes locks that nobody holds",
    "DAMAGED": "opsuite repo check --read-data finds all that is damaged, and says what repairs it",
}


def _hint(error: OpsuiteError) -> str:
    return _HINTS.get(error.reason, "")


def _tell(status: int, message: str, hint: str = "") -> None:
    if screen.wants_table():
        screen.complain([f"error: {message}", *([f"hint: {hint}"] if hint else [])])
        return
    import json

    told = {"message_type": "exit_error", "code": status, "message": message}
    sys.stderr.write(json.dumps(told, ensure_ascii=False) + "\n")


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends the work as Ctrl-C does, so that locks are removed and nothing half done is left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def cancellable() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets, for work that ends well by it; the second interrupts."""
    cancelled = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield cancelled
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def cancel(number: int, frame: FrameType | None) -> None:
        if cancelled.is_set():
            raise KeyboardInterrupt
        cancelled.set()

    try:
        for number in before:
            signal.signal(number, cancel)
        yield cancelled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def refuse_unless(condition: bool, field: str, description: str) -> None:
    """Raises InvalidInput unless the condition holds."""
    if not condition:
        raise InvalidInput([Violation(field, description, "PATTERN")])


def incomplete(lines: Sequence[str]) -> typer.Exit:
    """Say what is missing, and what to raise for it."""
    screen.complain(lines, headed=False)
    return typer.Exit(INCOMPLETE)
