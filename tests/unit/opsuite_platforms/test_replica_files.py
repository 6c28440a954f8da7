from __future__ import annotations

import re
import xmlrpc.client
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import PurePath
from typing import Any

import pytest
from supervisor.xmlrpc import Faults

from opsuite_kernel.errors import Conflict
from opsuite_platforms.replica_files import Differences, ReplicaFiles, Wish

PATIENCE = 30.0
"""Seconds that only end a hang."""
NOTHING = Differences([], [], [])
PROGRAM = re.compile(r"\[program:(.+)\]\nprocess_name = (.+)\n")


class MemoryMachine:
    """Fits `Machine` as far as it is needed, and plays the supervisord on it: `running` is process by group."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.running: dict[str, str] = {}
        self.reloads = 0

    # the machine

    def make_directory(self, path: PurePath) -> None:
        pass

    def names(self, directory: PurePath) -> list[str]:
        return [PurePath(file).name for file in self.files if PurePath(file).parent == directory]

    def read(self, path: PurePath) -> str | None:
        return self.files.get(str(path))

    def write(self, path: PurePath, text: str) -> None:
        self.files[str(path)] = text

    def delete(self, path: PurePath) -> None:
        self.files.pop(str(path), None)

    def locked(self, path: PurePath) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def calls(self) -> Iterator[MemoryMachine]:
        yield self

    # its supervisord

    def reloadConfig(self) -> list[list[list[str]]]:
        self.reloads += 1
        read = "".join(text for file, text in self.files.items() if PurePath(file).parent.name == "conf.d")
        if "bad" in read:
            raise xmlrpc.client.Fault(Faults.CANT_REREAD, "CANT_REREAD: bad")
        programs = dict(PROGRAM.findall(read))
        both = programs.keys() & self.running.keys()
        changed = sorted(group for group in both if programs[group] != self.running[group])
        return [[sorted(programs.keys() - both), changed, sorted(self.running.keys() - both)]]

    def getAllProcessInfo(self) -> list[dict[str, str]]:
        return [{"group": group, "name": process, "statename": "RUNNING"} for group, process in self.running.items()]


@pytest.fixture
def machine() -> MemoryMachine:
    return MemoryMachine()


@pytest.fixture(params=[True, False], ids=["joined", "apart"])
def files(request: pytest.FixtureRequest, machine: MemoryMachine) -> Iterator[ReplicaFiles]:
    a_machine: Any = machine
    files = ReplicaFiles(a_machine, PurePath("/supervisor"), joined=request.param)
    yield files
    files.close()


def a_wish(workload: str, *groups: str, generation: int = 1) -> Wish:
    return Wish(workload, generation, {group: text(group, generation) for group in groups})


def text(group: str, generation: int = 1) -> str:
    return f"[program:{group}]\nprocess_name = {group}.{generation}\n"


def made(files: ReplicaFiles, wish: Wish) -> Differences:
    return files.make(wish).result(PATIENCE)


def test_supervisord_reads_the_files_of_new_replicas(files: ReplicaFiles, machine: MemoryMachine) -> None:
    assert made(files, a_wish("web", "web-0", "web-1")) == Differences(["web-0", "web-1"], [], [])
    assert machine.reloads == 1


def test_a_new_generation_is_a_change(files: ReplicaFiles, machine: MemoryMachine) -> None:
    made(files, a_wish("web", "web-0"))
    machine.running = {"web-0": "web-0.1"}

    assert made(files, a_wish("web", "web-0", generation=2)) == Differences([], ["web-0"], [])


def test_fewer_replicas_need_no_reading_and_are_not_brought_back(files: ReplicaFiles, machine: MemoryMachine) -> None:
    made(files, a_wish("web", "web-0", "web-1"))
    machine.running = {"web-0": "web-0.1", "web-1": "web-1.1", "api-0": "api-0.1"}

    assert made(files, a_wish("web", "web-0")) == Differences([], [], ["web-1"])
    assert machine.reloads == 1
    assert not any("web-1" in each for each in machine.files.values()), "its next life would start it"


def test_what_is_as_it_should_be_needs_no_reading(files: ReplicaFiles, machine: MemoryMachine) -> None:
    made(files, a_wish("web", "web-0"))
    machine.running = {"web-0": "web-0.1"}

    assert made(files, a_wish("web", "web-0")) == NOTHING
    assert machine.reloads == 1


@pytest.mark.parametrize("running", [{}, {"web-0": "web-0.0"}], ids=["nothing", "the generation before"])
def test_files_that_supervisord_was_not_told_of_are_read(
    files: ReplicaFiles, machine: MemoryMachine, running: dict[str, str]
) -> None:
    made(files, a_wish("web", "web-0"))
    machine.running = running

    assert made(files, a_wish("web", "web-0")) != NOTHING
    assert machine.reloads == 2


def test_a_refused_file_is_put_back_and_harms_nobody_else(files: ReplicaFiles, machine: MemoryMachine) -> None:
    made(files, a_wish("web", "web-0"))
    before = dict(machine.files)

    with pytest.raises(Conflict, match="bad"):
        made(files, a_wish("bad", "bad-0"))

    assert machine.files == before
    assert made(files, a_wish("api", "api-0")).added == ["api-0"]
