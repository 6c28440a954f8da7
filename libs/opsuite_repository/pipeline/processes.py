"""Helper processes, which do for many small files what threads of one interpreter cannot do side by side.

A helper is a fresh interpreter at the other end of a socket, not a fork: it may be started at any time, whatever
threads this process has. It holds the key in memory like this process, has no storage and no index, and ends when its
socket does. Both ends are the same program, so that messages are pickled.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Final, TypeAlias

from opsuite_kernel.errors import Unavailable
from opsuite_repository.format.blobs import BlobId, SealedBlob
from opsuite_repository.format.sealing import Buffer, MasterKey, Sealer
from opsuite_repository.pipeline.nodes import forget_names
from opsuite_repository.pipeline.restoring_small import Landing, SmallFile, SmallRestorer
from opsuite_repository.pipeline.small_files import Batch, Reading, SmallFiles

_COMMAND: Final = "from opsuite_repository.pipeline.processes import serve; serve({descriptor})"
_ENDS_WITHIN: Final = 10.0
"""Seconds for a helper to notice that its socket is closed, before it is killed."""
_READY: Final = "ready"

Message: TypeAlias = tuple[str, Any]


class Helper:
    """One helper process, seen from here. For one thread at a time."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-c", _COMMAND.format(descriptor=theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._connection = Connection(ours.detach())

    def wait_until_ready(self) -> bool:
        """Whether it has come up."""
        try:
            return bool(self._connection.recv() == _READY)
        except (EOFError, OSError):
            return False

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()
        self._process.wait()

    def send(self, message: Message) -> None:
        """Tell it something. Raises Unavailable when it is gone."""
        with _telling_of_its_end():
            self._connection.send(message)

    def answer(self, value: Buffer) -> None:
        """Answer what it asked."""
        with _telling_of_its_end():
            self._connection.send_bytes(value)

    def receive(self) -> Message:
        """What it says next. Raises what it raised, or Unavailable when it is gone."""
        with _telling_of_its_end():
            word, value = self._connection.recv()
        if word == "failed":
            raise value
        return word, value

    def close(self) -> None:
        """End it."""
        self._connection.close()
        try:
            self._process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()


@contextlib.contextmanager
def _telling_of_its_end() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as error:
        raise Unavailable("a helper process has ended unexpectedly") from error


class HelperPool:
    """Helpers that outlive one backup or restore. A service keeps one pool; who brings none gets one for the time."""

    def __init__(self, count: int | None = None) -> None:
        self._count = os.cpu_count() or 1 if count is None else count
        self._lock = threading.Lock()
        self._idle: list[Helper] = []
        self._lent = 0
        self._is_closed = False

    @property
    def has_idle(self) -> bool:
        """Whether some are up and waiting."""
        return bool(self._idle)

    def lend(self) -> list[Helper]:
        """All that nobody has, started if need be: perhaps none. They are given back by `take_back`."""
        with self._lock:
            if self._is_closed:
                return []
            idle, self._idle = self._idle, []
            ready = [helper for helper in idle if helper.is_alive]
            missing = self._count - self._lent - len(ready)
            self._lent = self._count
        for helper in idle:
            if helper not in ready:
                helper.close()
        started = [Helper() for _ in range(missing)]
        up = [helper for helper in started if helper.wait_until_ready()]
        for helper in started:
            if helper not in up:
                self._drop(helper)
        return ready + up

    def take_back(self, helper: Helper, *, is_sound: bool) -> None:
        """Keep the helper for the next one; one in the middle of something is of no use any more."""
        if is_sound:
            with self._lock:
                if not self._is_closed:
                    self._lent -= 1
                    self._idle.append(helper)
                    return
        self._drop(helper)

    def close(self) -> None:
        """End all; those that are lent end when they come back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for helper in idle:
            helper.close()

    def _drop(self, helper: Helper) -> None:
        with self._lock:
            self._lent -= 1
        helper.close()


@contextlib.contextmanager
def lent(pool: HelperPool | None) -> Iterator[HelperPool]:
    """The pool that was brought, or one for the time."""
    if pool is not None:
        yield pool
        return
    own = HelperPool()
    try:
        yield own
    finally:
        own.close()


class _DistantStore:
    """The store as a helper sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def known(self, ids: Sequence[BlobId]) -> Sequence[bool]:
        return self._asked("known", ids)

    def claim(self, ids: Sequence[BlobId]) -> Sequence[bool]:
        return self._asked("claim", ids)

    def add(self, blobs: Sequence[SealedBlob]) -> None:
        self._connection.send(("add", blobs))

    def _asked(self, word: str, ids: Sequence[BlobId]) -> Sequence[bool]:
        self._connection.send((word, b"".join(ids)))
        return [bool(each) for each in self._connection.recv_bytes()]


def serve(descriptor: int) -> None:
    """The life of a helper: until the other end closes the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the other end decides what it means
    connection = Connection(descriptor)
    connection.send(_READY)
    with contextlib.suppress(EOFError, ConnectionError):
        _Serving(connection).run()


class _Serving:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._files: SmallFiles | None = None
        self._restorer: SmallRestorer | None = None

    def run(self) -> None:
        words: dict[str, Callable[[Any], None]] = {
            "read": self._read,
            "batches": self._batches,
            "write": self._write,
            "files": self._small_files,
        }
        while True:
            word, value = self._connection.recv()
            try:
                words[word](value)
            except (EOFError, ConnectionError):
                raise
            except Exception as error:  # noqa: BLE001  # raised again at the other end
                self._connection.send(("failed", error))

    def _read(self, value: tuple[MasterKey, Reading]) -> None:
        forget_names()
        key, reading = value
        self._files = SmallFiles(Sealer(key), reading, _DistantStore(self._connection))

    def _batches(self, batches: Sequence[Batch]) -> None:
        if self._files is None:
            raise RuntimeError("batches came before how to read them")
        self._connection.send(("done", self._files.process(batches)))

    def _write(self, value: tuple[MasterKey, Landing]) -> None:
        key, landing = value
        self._restorer = SmallRestorer(Sealer(key), landing)

    def _small_files(self, files: Sequence[SmallFile]) -> None:
        stored = self._connection.recv_bytes()
        if self._restorer is None:
            raise RuntimeError("files came before how to write them")
        self._connection.send(("done", self._restorer.write(stored, files)))
