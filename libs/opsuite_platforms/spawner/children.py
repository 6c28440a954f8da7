"""Killing whole families of processes without a race.

A process that calls `become_subreaper` is given every descendant whose own parent ends, whatever session or process
group it moved to. So "no child left" (waitpid says ECHILD) means "no descendant left", and killing the direct children
until then kills everything, generation by generation. Only direct children are signalled: their numbers cannot be
used again before we have waited for them, so nobody else can be hit.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import suppress

PR_SET_CHILD_SUBREAPER = 36
GIVE_UP_AFTER_SECONDS = 10.0
PAUSE_SECONDS = 0.001


def become_subreaper() -> None:
    """From now on orphans below this process become its children."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a child subreaper")


def children() -> Iterator[tuple[int, str]]:
    """Number and name of each direct child that has not ended yet."""
    me = str(os.getpid())
    for entry in os.listdir("/proc"):  # noqa: PTH208  # pathlib would add 2 MB to every worker
        if entry.isdigit() and (stat := _stat(entry)):
            name, (state, parent) = stat
            if parent == me and state not in "ZX":
                yield int(entry), name


def _stat(pid: str) -> tuple[str, tuple[str, str]] | None:
    """Name, state and parent of a process; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123  # see above
            head, _, tail = file.read().rpartition(") ")
    except OSError:
        return None
    state, parent, *_ = tail.split(" ", 2)
    return head.partition("(")[2], (state, parent)


def reap() -> dict[int, int] | None:
    """Wait status of every child that has ended, by number; None when there is no child at all, ended or not."""
    ended = dict[int, int]()
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended or None
        if pid == 0:
            return ended
        ended[pid] = status


def kill_children(spared: Collection[int] = ()) -> dict[int, int]:
    """Kill every descendant but the children `spared` and theirs; returns the wait status of all that ended.

    Gives up after ten seconds on what cannot be killed: a program that runs as another user, or hangs in the kernel.
    """
    if (ended := reap()) is None:
        return {}
    give_up_at = time.monotonic() + GIVE_UP_AFTER_SECONDS
    while time.monotonic() < give_up_at:
        targets = [pid for pid, _ in children() if pid not in spared]
        for pid in targets:
            with suppress(PermissionError):
                os.kill(pid, signal.SIGKILL)
        # After the look, not before: a child that ended during it may have left us its own children unseen.
        newly = reap()
        if newly is None or not (targets or newly):
            break
        ended |= newly
        if not newly:
            time.sleep(PAUSE_SECONDS)
    return ended
