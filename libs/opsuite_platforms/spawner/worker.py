"""A worker: runs one program at a time, and is the subreaper of all that comes of it.

It is forked from the nursery and kept for the next step, so a step costs one `posix_spawn` and no interpreter. Being
alone with its program it sets up directory and limits on itself, and the program inherits them. Lines of its socket:

    {"argv": […], "directory": …, "env": {…}, "timeout": 60.0, "grace": 5.0, "limits": {…}}  and stdout, stderr
    {"cancel": true}                                  → what runs gets SIGTERM, then SIGKILL after the grace
    → {"kind": "exited", "code": 0, "message": "", "left": ["sleep (pid 17)"]}  when every descendant is dead
"""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import ceil
from typing import Any

from opsuite_platforms.spawner.children import children, kill_children, reap
from opsuite_platforms.spawner.wire import Disconnected, Message, Wire

LIMITS = {"memory": resource.RLIMIT_AS, "cpu": resource.RLIMIT_CPU, "file_size": resource.RLIMIT_FSIZE}
EVERY_SIGNAL = frozenset(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}
MAX_NAMED = 20
MAX_POLL_MILLISECONDS = 2**31 - 1


def serve(service: Wire, lifeline: int, bell: int) -> None:
    """Run one program after the other. Raises Disconnected when service or nursery is gone."""
    while True:
        wait_for(service, lifeline)
        request = service.receive()
        if "argv" in request:  # a late cancel, sent while the answer was under way, is no request
            service.send(run(request, service, lifeline, bell))


def wait_for(service: Wire, lifeline: int) -> None:
    """Wait for the next request. Raises Disconnected when the nursery is gone."""
    if service.has_message:
        return
    poll = select.poll()
    poll.register(service, select.POLLIN)
    poll.register(lifeline, select.POLLIN)
    if lifeline in {fd for fd, _ in poll.poll()}:
        raise Disconnected


def run(request: Message, service: Wire, lifeline: int, bell: int) -> Message:
    """Run one program to its end and that of all its descendants; returns the answer."""
    stdout, stderr = service.take_descriptors()
    try:
        pid = start(request, stdout, stderr)
    except OSError as error:
        return {"kind": "not_started", "code": None, "message": explain(error, request), "left": []}
    finally:
        os.close(stdout)
        os.close(stderr)
    return Step(pid, request).mind(service, lifeline, bell)


def start(request: Message, stdout: int, stderr: int) -> int:
    """Start the program in a session of its own; returns its number. Raises OSError."""
    os.chdir(request["directory"])
    argv = request["argv"]
    streams = [(os.POSIX_SPAWN_DUP2, stdout, 1), (os.POSIX_SPAWN_DUP2, stderr, 2)]
    try:
        with soft_limits(request["limits"]):
            pid: int = os.posix_spawn(
                argv[0], argv, request["env"], file_actions=streams, setsid=True, setsigmask=(), setsigdef=EVERY_SIGNAL
            )
    finally:
        os.chdir("/")  # an idle worker must not keep a directory busy
    harden(pid, request["limits"])
    return pid


@contextmanager
def soft_limits(limits: dict[str, int]) -> Iterator[None]:
    """Carry the limits for the moment of the start, so that they hold from the program's first instruction.

    Only the soft ones: hard limits could not be raised again. `harden` follows at once.
    """
    before = {name: resource.getrlimit(LIMITS[name]) for name in limits}
    try:
        for name, value in limits.items():
            _, hard = before[name]
            resource.setrlimit(LIMITS[name], (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
        yield
    finally:
        for name, pair in before.items():
            resource.setrlimit(LIMITS[name], pair)


def harden(pid: int, limits: dict[str, int]) -> None:
    """Make the limits of a started program final. One that became another user keeps the soft ones."""
    for name, value in limits.items():
        # One second more, so that the program gets SIGXCPU, which says what happened, before SIGKILL.
        hard = value + 1 if name == "cpu" else value
        with suppress(PermissionError, ProcessLookupError, ValueError):
            resource.prlimit(pid, LIMITS[name], (value, hard))


def explain(error: OSError, request: Message) -> str:
    """Why a program could not be started, for people."""
    program, directory = request["argv"][0], request["directory"]
    if error.filename == directory:
        return f"directory {directory}: {os.strerror(error.errno or 0)}"
    if error.errno == errno.ENOENT and os.path.exists(program):  # noqa: PTH110  # pathlib would add 2 MB to a worker
        return f"{program}: the interpreter named in its first line does not exist"
    if error.errno == errno.ENOEXEC:
        return f"{program}: neither a program of this machine nor a script with a #! line"
    if error.errno == errno.ENOMEM and "memory" in request["limits"]:
        return f"{program}: does not fit into its memory limit"
    return f"{program}: {os.strerror(error.errno or 0)}"


class Step:
    """A program that runs, and everything that came of it."""

    def __init__(self, pid: int, request: Message) -> None:
        self._pid = pid
        self._grace: float = request["grace"]
        self._deadline: float = time.monotonic() + request["timeout"]
        self._ending: str | None = None
        """Why it was told to end; None while it may run."""

    def mind(self, service: Wire, lifeline: int, bell: int) -> Message:
        """Wait for its end, or bring it about; returns the answer. Raises Disconnected."""
        poll = select.poll()
        for source in (service, lifeline, bell):
            poll.register(source, select.POLLIN)
        while True:
            ended = reap() or {}
            if self._pid in ended:
                return self._finish(ended[self._pid])
            ready = {fd for fd, _ in poll.poll(self._milliseconds_left())}
            with suppress(BlockingIOError):
                os.read(bell, 512)
            if lifeline in ready:
                return self._lose()
            if (service.has_message or service.fileno() in ready) and service.receive().get("cancel"):
                self._terminate("cancelled")
            elif time.monotonic() >= self._deadline:
                if self._ending is not None:
                    return self._finish(kill_children().get(self._pid))
                self._terminate("timed_out")

    def _milliseconds_left(self) -> int:
        left = ceil((self._deadline - time.monotonic()) * 1000)
        return min(max(left, 0), MAX_POLL_MILLISECONDS)

    def _terminate(self, ending: str) -> None:
        """Ask its process group to end. The number cannot belong to another: we have not waited for it."""
        if self._ending is None:
            self._ending = ending
            self._deadline = time.monotonic() + self._grace
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGTERM)

    def _finish(self, status: int | None) -> Message:
        """The program has ended: kill what it left, then answer."""
        left = list[str]()
        if reap() is not None:  # looking through /proc costs more than a whole step
            left = [f"{name} (pid {pid})" for pid, name in children()]
            kill_children()
        answer: dict[str, Any] = {"left": [] if self._ending else left[:MAX_NAMED], "message": ""}
        if status is None:
            return answer | {"kind": self._ending, "code": None, "message": "could not be killed"}
        code = os.waitstatus_to_exitcode(status)
        return answer | {"kind": self._ending or ("signalled" if code < 0 else "exited"), "code": abs(code)}

    def _lose(self) -> Message:
        """The nursery is gone, and with it the one who would clean up after us: end the step while we can."""
        kill_children()
        return {"kind": "lost", "code": None, "message": "the spawner died", "left": []}
