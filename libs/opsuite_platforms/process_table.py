"""What supervisord says about the processes of some workloads, without making it tell about all of them each time.

Telling about one process takes it a quarter of a millisecond, and about all of them as often as that is many. A call
for a single one takes a few times as long: so a few are asked for by name, when a look at everything not long ago has
shown that nothing else runs for their workloads.
"""

from __future__ import annotations

import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from supervisor.xmlrpc import Faults

from opsuite_platforms.machine import Machine
from opsuite_platforms.supervisor_groups import Infos, Look
from opsuite_platforms.workload_files import owner_of

FEW: Final = 16
"""So many times as many processes run altogether when some are asked for by name."""
RECENT_SECONDS: Final = 1.0
"""Longest time for which a process may go unseen that should not be there."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should run for a workload."""

    workload: str
    processes: Mapping[str, str]
    """By group."""


class ProcessTable:
    """Used by one thread."""

    def __init__(self, machine: Machine, look: Look, *, now: Callable[[], float] = time.monotonic) -> None:
        """`look` tells about everything."""
        self._machine = machine
        self._look = look
        self._now = now
        self._seen_at = float("-inf")
        self._groups: Mapping[str, Infos] = {}
        """What was seen of everything then, by workload."""

    def seen(self, wanted: Sequence[Wanted]) -> Mapping[str, Infos]:
        """What runs now, by workload; other workloads than those wanted may be among it. Raises: Unavailable."""
        if not wanted:
            return {}
        names = {group: process for each in wanted for group, process in each.processes.items()}
        found = self._by_name(names) if self._is_enough(wanted, len(names)) else None
        if found is None:
            began = self._now()
            found = by_workload(self._look().values())
            self._seen_at, self._groups = began, found
        return found

    def _is_enough(self, wanted: Sequence[Wanted], count: int) -> bool:
        """Whether asking for those alone is cheaper, and tells all."""
        if self._now() - self._seen_at > RECENT_SECONDS or FEW * count > sum(map(len, self._groups.values())):
            return False
        return all(self._groups.get(each.workload, {}).keys() <= each.processes.keys() for each in wanted)

    def _by_name(self, names: Mapping[str, str]) -> Mapping[str, Infos] | None:
        """None if one is not there: another process may be in its place."""
        try:
            with self._machine.calls() as supervisor:
                return by_workload([supervisor.getProcessInfo(f"{group}:{names[group]}") for group in names])
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != Faults.BAD_NAME:
                raise
            return None


def by_workload(infos: Iterable[Mapping[str, Any]]) -> Mapping[str, Infos]:
    """What supervisord says about groups, by workload and group."""
    workloads = dict[str, dict[str, Mapping[str, Any]]]()
    for info in infos:
        workloads.setdefault(owner_of(info["group"]), {})[info["group"]] = info
    return workloads
