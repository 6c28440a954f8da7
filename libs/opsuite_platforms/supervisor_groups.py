"""Stopping and starting groups of supervisord. Blocking; `supervisor` is its XML-RPC namespace.

A look tells about everything that supervisord keeps, and takes as long as that is much: so it is made once for all
groups in question, and may be shared with others who look (`Look`).
"""

from __future__ import annotations

import time
import xmlrpc.client
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from supervisor.xmlrpc import Faults

POLL_SECONDS = 0.005
START_SECONDS = 5.0
NEWBORN_SECONDS = 0.1
UP = frozenset({"STARTING", "RUNNING"})
RUNS = UP | {"STOPPING"}
STOPPED = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})

Infos = Mapping[str, Mapping[str, Any]]
"""What supervisord says about the one process of each group, by group."""

Look = Callable[[], Infos]
"""Looks at everything; what it returns is not older than the call."""


def infos(supervisor: Any) -> Infos:
    """Every group as it is now."""
    return {info["group"]: info for info in supervisor.getAllProcessInfo()}


def infos_of(supervisor: Any, processes: Mapping[str, str]) -> Infos:
    """Processes by group, of those that are there by that name. While they are few, it takes less than all do."""
    found = dict[str, Mapping[str, Any]]()
    for group, process in processes.items():
        with suppressed(Faults.BAD_NAME):
            found[group] = supervisor.getProcessInfo(f"{group}:{process}")
    return found


def stop_and_forget(supervisor: Any, groups: Collection[str], look: Look | None = None) -> None:
    """Stop groups, all at once, and remove each; returns when none is left.

    Takes as long as the programs do, at most their `stopwaitsecs`, since then supervisord kills them.
    """
    if not groups:
        return
    look = look or partial(infos, supervisor)
    ask_to_stop(supervisor, groups, look)
    left = set(groups)
    while left:
        seen = states_of(left, look())
        left = {group for group, state in seen.items() if not _forget_stopped(supervisor, group, state)}
        if left:
            time.sleep(POLL_SECONDS)


def _forget_stopped(supervisor: Any, group: str, state: str) -> bool:
    """Whether the group is gone; one that was between two lives when it was stopped is stopped again."""
    if state in STOPPED:
        return forget(supervisor, group)
    if state != "STOPPING":
        stop(supervisor, group)
    return False


def ask_to_stop(supervisor: Any, groups: Collection[str], look: Look | None = None) -> None:
    """Send SIGTERM to groups.

    Twice to those begun within the last second that do not react: the first is lost on a process that supervisord has
    forked and that has not become its program yet.
    """
    look = look or partial(infos, supervisor)
    newborn = [group for group, state in states_of(groups, look()).items() if state == "STARTING"]
    for group in groups:
        stop(supervisor, group)
    again_at = time.monotonic() + NEWBORN_SECONDS
    while newborn and time.monotonic() < again_at:
        time.sleep(POLL_SECONDS)
        newborn = [group for group, state in states_of(newborn, look()).items() if state not in STOPPED]
    for group in newborn:
        supervisor.signalProcessGroup(group, "TERM")  # on one that has ended it does nothing


def stop(supervisor: Any, group: str) -> None:
    """Send SIGTERM to a group; one that is not there is fine."""
    with suppressed(Faults.BAD_NAME):
        supervisor.stopProcessGroup(group, False)


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


def restart(supervisor: Any, group: str, look: Look | None = None) -> None:
    """Stop a group and start it; returns when it is up, or after five seconds."""
    look = look or partial(infos, supervisor)
    ask_to_stop(supervisor, [group], look)
    while not set(states_of([group], look()).values()) <= STOPPED:
        time.sleep(POLL_SECONDS)
    supervisor.startProcessGroup(group, False)
    give_up_at = time.monotonic() + START_SECONDS
    while not set(states_of([group], look()).values()) <= UP and time.monotonic() < give_up_at:
        time.sleep(POLL_SECONDS)


def down(groups: Collection[str], look: Look) -> set[str]:
    """Those of the groups that do not run.

    One that was begun again is waited for until supervisord knows whether it stays up, a second at most: it may be
    between two failures.
    """
    found, left = set[str](), set(groups)
    while left:
        seen = look()
        known = {group for group in left if group not in seen or not _is_begun_again(seen[group])}
        found |= {group for group in known if group not in seen or seen[group]["statename"] not in RUNS}
        left -= known
        if left:
            time.sleep(POLL_SECONDS)
    return found


def _is_begun_again(info: Mapping[str, Any]) -> bool:
    return bool(info["statename"] == "STARTING" and info["stop"])


def states(supervisor: Any, group: str) -> set[str]:
    """The state of a group; none when it is not there."""
    return set(states_of([group], infos(supervisor)).values())


def states_of(groups: Collection[str], seen: Infos) -> dict[str, str]:
    """The state of each of the groups that is there."""
    return {group: seen[group]["statename"] for group in groups if group in seen}


@contextmanager
def suppressed(code: int) -> Iterator[None]:
    """Pass over that fault."""
    try:
        yield
    except xmlrpc.client.Fault as fault:
        if fault.faultCode != code:
            raise
