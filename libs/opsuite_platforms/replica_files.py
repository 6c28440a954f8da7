"""The files of replicas, as supervisord reads them.

supervisord reads every file again whenever it is told to read one, and the time for that grows with the square of
their number. So it is told once for all changes that come at the same time, and only when there is something new to
read; and where that costs little the files are joined into one, which it reads in a fifth of the time when there are
four hundred.
"""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from supervisor.xmlrpc import Faults

from opsuite_kernel.errors import Conflict
from opsuite_platforms.machine import Machine
from opsuite_platforms.supervisor_groups import Infos, infos
from opsuite_platforms.together import Together
from opsuite_platforms.workload_files import owner_of, process_name

SUFFIX = ".conf"

Texts = Mapping[PurePath, str | None]
"""Texts by file; None: no such file."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The files that a workload is to have."""

    workload: str
    generation: int
    texts: Mapping[str, str]
    """By replica; each has a process named after the generation."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is different about the files of a workload when a wish comes true."""

    workload: str
    before: Texts
    after: Texts


@dataclass(frozen=True, slots=True)
class Differences:
    """Groups of a workload that supervisord has otherwise than their files say."""

    added: Sequence[str]
    changed: Sequence[str]
    removed: Sequence[str]

    @property
    def needs_reading(self) -> bool:
        """Whether supervisord has to know their files before it can do anything about them."""
        return bool(self.added or self.changed)


class ReplicaFiles:
    """The files of all replicas below one supervisord. Calls block. Raises: Unavailable."""

    def __init__(self, machine: Machine, directory: PurePath, *, joined: bool) -> None:
        """`directory` is supervisord's; `joined`: it reads one file that holds them all."""
        self._machine = machine
        self._read_by_supervisord = directory / "conf.d"
        self._files = directory / "replicas" if joined else self._read_by_supervisord
        self._lock = directory / "replicas.lock"
        self._joined = joined
        self._wishes: Together[Wish, Differences] = Together(self._make_true)

    def make(self, wish: Wish) -> Future[Differences]:
        """Make the files of a workload those wished for; supervisord has read them when the `result` is there.

        That raises Conflict when supervisord does not take them: all files are as before then.
        """
        return self._wishes.ask(wish)

    def close(self) -> None:
        """Let go of the thread."""
        self._wishes.close()

    def _make_true(self, wishes: Sequence[Wish]) -> Sequence[Differences | Exception]:
        with self._machine.calls() as supervisor, self._turn():
            changes = self._changes(wishes)
            for change in changes:
                self._put(change.after)
            self._join()
            if not any(text is not None for change in changes for text in change.after.values()):
                seen = infos(supervisor)
                told = [differences(wish, seen) for wish in wishes]
                if not any(one.needs_reading for one in told):
                    return told
            return self._have_read(supervisor, changes)

    def _have_read(self, supervisor: Any, changes: Sequence[Change]) -> Sequence[Differences | Exception]:
        try:
            kinds = reload(supervisor)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != Faults.CANT_REREAD:
                raise
            for change in changes:
                self._put(change.before)
            return [self._alone(supervisor, change) for change in changes]
        return [of_workload(change.workload, kinds) for change in changes]

    def _alone(self, supervisor: Any, change: Change) -> Differences | Exception:
        """Whether supervisord takes this change tells by itself, when it did not take all of them."""
        self._put(change.after)
        self._join()
        try:
            return of_workload(change.workload, reload(supervisor))
        except xmlrpc.client.Fault as fault:
            self._put(change.before)
            self._join()
            if fault.faultCode != Faults.CANT_REREAD:
                return fault
            message = f"{change.workload}: supervisord refuses it: {fault.faultString}"
            return Conflict(message, reason="SPEC_IMPOSSIBLE")

    def _changes(self, wishes: Sequence[Wish]) -> Sequence[Change]:
        present = dict[str, set[str]]()
        for group in self._groups():
            present.setdefault(owner_of(group), set()).add(group)
        return [self._change(wish, present.get(wish.workload, set())) for wish in wishes]

    def _change(self, wish: Wish, present: set[str]) -> Change:
        paths = {group: self._files / f"{group}{SUFFIX}" for group in present | wish.texts.keys()}
        before = {path: self._machine.read(path) if group in present else None for group, path in paths.items()}
        after = {path: wish.texts.get(group) for group, path in paths.items()}
        different = [path for path in paths.values() if before[path] != after[path]]
        return Change(
            wish.workload, {path: before[path] for path in different}, {path: after[path] for path in different}
        )

    def _groups(self) -> Sequence[str]:
        return [file.removesuffix(SUFFIX) for file in self._machine.names(self._files) if file.endswith(SUFFIX)]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Others who join files wait, also in other processes."""
        self._machine.make_directory(self._files)
        if not self._joined:
            yield
            return
        with self._machine.locked(self._lock):
            yield

    def _join(self) -> None:
        """Whatever stands in the one file: who wrote the others last may have died before this."""
        if not self._joined:
            return
        texts = (self._machine.read(self._files / f"{group}{SUFFIX}") or "" for group in sorted(self._groups()))
        one, text = self._read_by_supervisord / f"replicas{SUFFIX}", "".join(texts)
        if self._machine.read(one) != text:
            self._machine.write(one, text)

    def _put(self, texts: Texts) -> None:
        for path, text in texts.items():
            self._machine.delete(path) if text is None else self._machine.write(path, text)


def reload(supervisor: Any) -> Sequence[Sequence[str]]:
    """Have supervisord read its files: the groups that were added, changed and removed since it started them."""
    ((added, changed, removed),) = supervisor.reloadConfig()
    return added, changed, removed


def of_workload(workload: str, kinds: Sequence[Sequence[str]]) -> Differences:
    """Those of one workload."""
    return Differences(*([group for group in groups if owner_of(group) == workload] for groups in kinds))


def differences(wish: Wish, seen: Infos) -> Differences:
    """How what runs differs from a wish, without asking supervisord to read files."""
    present = {group for group in seen if owner_of(group) == wish.workload}
    both = wish.texts.keys() & present
    changed = [group for group in both if seen[group]["name"] != process_name(group, wish.generation)]
    return Differences(sorted(wish.texts.keys() - present), sorted(changed), sorted(present - wish.texts.keys()))
