"""What keeping workloads needs of a machine: files, locks, its supervisord, its ports. And the machine we run on."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any, Protocol

from opsuite_platforms.ports import is_free
from opsuite_platforms.supervisord import Supervisord


class Files(Protocol):
    """Files of a machine. Calls block. Raises: Unavailable (the machine cannot be reached)."""

    def make_directory(self, path: PurePath) -> None:
        """A directory for its owner alone, with its parents; one that exists is fine."""

    def names(self, directory: PurePath) -> list[str]:
        """Names in a directory, in no order; none when it does not exist."""

    def read(self, path: PurePath) -> str | None:
        """The text of a file; None when it does not exist."""

    def tail(self, path: PurePath, limit_bytes: int) -> str:
        """The end of a file; empty when it does not exist."""

    def write(self, path: PurePath, text: str) -> None:
        """Replace the file whole: after a crash it is the old or the new one, and the new one survives a power cut."""

    def delete(self, path: PurePath) -> None:
        """Delete a file; one that does not exist is fine."""

    def locked(self, path: PurePath) -> AbstractContextManager[None]:
        """One holder at a time, over all threads, processes and machines; a holder's death lets go."""


class Machine(Files, Protocol):
    """A machine with a supervisord."""

    def calls(self) -> AbstractContextManager[Any]:
        """The `supervisor` namespace of its XML-RPC interface, for this thread. Raises: Unavailable; faults pass."""

    def is_free(self, port: int) -> bool:
        """Whether nobody listens on that port now."""


class LocalFiles:
    """Fits `Files`, which tells what each does."""

    def make_directory(self, path: PurePath) -> None:
        """Returns when it exists."""
        Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)

    def names(self, directory: PurePath) -> list[str]:
        """Without `.` and `..`."""
        with suppress(FileNotFoundError):
            return [path.name for path in Path(directory).iterdir()]
        return []

    def read(self, path: PurePath) -> str | None:
        """As UTF-8."""
        with suppress(FileNotFoundError):
            return Path(path).read_text("utf-8")
        return None

    def tail(self, path: PurePath, limit_bytes: int) -> str:
        """What is not UTF-8 is replaced."""
        with suppress(FileNotFoundError), Path(path).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - limit_bytes))
            return file.read(limit_bytes).decode("utf-8", "replace")
        return ""

    def write(self, path: PurePath, text: str) -> None:
        """Only its owner may read it."""
        write_durably(Path(path), text)

    def delete(self, path: PurePath) -> None:
        """Not durably: after a power cut it may be back."""
        Path(path).unlink(missing_ok=True)

    @contextmanager
    def locked(self, path: PurePath) -> Iterator[None]:
        """Waits as long as it takes."""
        with Path(path).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class LocalMachine(LocalFiles):
    """Fits `Machine`: the one we run on."""

    def __init__(self, supervisord: Supervisord) -> None:
        self._supervisord = supervisord

    def calls(self) -> AbstractContextManager[Any]:
        """Through its socket."""
        return self._supervisord.calls()

    def is_free(self, port: int) -> bool:
        """Asked of the kernel."""
        return is_free(port)


def write_durably(path: Path, text: str) -> None:
    """Replace the file whole: after a crash it is the old or the new one, and the new one survives a power cut."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.touch(mode=0o600)
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
