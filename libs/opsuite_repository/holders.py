"""Whether the process behind a lock is gone for certain, so that its lock may be removed without asking anybody.

A host name and a process number prove little: containers share names, and numbers are used again. Our own locks
therefore tell which machine, which boot of it, which namespace of process numbers and which start time their process
has. The proof of death is a process that is missing, or younger, in the very same namespace of the same boot, or
another boot of the same machine. Linux only; elsewhere nothing is proven. Source: proc(5), field 22 of `stat`.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")
_MACHINE_ID: Final = Path("/etc/machine-id")
_START_TIME: Final = 19
"""Place of the start time behind the name of the program, which may itself hold blanks and brackets."""


class _Holder(NamedTuple):
    machine: str
    boot: str
    namespace: str
    started: str


def this_process() -> str:
    """What to write into a lock, or "" where it cannot be told."""
    place, started = _place(), _start_of(os.getpid())
    return " ".join((*place, started)) if place and started else ""


def is_gone(process: str, pid: int) -> bool:
    """Whether the process that a lock names is dead. False also means: nobody here can know."""
    place, parts = _place(), process.split(" ")
    if place is None or len(parts) != len(_Holder._fields):
        return False
    holder = _Holder(*parts)
    if holder[:3] == place:
        return _start_of(pid) != holder.started
    return holder.machine == place[0] != "-" and holder.boot != place[1]


@cache
def _place() -> tuple[str, str, str] | None:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return None
    return _machine(), boot, namespace


def _machine() -> str:
    """The name that the machine was given when it was set up; "-" where it has none."""
    try:
        return _MACHINE_ID.read_text().strip() or "-"
    except OSError:
        return "-"


def _start_of(pid: int) -> str | None:
    """Clock ticks between boot and the start of a process; None if there is no such process, or it is a zombie."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else fields[_START_TIME]
