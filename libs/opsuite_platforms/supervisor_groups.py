"""Stopping and starting groups of supervisord. Blocking; `supervisor` is its XML-RPC namespace."""

from __future__ import annotations

import time
import xmlrpc.client
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from supervisor.xmlrpc import Faults

POLL_SECONDS = 0.005
START_SECONDS = 5.0
NEWBORN_SECONDS = 0.1
UP = frozenset({"STARTING", "RUNNING"})
STOPPED = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})


def stop_and_forget(supervisor: Any, groups: Collection[str]) -> None:
    """Stop groups, all at once, and remove each; returns when none is left.

    Takes as long as the programs do, at most their `stopwaitsecs`, since then supervisord kills them.
    """
    ask_to_stop(supervisor, groups)
    left = set(groups)
    while left:
        for group in sorted(left):
            with suppressed(Faults.BAD_NAME):
                supervisor.stopProcessGroup(group, False)  # again on each look: it may have been between two lives
        left = {group for group in left if not forget(supervisor, group)}
        if left:
            time.sleep(POLL_SECONDS)


def ask_to_stop(supervisor: Any, groups: Collection[str]) -> None:
    """Send SIGTERM to groups.

    Twice to those begun within the last second that do not react: the first is lost on a process that supervisord has
    forked and that has not become its program yet.
    """
    newborn = [group for group in groups if "STARTING" in states(supervisor, group)]
    for group in groups:
        with suppressed(Faults.BAD_NAME):
            supervisor.stopProcessGroup(group, False)
    again_at = time.monotonic() + NEWBORN_SECONDS
    while newborn and time.monotonic() < again_at:
        time.sleep(POLL_SECONDS)
        newborn = [group for group in newborn if not states(supervisor, group) <= STOPPED]
    for group in newborn:
        supervisor.signalProcessGroup(group, "TERM")  # on one that has ended it does nothing


def forget(supervisor: Any, group: str) -> bool:
    """Remove a group if it has stopped; whether it is gone."""
    try:
        supervisor.removeProcessGroup(group)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode not in (Faults.STILL_RUNNING, Faults.BAD_NAME):
            raise
        return bool(fault.faultCode == Faults.BAD_NAME)
    return True


def add(supervisor: Any, groups: Collection[str]) -> None:
    """Start groups whose files supervisord has read; those that it has already are fine."""
    for group in groups:
        with suppressed(Faults.ALREADY_ADDED):
            supervisor.addProcessGroup(group)


def restart(supervisor: Any, group: str) -> None:
    """Stop a group and start it; returns when it is up, or after five seconds."""
    ask_to_stop(supervisor, [group])
    while not states(supervisor, group) <= STOPPED:
        time.sleep(POLL_SECONDS)
    supervisor.startProcessGroup(group, False)
    give_up_at = time.monotonic() + START_SECONDS
    while not states(supervisor, group) <= UP and time.monotonic() < give_up_at:
        time.sleep(POLL_SECONDS)


def states(supervisor: Any, group: str) -> set[str]:
    """States of the processes of a group."""
    return {info["statename"] for info in supervisor.getAllProcessInfo() if info["group"] == group}


@contextmanager
def suppressed(code: int) -> Iterator[None]:
    """Pass over that fault."""
    try:
        yield
    except xmlrpc.client.Fault as fault:
        if fault.faultCode != code:
            raise
