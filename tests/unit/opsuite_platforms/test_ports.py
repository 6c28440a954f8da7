from __future__ import annotations

import pytest

from opsuite_kernel.errors import Conflict
from opsuite_platforms.port import PortSpec, WorkloadSpec
from opsuite_platforms.ports import Ports, allocate, kept, moved, untaken

RANGE = range(100, 104)


def a_workload(*ports: PortSpec, replicas: int = 1) -> WorkloadSpec:
    return WorkloadSpec("web", "1.0.0", ("/bin/true",), "/", {}, ports, replicas)


def allocated(
    spec: WorkloadSpec, had: Ports | None = None, taken: frozenset[int] = frozenset(), busy: int = 0
) -> Ports:
    return allocate(spec, had or {}, taken, RANGE, lambda number: number != busy)


def test_replicas_get_the_first_ports_that_no_workload_has_and_nobody_listens_on() -> None:
    ports = allocated(a_workload(PortSpec("http"), replicas=2), taken=frozenset({100}), busy=102)

    assert ports == {0: {"http": 101}, 1: {"http": 103}}


def test_a_replica_keeps_its_port_though_it_listens_on_it() -> None:
    had = {0: {"http": 102}}

    assert allocated(a_workload(PortSpec("http")), had, frozenset({102}), busy=102) == had


def test_a_replica_loses_the_port_that_somebody_took_while_it_was_down() -> None:
    spec = a_workload(PortSpec("http"), PortSpec("admin"), replicas=3)
    had = {0: {"http": 100, "admin": 101}, 1: {"http": 102, "admin": 103}, 2: {"http": 104, "admin": 105}}

    left = untaken(spec, had, down={1, 2}, is_free=lambda number: number not in (100, 101, 102))

    assert left == had | {1: {"admin": 103}}  # 0 runs: it is itself that listens there
    assert moved(had, left) == {1}


def test_a_fixed_port_is_not_given_up_whoever_has_it() -> None:
    had = {0: {"http": 80}}

    assert untaken(a_workload(PortSpec("http", 80)), had, down={0}, is_free=lambda _: False) == had


def test_a_lost_port_is_not_given_out_again() -> None:
    ports = allocated(a_workload(PortSpec("http"), PortSpec("admin")), {0: {"admin": 103}}, frozenset({100, 103}))

    assert ports == {0: {"http": 101, "admin": 103}}


def test_a_range_that_is_used_up_is_a_conflict() -> None:
    with pytest.raises(Conflict) as refusal:
        allocated(a_workload(PortSpec("http"), replicas=5))

    assert refusal.value.reason == "PORTS_EXHAUSTED"


def test_a_fixed_port_of_another_workload_is_a_conflict() -> None:
    with pytest.raises(Conflict) as refusal:
        allocated(a_workload(PortSpec("http", 80)), taken=frozenset({80}))

    assert refusal.value.reason == "PORT_TAKEN"


def test_a_fixed_port_of_its_own_is_none() -> None:
    assert allocated(a_workload(PortSpec("http", 80)), {0: {"http": 80}}, frozenset({80})) == {0: {"http": 80}}


@pytest.mark.parametrize(
    ("spec", "had", "ports"),
    [
        (a_workload(replicas=2), {}, {0: {}, 1: {}}),
        (a_workload(PortSpec("http")), {0: {"http": 101}, 1: {"http": 102}}, {0: {"http": 101}}),
        (a_workload(PortSpec("http"), replicas=2), {0: {"http": 101}}, None),
        (a_workload(PortSpec("http"), PortSpec("admin")), {0: {"http": 101}}, None),
        (a_workload(PortSpec("http", 80)), {0: {"http": 80}}, None),
    ],
    ids=["none needed", "fewer replicas", "more replicas", "one more port", "a fixed one, which others may have"],
)
def test_others_are_asked_only_when_a_replica_needs_another_port(
    spec: WorkloadSpec, had: Ports, ports: Ports | None
) -> None:
    assert kept(spec, had, range(spec.replicas)) == ports
