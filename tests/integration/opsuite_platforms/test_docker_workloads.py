"""Workloads on a real Docker Engine: what people and crashes do to them, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from docker import docker
from docker_workloads import DockerWorkloads, fresh_workloads  # noqa: F401  # the last is the fixture `workloads`

from opsuite_kernel.errors import Conflict, NotFound, Unavailable
from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.port import ReplicaPhase, WorkloadSpec

pytestmark = pytest.mark.needs("docker")

ABSENT = "127.0.0.1:9/absent:1"  # nothing listens on the discard port, so the refusal is immediate


# --- what a replica is ---


async def test_a_replica_answers_on_the_port_it_was_given(workloads: DockerWorkloads) -> None:
    serve = 'mkdir -p /www; echo "port $PORT" > /www/index.html; exec httpd -f -p "$1" -h /www'
    spec = workloads.a_workload("sh", "-c", serve, "serve", "${port}", replicas=2)
    await workloads.platform.apply(replace(spec, env={"PORT": "${port_http}"}), epoch=1)

    ports = [replica.ports["http"] for replica in (await workloads.ready()).replicas]

    assert [await asyncio.to_thread(page, port) for port in ports] == [f"port {port}" for port in ports]


def page(port: int) -> str:
    """What is served there, as soon as it is: the engine's proxy listens before the program does."""
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return str(answer.read().decode().strip())
        except OSError:
            continue


