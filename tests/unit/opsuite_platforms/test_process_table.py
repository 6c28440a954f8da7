from __future__ import annotations

import xmlrpc.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from supervisor.xmlrpc import Faults

from opsuite_platforms.process_table import FEW, RECENT_SECONDS, ProcessTable, Wanted

WEB = Wanted("web", {"web-0": "web-0.1", "web-1": "web-1.1"})


class World:
    """A machine, its supervisord, and the time."""

    def __init__(self, others: int = 2 * FEW) -> None:
        self.now = 0.0
        self.processes = {f"other{number}-0": f"other{number}-0.1" for number in range(others)}
        self.processes |= WEB.processes
        self.asked: list[str] = []
        machine: Any = self
        self.table = ProcessTable(machine, self.look, now=lambda: self.now)

    def look(self) -> Mapping[str, Mapping[str, Any]]:
        self.asked.append("everything")
        return {group: info(group, process) for group, process in self.processes.items()}

    @contextmanager
    def calls(self) -> Iterator[World]:
        yield self

    def getProcessInfo(self, name: str) -> Mapping[str, Any]:
        self.asked.append(name)
        group, _, process = name.partition(":")
        if self.processes.get(group) != process:
            raise xmlrpc.client.Fault(Faults.BAD_NAME, "BAD_NAME")
        return info(group, process)

    def seen(self, wanted: Wanted = WEB) -> set[str]:
        """Processes of that workload; what was asked for is forgotten before."""
        self.asked.clear()
        return {each["name"] for each in self.table.seen([wanted])[wanted.workload].values()}


def info(group: str, process: str) -> Mapping[str, Any]:
    return {"group": group, "name": process}


@pytest.fixture
def world() -> World:
    """One in which everything was looked at just now."""
    world = World()
    world.seen()
    return world


def test_at_first_everything_is_looked_at() -> None:
    world = World()

    assert world.seen() == {"web-0.1", "web-1.1"}
    assert world.asked == ["everything"]


def test_a_few_processes_are_asked_for_by_name(world: World) -> None:
    assert world.seen() == {"web-0.1", "web-1.1"}
    assert world.asked == ["web-0:web-0.1", "web-1:web-1.1"]


def test_where_few_run_everything_is_looked_at() -> None:
    world = World(others=FEW)
    world.seen()

    world.seen()

    assert world.asked == ["everything"]


def test_everything_is_looked_at_again_before_long(world: World) -> None:
    world.now = RECENT_SECONDS + 0.1

    world.seen()

    assert world.asked == ["everything"]


@pytest.mark.parametrize("instead", [{}, {"web-1": "web-1.0"}], ids=["nothing", "another process"])
def test_who_is_not_there_is_looked_for(world: World, instead: dict[str, str]) -> None:
    del world.processes["web-1"]
    world.processes |= instead

    assert world.seen() == {"web-0.1", *instead.values()}
    assert world.asked[-1] == "everything"


def test_a_replica_that_should_be_gone_is_seen_as_long_as_it_is_there(world: World) -> None:
    fewer = Wanted("web", {"web-0": "web-0.1"})

    assert world.seen(fewer) == {"web-0.1", "web-1.1"}

    del world.processes["web-1"]
    assert world.seen(fewer) == {"web-0.1"}


def test_what_has_no_record_needs_no_look(world: World) -> None:
    world.asked.clear()

    assert world.table.seen([]) == {}
    assert world.asked == []
