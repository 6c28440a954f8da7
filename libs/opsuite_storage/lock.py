"""One process per data directory: a second one would write the same files and steal the same socket."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from opsuite_kernel.errors import Conflict

FILE: Final = "lock"


class DataDirectoryLock:
    """A data directory that this process holds until it releases it or dies, however it dies."""

    def __init__(self, directory: Path, descriptor: int) -> None:
        self.directory = directory
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let others have it. Safe to repeat; the file stays, since removing it would let two hold it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def hold(data_dir: Path) -> DataDirectoryLock:
    """Hold `data_dir`, made if absent and closed to everybody else (mode 0700).

    Programs started later do not inherit the hold; a bare fork would.

    Raises: Conflict (another process holds it, named by its id; or the directory belongs to another user).
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if data_dir.stat().st_uid != os.geteuid():
        message = f"{data_dir} belongs to another user; opsuite keeps its state in a directory of its own"
        raise Conflict(message, reason="DATA_DIRECTORY_FOREIGN", metadata={"directory": str(data_dir)})
    data_dir.chmod(0o700)
    descriptor = os.open(data_dir / FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise Conflict(
            f"{data_dir} is in use by process {holder}; stop it or use another data directory",
            reason="DATA_DIRECTORY_HELD",
            metadata={"directory": str(data_dir), "process": holder},
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return DataDirectoryLock(data_dir, descriptor)
