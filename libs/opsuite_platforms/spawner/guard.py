"""The guard: the parent of the nursery, and the last one to whom orphans come.

It does nothing but wait. When the nursery is killed it kills all that is left, so a worker may be killed at the same
moment and nothing of its step stays. When the guard itself is killed, the nursery notices and ends everything. Of
service, guard, nursery and worker any two may die at once.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from contextlib import suppress

from opsuite_platforms.spawner import nursery
from opsuite_platforms.spawner.children import become_subreaper, kill_children
from opsuite_platforms.spawner.wire import Wire

UMASK = 0o022


def main() -> None:
    """Keep guard until the nursery and everything below it is dead."""
    prepare()
    service = socket.socket(fileno=int(sys.argv[1]))
    lifeline, lifeline_of_mine = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(lifeline_of_mine)
        nursery.become(Wire(service), lifeline)
    os.close(lifeline)
    service.close()  # the service has to see it end with the nursery
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
    kill_children()


def prepare() -> None:
    """Settle what nursery, workers and programs inherit."""
    become_subreaper()
    os.setsid()  # Ctrl-C in a terminal is for the service, which decides what becomes of its steps
    os.umask(UMASK)
    os.chdir("/")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A worker carries the limits of its program for the moment of the start; they must not end the worker.
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