async def test_a_replica_is_limited_and_can_gain_no_privilege(workloads: DockerWorkloads) -> None:
    spec = replace(workloads.a_workload(), cpus=0.5, memory_bytes=67_108_864)
    await workloads.platform.apply(spec, epoch=1)

    (record,) = json.loads(workloads.docker("inspect", "web-0"))

    host = record["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (500_000_000, 67_108_864, 67_108_864)
    assert (host["Privileged"], host["CapDrop"], host["SecurityOpt"]) == (False, ["ALL"], ["no-new-privileges"])
    assert (record["Mounts"], host["PidsLimit"] > 0) == ([], True)
    assert host["LogConfig"]["Config"]["max-size"]
    assert {binding["HostIp"] for (binding,) in host["PortBindings"].values()} == {"127.0.0.1"}


async def test_logs_are_the_last_lines_of_both_streams_and_stay_over_a_restart(workloads: DockerWorkloads) -> None:
    spec = workloads.a_workload("sh", "-c", "echo one; echo two; echo error >&2; exec sleep 1000")
    await workloads.platform.apply(spec, epoch=1)
    await logged(workloads, 3)

    await workloads.platform.restart("web")

    lines = await logged(workloads, 6)
    assert [line for line in lines if line != "error"] == ["one", "two", "one", "two"]
    assert await workloads.platform.logs("web", "web-0", lines=2) == lines[-2:]
    assert await workloads.platform.logs("web", "web-0", lines=0) == []


async def logged(workloads: DockerWorkloads, lines: int) -> Sequence[str]:
    """All that the first replica wrote, when it is so many lines."""
    while len(texts := await workloads.platform.logs("web", "web-0")) < lines:  # noqa: ASYNC110  # it is asked
        await asyncio.sleep(0.005)
    return texts


# --- what cannot be ---


async def test_a_program_that_crashes_at_start_backs_off_and_is_given_up(workloads: DockerWorkloads) -> None:
    await workloads.platform.apply(workloads.a_workload("sh", "-c", "exit 7"), epoch=1)

    backing_off = await workloads.until(lambda replica: replica.phase is ReplicaPhase.BACKOFF)
    given_up = await workloads.until(lambda replica: replica.phase is ReplicaPhase.FAILED)

    assert backing_off.message == "it ended with status 7"
    assert given_up.restarts >= 2


async def test_an_image_that_is_nowhere_changes_nothing(workloads: DockerWorkloads) -> None:
    await workloads.platform.apply(workloads.a_workload(), epoch=1)
    before = await workloads.ready()

    for name in ("web", "api"):
        with pytest.raises(Conflict, match="cannot be pulled") as refusal:
            await workloads.platform.apply(replace(workloads.a_workload(name=name), image=ABSENT), epoch=1)
        assert refusal.value.reason == "SPEC_IMPOSSIBLE"

    assert await workloads.platform.observe("web") == before
    assert await workloads.platform.list_workloads() == ["web"]


async def test_a_spec_without_an_image_is_refused(workloads: DockerWorkloads) -> None:
    with pytest.raises(Conflict, match="needs an image"):
        await workloads.platform.apply(replace(workloads.a_workload(), image=""), epoch=1)

    with pytest.raises(NotFound):
        await workloads.platform.observe("web")


async def test_what_the_engine_refuses_leaves_the_old_version_running(workloads: DockerWorkloads) -> None:
    await workloads.platform.apply(workloads.a_workload(), epoch=1)
    impossible = replace(workloads.a_workload(), version="2", memory_bytes=1)

    with pytest.raises(Conflict, match="memory") as refusal:
        await workloads.platform.apply(impossible, epoch=1)
    with pytest.raises(Conflict):
        await workloads.platform.apply(replace(impossible, name="api"), epoch=1)

    assert refusal.value.reason == "SPEC_IMPOSSIBLE"
    assert (await workloads.ready()).version == "1"
    assert workloads.containers() == ["web-0"]


async def test_a_name_that_a_stranger_has_is_not_taken_away(workloads: DockerWorkloads) -> None:
    docker("create", "--name", f"{workloads.prefix}web-0", workloads.image, "sleep", "1000", url=workloads.url)
    try:
        with pytest.raises(Conflict) as refusal:
            await workloads.platform.apply(workloads.a_workload(), epoch=1)

        assert refusal.value.reason == "NAME_TAKEN"
        assert workloads.containers() == ["web-0"]
    finally:
        workloads.docker("rm", "web-0")


async def test_a_fixed_port_that_a_stranger_has_is_refused(workloads: DockerWorkloads) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(Conflict) as refusal:
            await workloads.platform.apply(workloads.a_workload(port=port), epoch=1)

    assert refusal.value.reason == "PORT_TAKEN"
    await workloads.platform.apply(workloads.a_workload(port=port), epoch=1)
    assert (await workloads.ready()).replicas[0].ports == {"http": port}


async def test_an_engine_that_does_not_answer_says_what_to_do_and_nothing_is_remembered(tmp_path: Path) -> None:
    platform = DockerPlatform(tmp_path, "unix:///nonexistent/docker.sock")

    with pytest.raises(Unavailable, match="start it"):
        await platform.check()
    with pytest.raises(Unavailable):
        await platform.apply(WorkloadSpec("web", "1", (), "", image="any"), epoch=1)

    assert await platform.list_workloads() == []
    await platform.close()


# --- what others do ---


@pytest.mark.parametrize("deed", [("rm", "--force"), ("stop", "--time", "0"), ("pause",), ("kill",)], ids=" ".join)
async def test_what_somebody_did_to_a_container_is_told_and_put_right(
    workloads: DockerWorkloads, deed: tuple[str, ...]
) -> None:
    await workloads.platform.apply(workloads.a_workload(replicas=2), epoch=1)
    victim, neighbour = (await workloads.ready()).replicas

    workloads.docker(*deed, "web-0")

    assert not (await workloads.platform.observe("web")).is_ready
    await workloads.platform.apply(workloads.a_workload(replicas=2), epoch=1)
    after = (await workloads.ready()).replicas
    assert (after[0].ports, after[1]) == (victim.ports, neighbour)


async def test_a_replica_whose_port_was_taken_while_it_was_down_gets_another(workloads: DockerWorkloads) -> None:
    await workloads.platform.apply(workloads.a_workload(), epoch=1)
    port = (await workloads.ready()).replicas[0].ports["http"]
    workloads.docker("stop", "--time", "0", "web-0")

    with socket.create_server(("127.0.0.1", port)):
        await workloads.platform.apply(workloads.a_workload(), epoch=1)

        assert (await workloads.ready()).replicas[0].ports["http"] != port


async def test_containers_of_others_are_left_alone_and_forgotten_ones_are_swept(
    workloads: DockerWorkloads, tmp_path: Path
) -> None:
    """A caller that dies while the engine creates a container, and another that removes the workload meanwhile."""
    await workloads.platform.apply(workloads.a_workload(), epoch=1)
    await workloads.platform.apply(workloads.a_workload(name="api"), epoch=1)
    stranger = DockerPlatform(tmp_path / "stranger", workloads.url, prefix=f"{workloads.prefix}s-")
    await stranger.apply(workloads.a_workload(), epoch=1)
    (tmp_path / "docker" / "workloads" / "web.json").unlink()

    await workloads.platform.sweep()
    await workloads.platform.remove("web")

    assert workloads.containers() == ["api-0", "s-web-0"]
    await stranger.remove("web")
    await stranger.close()
