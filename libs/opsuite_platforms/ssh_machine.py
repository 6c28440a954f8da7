"""`SshMachine`: files over SFTP, locks by `flock`, supervisord through its forwarded socket, all over one connection.

An operation runs in a thread and is bound to its connection: when that is lost the operation ends, its locks fall, and
applying again does what is missing. Nothing here tries a second time.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import secrets
import shlex
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from pathlib import PurePath
from typing import Any, TypeVar

import asyncssh

from opsuite_kernel.errors import Unavailable
from opsuite_platforms.spawns import SPAWNED
from opsuite_platforms.ssh import HostSpec, Session, SshLimits, unreachable
from opsuite_platforms.supervisord import calls_through

T = TypeVar("T")

BLOCK_BYTES = 32_768
LISTENING = "0A"
HEAD_BYTES = 128
FOR_OWNER = asyncssh.SFTPAttrs(permissions=0o600)
FOR_OWNER_DIRECTORY = asyncssh.SFTPAttrs(permissions=0o700)


class SshMachine:
    """Fits `machine.Machine`. Called from threads, never from the event loop, which has to run meanwhile."""

    def __init__(self, host: HostSpec, session: Session, limits: SshLimits) -> None:
        self._host = host
        self._session = session
        self._limits = limits

    def make_directory(self, path: PurePath) -> None:
        """Returns when it exists."""
        self._wait(self._session.sftp.makedirs(path, FOR_OWNER_DIRECTORY, exist_ok=True))

    def names(self, directory: PurePath) -> list[str]:
        """Without `.` and `..`."""
        with suppress(FileNotFoundError):
            return [str(name) for name in self._wait(self._session.sftp.listdir(directory)) if name not in (".", "..")]
        return []

    def exists(self, path: PurePath) -> bool:
        """Whether there is anything of that name."""
        return self._wait(self._session.sftp.exists(path))

    def read(self, path: PurePath) -> str | None:
        """As UTF-8."""
        with suppress(FileNotFoundError):
            return self._wait(self._read(path, 0)).decode()
        return None

    def read_from(self, path: PurePath, offset: int, limit_bytes: int | None = None) -> bytes:
        """A part of a file; empty when it does not exist."""
        with suppress(FileNotFoundError):
            return self._wait(self._read(path, offset, limit_bytes))
        return b""

    def tail(self, path: PurePath, limit_bytes: int) -> str:
        """What is not UTF-8 is replaced."""
        with suppress(FileNotFoundError):
            size = self._wait(self._session.sftp.stat(path)).size or 0
            return self.read_from(path, max(0, size - limit_bytes), limit_bytes).decode("utf-8", "replace")
        return ""

    def write(self, path: PurePath, text: str) -> None:
        """Synchronised with the disk where the host's SFTP server can do that; OpenSSH's can."""
        self._wait(self._write(path, text))

    def delete(self, path: PurePath) -> None:
        """Not durably: after a power cut it may be back."""
        with suppress(FileNotFoundError):
            self._wait(self._session.sftp.remove(path))

    @contextmanager
    def locked(self, path: PurePath) -> Iterator[None]:
        """Held by a process on the host, which ends with the connection, and anyhow after the limit of an operation."""
        process = self._wait(self._start_holding(path))
        try:
            if self._wait(process.stdout.readline()) != "held\n":
                raise Unavailable(self._why_not_locked(path, process), metadata={"host": self._host.name})
            yield
        finally:
            self._session.loop.call_soon_threadsafe(process.stdin.write_eof)
            with suppress(Unavailable):  # then the lock has fallen already
                self._wait(process.wait_closed())

    def run(self, command: Sequence[str], *, silent: bool = False) -> asyncssh.SSHCompletedProcess:
        """Run a program to its end; `silent` detaches it from the connection, so that what it leaves behind goes on."""
        line = shlex.join(command) + (" < /dev/null > /dev/null 2>&1" if silent else "")
        return self._wait(self._session.connection.run(line, stdin=asyncssh.DEVNULL))

    def calls(self) -> AbstractContextManager[Any]:
        """Through the forwarded socket."""
        silence = f"supervisord does not answer on host {self._host.name}: start it with `opsuite host prepare`"
        return calls_through(self._session.supervisor, silence)

    def is_free(self, port: int) -> bool:
        """Asked of the host's kernel."""
        tables = (self.read(PurePath("/proc/net") / name) or "" for name in ("tcp", "tcp6"))
        return port not in {number for table in tables for number in listening_ports(table)}

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result, from the event loop. Raises: Unavailable; FileNotFoundError."""
        future = asyncio.run_coroutine_threadsafe(work, self._session.loop)
        try:
            return future.result(self._limits.operation.total_seconds())
        except asyncssh.SFTPNoSuchFile as error:
            raise FileNotFoundError from error
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.DisconnectError) as error:
            raise unreachable(self._host, error) from error
        except asyncssh.Error as error:
            message = f"host {self._host.name} refuses: {error}"
            raise Unavailable(message, metadata={"host": self._host.name}) from error
        except (OSError, concurrent.futures.CancelledError, concurrent.futures.TimeoutError) as error:
            future.cancel()
            raise unreachable(self._host, error) from error

    async def _start_holding(self, path: PurePath) -> asyncssh.SSHClientProcess[str]:
        held = f"echo held; exec timeout {seconds(self._limits.operation)} cat"
        command = ["flock", "--timeout", str(seconds(self._limits.lock)), str(path), "sh", "-c", held]
        return await self._session.connection.create_process(shlex.join(command))

    async def _read(self, path: PurePath, offset: int, limit_bytes: int | None = None) -> bytes:
        """Block after block, since files of the kernel have no size."""
        blocks = bytearray()
        async with self._session.sftp.open(path, "rb") as file:
            while limit_bytes is None or len(blocks) < limit_bytes:
                wanted = BLOCK_BYTES if limit_bytes is None else min(BLOCK_BYTES, limit_bytes - len(blocks))
                block: bytes = await file.read(wanted, offset + len(blocks))
                if not block:
                    break
                blocks += block
        return bytes(blocks)

    async def _write(self, path: PurePath, text: str) -> None:
        sftp = self._session.sftp
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # a late writer has a file of its own
        async with sftp.open(temporary, "wb", FOR_OWNER) as file:
            await file.write(text.encode())
            with suppress(asyncssh.SFTPOpUnsupported):
                await file.fsync()
        await sftp.posix_rename(temporary, path)

    def _why_not_locked(self, path: PurePath, process: asyncssh.SSHClientProcess[str]) -> str:
        self._wait(process.wait_closed())
        if process.exit_status == 1:
            return f"host {self._host.name}: another caller has held {path} for {seconds(self._limits.lock)} s"
        return f"host {self._host.name} cannot lock {path}: it needs flock, of util-linux"


class SshSpawns:
    """Fits `supervised.Spawned`: counts from supervisord's log, of which only what is new is read."""

    def __init__(self, machine: SshMachine, log: PurePath) -> None:
        self._machine = machine
        self._log = log
        self._head: bytes | None = None
        self._offset = 0
        self._counts = Counter[str]()
        self._lock = threading.Lock()

    def count(self, process: str) -> int:
        """Starts of that process since the log began."""
        return self._counts[process]

    def update(self) -> None:
        """Read what is new, across the log's rotation."""
        with self._lock:
            head = self._machine.read_from(self._log, 0, HEAD_BYTES)
            if self._head is None or not head.startswith(self._head):  # it begins otherwise: the old one has moved
                self._read(self._log.with_name(f"{self._log.name}.1"))
                self._offset = 0
            self._head = head
            self._read(self._log)

    def _read(self, path: PurePath) -> None:
        data = self._machine.read_from(path, self._offset)
        complete = data.rfind(b"\n") + 1
        self._offset += complete
        self._counts.update(match.decode("utf-8", "replace") for match in SPAWNED.findall(data[:complete]))


def listening_ports(table: str) -> set[int]:
    """Ports in a table of the kernel (`/proc/net/tcp`) on which somebody listens."""
    rows = (line.split() for line in table.splitlines()[1:])
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == LISTENING}


def seconds(time: timedelta) -> int:
    """Whole seconds, at least one."""
    return max(1, round(time.total_seconds()))
