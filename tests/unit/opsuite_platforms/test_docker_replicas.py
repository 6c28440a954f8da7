"""What is to be done about a workload's containers, and what their states say about its replicas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.clock import NOON

from opsuite_kernel.errors import Conflict
from opsuite_platforms.docker_engine import ContainerState, FoundContainer
from opsuite_platforms.docker_replicas import (
    GENERATION,
    PORTS,
    REPLICA,
    Identity,
    Look,
    config_of,
    difference,
    index_of,
    labels_of,
    message_of,
    phase_of,
    replicas_of,
)
from opsuite_platforms.docker_workloads import refuse_ports_of_strangers, still_ours
from opsuite_platforms.port import PortSpec, ReplicaPhase, WorkloadSpec
from opsuite_platforms.workload_files import Record

IDENTITY = Identity("platform", "opsuite-")
HTTP = {0: {"http": 21_000}, 1: {"http": 21_001}}


def a_record(*, replicas: int = 2, ports: Mapping[int, Mapping[str, int]] = HTTP) -> Record:
    spec = WorkloadSpec("web", "2", ("run",), "/srv", {}, (PortSpec("http"),), replicas, "web:2")
    return Record(spec, epoch=3, generation=7, versions={7: "2"}, ports=ports)


def a_container(index: int, *, status: str = "running", **labels: str) -> FoundContainer:
    own = labels_of(a_record(), IDENTITY, index)
    return FoundContainer(f"id-{index}", f"opsuite-web-{index}", {**own, **labels}, status)


def a_state(
    status: str = "running", *, error: str = "", restarts: int = 0, health: str = "", ran: timedelta = timedelta(0)
) -> ContainerState:
    """Of a container that has run so long by noon, or had when it ended."""
    finished_at = None if status == "running" else NOON
    return ContainerState(status, 7, False, error, NOON - ran, finished_at, health, restarts)


# --- difference ---


def test_containers_as_wanted_need_nothing() -> None:
    todo = difference(a_record(), IDENTITY, [a_container(0), a_container(1, status="restarting")])

    assert (todo.surplus, todo.missing, todo.idle) == ((), (), ())


@pytest.mark.parametrize(
    "container",
    [
        a_container(1, **{GENERATION: "6"}),
        a_container(1, **{PORTS: json.dumps({"http": 21_009})}),
        a_container(1, status="paused"),
        a_container(1, status="dead"),
        a_container(1, status="removing"),
        replace(a_container(1), name="former-prefix-web-1"),
    ],
    ids=["generation", "ports", "paused", "dead", "removing", "name"],
)
def test_a_container_that_is_not_as_wanted_makes_way_for_another(container: FoundContainer) -> None:
    todo = difference(a_record(), IDENTITY, [a_container(0), container])

    assert (todo.surplus, todo.missing, todo.idle) == ((container,), (1,), ())


def test_what_does_not_run_is_idle_and_what_is_too_much_is_surplus() -> None:
    stopped, third = a_container(0, status="exited"), a_container(2)

    todo = difference(a_record(), IDENTITY, [stopped, third])

    assert (todo.surplus, todo.missing, todo.idle) == ((third,), (1,), (stopped,))


# --- configuration ---


def test_a_port_has_one_number_inside_and_outside_and_is_open_to_this_machine_only() -> None:
    spec = replace(a_record().spec, command=("serve", "${port}"), env={"ADMIN": "${port_http}"})

    config = config_of(replace(a_record(), spec=spec), IDENTITY, 1)

    assert config["Cmd"] == ["serve", "21001"]
    assert config["Env"] == ["ADMIN=21001"]
    assert config["HostConfig"]["PortBindings"] == {"21001/tcp": [{"HostIp": "127.0.0.1", "HostPort": "21001"}]}


def test_what_a_spec_leaves_open_is_left_to_the_image_and_the_engine() -> None:
    spec = replace(a_record().spec, command=(), directory="")

    config = config_of(replace(a_record(), spec=spec), IDENTITY, 0)

    assert not {"Cmd", "WorkingDir"} & config.keys()
    assert not {"NanoCpus", "Memory"} & config["HostConfig"].keys()


def test_the_grace_of_an_engine_that_stops_is_that_of_the_spec() -> None:
    spec = replace(a_record().spec, grace=timedelta(seconds=2.1))

    assert config_of(replace(a_record(), spec=spec), IDENTITY, 0)["StopTimeout"] == 3


def test_a_workload_without_an_image_is_impossible() -> None:
    with pytest.raises(Conflict) as refusal:
        config_of(replace(a_record(), spec=replace(a_record().spec, image="")), IDENTITY, 0)

    assert refusal.value.reason == "SPEC_IMPOSSIBLE"


# --- phases ---


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        (a_state("created"), ReplicaPhase.STARTING),
        (a_state("created", error="no such program"), ReplicaPhase.FAILED),
        (a_state("running"), ReplicaPhase.RUNNING),
        (a_state("running", health="starting"), ReplicaPhase.STARTING),
        (a_state("running", health="unhealthy"), ReplicaPhase.STARTING),
        (a_state("running", health="healthy"), ReplicaPhase.RUNNING),
        (a_state("running", restarts=2), ReplicaPhase.RUNNING),
        (a_state("running", restarts=3, ran=timedelta(seconds=9)), ReplicaPhase.FAILED),
        (a_state("running", restarts=3, ran=timedelta(seconds=10)), ReplicaPhase.RUNNING),
        (a_state("restarting", restarts=2), ReplicaPhase.BACKOFF),
        (a_state("restarting", restarts=3, ran=timedelta(seconds=9)), ReplicaPhase.FAILED),
        (a_state("restarting", restarts=3, ran=timedelta(days=1)), ReplicaPhase.BACKOFF),
        (a_state("exited"), ReplicaPhase.STOPPED),
        (a_state("exited", error="port is already allocated"), ReplicaPhase.FAILED),
        (a_state("created", error="the client connection is closing: context canceled"), ReplicaPhase.STARTING),
        (a_state("exited", error="failed to update the store state of sandbox"), ReplicaPhase.STOPPED),
        (a_state("paused"), ReplicaPhase.STOPPED),
        (a_state("removing"), ReplicaPhase.STOPPED),
    ],
    ids=lambda value: (
        f"{value.status}-{value.error or value.health}-{value.restarts}" if hasattr(value, "error") else ""
    ),
)
def test_a_state_is_a_phase(state: ContainerState, phase: ReplicaPhase) -> None:
    assert phase_of(state, give_up_after=3, now=NOON) is phase


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (a_state("running"), ""),
        (a_state("running", health="unhealthy"), "the health check of its image says unhealthy"),
        (a_state("created"), "not started yet"),
        (a_state("created", error="no such program"), "no such program"),
        (a_state("paused"), "it is paused"),
        (a_state("exited"), "it ended with status 7"),
        (replace(a_state("restarting"), oom_killed=True), "out of memory"),
    ],
)
def test_a_state_has_a_message(state: ContainerState, message: str) -> None:
    assert message_of(state) == message


def test_replicas_are_those_wanted_and_those_there_in_the_version_of_their_container() -> None:
    old = a_container(2, **{"opsuite.version": "1", REPLICA: "2"})
    looks = [Look(old, a_state(), 0), Look(a_container(0), a_state(restarts=1), 4)]

    replicas = replicas_of(a_record(), looks, give_up_after=3, now=NOON)

    assert [(replica.name, replica.version, replica.phase, replica.restarts) for replica in replicas] == [
        ("web-0", "2", ReplicaPhase.RUNNING, 5),
        ("web-1", "2", ReplicaPhase.STARTING, 0),
        ("web-2", "1", ReplicaPhase.RUNNING, 0),
    ]
    assert replicas[1].ports == HTTP[1]


def test_replicas_are_counted_by_number_not_by_name() -> None:
    looks = [Look(a_container(index), a_state(), 0) for index in (10, 9)]

    names = [each.name for each in replicas_of(a_record(replicas=0), looks, give_up_after=3, now=NOON)]

    assert names == ["web-9", "web-10"]
    assert index_of(a_container(10)) == 10


# --- ports ---


def test_a_replica_keeps_its_port_unless_it_lost_it() -> None:
    had = {0: {"http": 1}, 1: {"http": 2}, 2: {"http": 3}, 3: {"http": 4}}

    kept = still_ours(had, holders=[0], lost=[3], is_free=lambda number: number in (3, 4))

    assert sorted(kept) == [0, 2]


def test_a_fixed_port_is_refused_only_if_a_stranger_has_it() -> None:
    spec = replace(a_record().spec, ports=(PortSpec("http", 80),))

    refuse_ports_of_strangers(spec, {}, lambda _: True)
    refuse_ports_of_strangers(spec, {0: {"http": 80}}, lambda _: False)
    with pytest.raises(Conflict) as refusal:
        refuse_ports_of_strangers(spec, {}, lambda _: False)

    assert refusal.value.reason == "PORT_TAKEN"
