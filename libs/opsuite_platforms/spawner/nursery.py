"""The nursery: the one process that makes workers, and takes over the children of a worker that dies.

It is forked from the guard before the service has threads, and stays small, so that forking a worker is cheap. Lines of
its socket:

    {"op": "worker"}             → {"pid": 17} and the service's end of the new worker's socket
    {"op": "sweep", "pid": 17}   → {"swept": 17} when that worker and all its descendants are dead

Who dies when: the service (our socket ends) or the guard (its pipe ends) → everything. A worker → its orphans come here
and are killed. The nursery → the guard kills everything; each worker also notices (its end of the lifeline pipe
closes), kills its step and ends.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import traceback
from contextlib import suppress
from typing import NoReturn

from opsuite_platforms.spawner import worker
from opsuite_platforms.spawner.children import become_subreaper, kill_children, reap
from opsuite_platforms.spawner.wire import Disconnected, Wire


def become(service: Wire, guard: int) -> NoReturn:
    """Serve until the service is gone, then end the process; `guard` is a pipe that closes with the guard."""
    try:
        become_subreaper()
        nursery = Nursery(service, guard)
        try:
            nursery.serve()
        except Disconnected:
            nursery.end()
    except Exception:  # noqa: BLE001  # never returns into the guard, which handles its death
        traceback.print_exc()
    finally:
        os._exit(0)


class Nursery:
    """Makes workers on request."""

    def __init__(self, service: Wire, guard: int) -> None:
        self._service = service
        self._guard = guard
        self._workers = set[int]()
        self._lifeline, self._lifeline_of_mine = os.pipe()
        self._bell = ring_on_sigchld()

    def serve(self) -> None:
        """Answer one request after the other. Raises Disconnected when service or guard is gone."""
        poll = select.poll()
        for source in (self._service, self._guard, self._bell):
            poll.register(source, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._guard in ready:
                raise Disconnected
            if self._bell in ready:
                silence(self._bell)
                self._bury()
            while self._service.has_message or self._service.fileno() in ready:
                ready.discard(self._service.fileno())
                self._answer(self._service.receive())

    def _answer(self, request: dict[str, object]) -> None:
        if request["op"] == "worker":
            self._make_worker()
        elif request["op"] == "sweep" and isinstance(pid := request["pid"], int):
            self._sweep(pid)

    def _make_worker(self) -> None:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_worker(theirs)
        theirs.close()
        self._workers.add(pid)
        self._service.send({"pid": pid}, [ours.fileno()])
        ours.close()

    def _become_worker(self, service: socket.socket) -> None:
        """Never returns. Every descriptor of the nursery that would hide its death or the service's is closed."""
        os.close(self._lifeline_of_mine)
        self._service.socket.close()
        os.close(self._guard)
        os.close(self._bell)
        become_subreaper()
        left_orphans = True
        try:
            worker.serve(Wire(service), self._lifeline, ring_on_sigchld())
        except Disconnected:
            kill_children()
            left_orphans = reap() is not None
        except Exception:  # noqa: BLE001  # a worker never returns into the nursery's loop; its death is handled there
            traceback.print_exc()
        finally:
            os._exit(left_orphans)

    def _sweep(self, pid: int) -> None:
        """The worker's socket has closed, so it is dying or must die; after waiting for it its orphans are ours."""
        if pid in self._workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._workers.discard(pid)
        self._kill_orphans()
        self._service.send({"swept": pid})

    def _bury(self) -> None:
        """Children have ended; when one was a worker that had no time to clean up, its orphans are ours now."""
        dead = reap() or {}
        self._workers -= dead.keys()
        if any(dead.values()):
            self._kill_orphans()

    def _kill_orphans(self) -> None:
        self._workers -= kill_children(spared=self._workers).keys()

    def end(self) -> None:
        """Service or guard is gone: workers notice by themselves, and their orphans come here."""
        os.close(self._lifeline_of_mine)
        for pid in self._workers:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        kill_children()


def ring_on_sigchld() -> int:
    """A descriptor that becomes readable whenever a child ends."""
    bell, button = os.pipe()
    os.set_blocking(bell, False)
    os.set_blocking(button, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(button, warn_on_full_buffer=False)
    return bell


def silence(bell: int) -> None:
    """Read the bell empty."""
    with suppress(BlockingIOError):
        while os.read(bell, 512):
            pass
