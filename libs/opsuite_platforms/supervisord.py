"""The supervisord of one data directory: started in a session of its own, found again by its socket.

It outlives the service that started it, and so do the workloads it keeps. Everything of it stands in one directory:
`supervisord.conf`, `supervisor.sock`, `supervisord.log`, `supervisord.pid`, and `conf.d/` with what it is to run: of
replicas one file (`replica_files`).
Calls block; run them in a thread.
"""

from __future__ import annotations

import fcntl
import os
import resource
import select
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from opsuite_kernel.errors import Unavailable
from opsuite_platforms.supervisor_groups import ask_to_stop

START_SECONDS = 15.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.02
OPEN_FILES = 8192
"""Descriptors that it may have, three for each replica; what shells give by default is used up by 340 of them."""
MAX_SOCKET_PATH = 95
"""Unix sockets allow 107 bytes; supervisord adds a dot and its number while it starts."""

CONFIGURATION = """\
[supervisord]
nodaemon = true
silent = true
directory = {directory}
logfile = {directory}/supervisord.log
logfile_maxbytes = 1MB
logfile_backups = 1
pidfile = {directory}/supervisord.pid
childlogdir = {directory}
minfds = 256
umask = 022

[unix_http_server]
file = {directory}/supervisor.sock
chmod = 0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[include]
files = conf.d/*.conf
"""


class Supervisord:
    """One supervisord."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.programs = self.directory / "conf.d"
        self.log = self.directory / "supervisord.log"
        self._socket = self.directory / "supervisor.sock"
        self._pid_file = self.directory / "supervisord.pid"

    def start(self) -> None:
        """Returns when it answers; one that runs already is kept. Raises: Unavailable."""
        if len(os.fsencode(self._socket)) > MAX_SOCKET_PATH:
            raise Unavailable(f"{self._socket} is too long for a Unix socket: choose a shorter data directory")
        self.programs.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._start_lock():
            if not self.answers():
                self._spawn()
                self._wait_until_it_answers()

    def stop(self) -> None:
        """Stops it and every workload; returns when all have ended. One that does not run is fine."""
        pid = self._pid()
        with suppress(Unavailable):
            with self.calls() as supervisor, suppress(xmlrpc.client.Fault):  # the fault of one that is stopping already
                ask_to_stop(supervisor, {info["group"] for info in supervisor.getAllProcessInfo()})
                supervisor.shutdown()
            if pid is not None:
                wait_for_end(pid, self.answers)

    def answers(self) -> bool:
        """Whether it runs and takes calls."""
        try:
            with self.calls() as supervisor:
                return bool(supervisor.getState()["statename"] == "RUNNING")
        except (Unavailable, xmlrpc.client.Fault):  # a fault: it is on its way out
            return False

    def calls(self) -> AbstractContextManager[Any]:
        """The `supervisor` namespace of its XML-RPC interface, for this thread. Raises: Unavailable; faults pass."""
        return calls_through(self._socket, f"supervisord does not answer at {self._socket}: start it with `opsuite up`")

    @contextmanager
    def _start_lock(self) -> Iterator[None]:
        with (self.directory / "start.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _spawn(self) -> None:
        """Start it with a clean environment, since its children inherit all of it, and without our descriptors."""
        configuration = self.directory / "supervisord.conf"
        configuration.write_text(CONFIGURATION.format(directory=str(self.directory).replace("%", "%%")))
        command = [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "-c", str(configuration)]
        streams = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (0, 1, 2)]
        environment = {"PATH": os.defpath, "PYTHONUTF8": "1", "PYTHONWARNINGS": "ignore"}
        pid = os.posix_spawn(sys.executable, command, environment, file_actions=streams, setsid=True)
        allow_open_files(pid)

    def _wait_until_it_answers(self) -> None:
        give_up_at = time.monotonic() + START_SECONDS
        while not self.answers():
            if time.monotonic() > give_up_at:
                raise Unavailable(f"supervisord did not start within {START_SECONDS:.0f} s: see {self.log}")
            time.sleep(POLL_SECONDS)

    def _pid(self) -> int | None:
        try:
            return int(self._pid_file.read_text())
        except (OSError, ValueError):
            return None


@contextmanager
def calls_through(socket: Path, silence: str) -> Iterator[Any]:
    """The `supervisor` namespace behind a Unix socket of this machine. Raises: Unavailable, saying `silence`."""
    make: Callable[..., xmlrpc.client.Transport] = SupervisorTransport  # supervisor is untyped
    transport = make(None, None, f"unix://{socket}")
    try:
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
            yield proxy.supervisor
    except (OSError, HTTPException, xmlrpc.client.ProtocolError) as error:
        raise Unavailable(silence, reason="PLATFORM_NOT_RUNNING") from error


def allow_open_files(pid: int) -> None:
    """Let that process have enough descriptors; what it may have already is not taken away."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (wanted, hard))


def wait_for_end(pid: int, poke: Callable[[], object]) -> None:
    """Returns when that process has ended. Raises: Unavailable after a minute.

    supervisord looks after its shutdown once a second, or whenever somebody calls: `poke` does.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        give_up_at = time.monotonic() + STOP_SECONDS
        while not (ended := select.select([descriptor], [], [], POLL_SECONDS)[0]) and time.monotonic() < give_up_at:
            poke()
    finally:
        os.close(descriptor)
    if not ended:
        raise Unavailable(f"supervisord (pid {pid}) did not end within {STOP_SECONDS:.0f} s")
    with suppress(ChildProcessError):  # only who started it has to clear it away
        os.waitpid(pid, os.WNOHANG)
