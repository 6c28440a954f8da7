"""Workloads on a real Docker Engine: what people and crashes do to them, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from docker import docker, docker_url, tiny_image  # noqa: F401  # the last two are fixtures

from opsuite_kernel.errors import Conflict, NotFound, Unavailable
from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.port import PortSpec, Replica, ReplicaPhase, WorkloadSpec, WorkloadStatus

ABSENT = "127.0.0.1:9/absent:1"  # nothing listens on the discard port, so the refusal is immediate


class Bench:
    """An engine, and platforms of one data directory on it."""

    def __init__(self, data: Path, url: str, image: str) -> None:
        self.data = data
        self.url = url
        self.image = image
        self.prefix = f"opsuite-test-{uuid4().hex[:8]}-"
        self.platform = DockerPlatform(data, url, prefix=self.prefix, give_up_after=2)

    def a_workload(self, *command: str, name: str = "web", replicas: int = 1, port: int | None = None) -> WorkloadSpec:
        return WorkloadSpec(
            name=name,
            version="1",
            command=command or ("sleep", "1000"),
            directory="/",
            ports=(PortSpec("http", port),),
            replicas=replicas,
            image=self.image,
            grace=timedelta(seconds=2),
        )

    async def close(self) -> None:
        await self.platform.sweep()
        for name in await self.platform.list_workloads():
            await self.platform.remove(name)
        await self.platform.close()

    def containers(self) -> list[str]:
        """Names of the containers on the engine, without the prefix, running or not."""
        names = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{self.prefix}", url=self.url)
        return sorted(name.removeprefix(self.prefix) for name in names.split())

    def docker(self, *arguments: str) -> str:
        """Let somebody else do something; the last argument is a container without the prefix."""
        return docker(*arguments[:-1], f"{self.prefix}{arguments[-1]}", url=self.url)

    async def until(self, holds: Callable[[Replica], bool], name: str = "web") -> Replica:
        """The first replica when it holds; the test's own time limit is the limit."""
        while not holds(replica := (await self.platform.observe(name)).replicas[0]):  # noqa: ASYNC110  # it is asked
            await asyncio.sleep(0.005)
        return replica

    async def ready(self, name: str = "web") -> WorkloadStatus:
        while not (status := await self.platform.observe(name)).is_ready:  # noqa: ASYNC110  # it is asked
            await asyncio.sleep(0.005)
        return status


@pytest.fixture
async def bench(tmp_path: Path, docker_url: str, tiny_image: str) -> AsyncIterator[Bench]:  # noqa: F811
    bench = Bench(tmp_path, docker_url, tiny_image)
    yield bench
    await bench.close()


# --- what a replica is ---


async def test_a_replica_answers_on_the_port_it_was_given(bench: Bench) -> None:
    serve = 'mkdir -p /www; echo "port $PORT" > /www/index.html; exec httpd -f -p "$1" -h /www'
    spec = bench.a_workload("sh", "-c", serve, "serve", "${port}", replicas=2)
    await bench.platform.apply(replace(spec, env={"PORT": "${port_http}"}), epoch=1)

    ports = [replica.ports["http"] for replica in (await bench.ready()).replicas]

    assert [await asyncio.to_thread(page, port) for port in ports] == [f"port {port}" for port in ports]


def page(port: int) -> str:
    """What is served there, as soon as it is: the engine's proxy listens before the program does."""
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return str(answer.read().decode().strip())
        except OSError:
            continue


async def test_a_replica_is_limited_and_can_gain_no_privilege(bench: Bench) -> None:
    spec = replace(bench.a_workload(), cpus=0.5, memory_bytes=67_108_864)
    await bench.platform.apply(spec, epoch=1)

    (record,) = json.loads(bench.docker("inspect", "web-0"))

    host = record["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (500_000_000, 67_108_864, 67_108_864)
    assert (host["Privileged"], host["CapDrop"], host["SecurityOpt"]) == (False, ["ALL"], ["no-new-privileges"])
    assert (record["Mounts"], host["PidsLimit"] > 0) == ([], True)
    assert host["LogConfig"]["Config"]["max-size"]
    assert {binding["HostIp"] for (binding,) in host["PortBindings"].values()} == {"127.0.0.1"}


async def test_logs_are_the_last_lines_and_stay_over_a_restart(bench: Bench) -> None:
    spec = bench.a_workload("sh", "-c", "echo one; echo two >&2; echo three; sleep 1000")
    await bench.platform.apply(spec, epoch=1)

    await until_logged(bench, ["two", "three"], lines=2)
    await bench.platform.restart("web")
    await until_logged(bench, ["three", "one", "two", "three"], lines=4)

    assert await bench.platform.logs("web", "web-0", lines=0) == []


async def until_logged(bench: Bench, lines_wanted: list[str], *, lines: int) -> None:
    """Two streams have no order between them."""
    while sorted(await bench.platform.logs("web", "web-0", lines=lines)) != sorted(lines_wanted):  # noqa: ASYNC110
        await asyncio.sleep(0.005)


# --- what cannot be ---


async def test_a_program_that_crashes_at_start_backs_off_and_is_given_up(bench: Bench) -> None:
    await bench.platform.apply(bench.a_workload("sh", "-c", "exit 7"), epoch=1)

    backing_off = await bench.until(lambda replica: replica.phase is ReplicaPhase.BACKOFF)
    given_up = await bench.until(lambda replica: replica.phase is ReplicaPhase.FAILED)

    assert backing_off.message == "it ended with status 7"
    assert given_up.restarts >= 2


async def test_an_image_that_is_nowhere_changes_nothing(bench: Bench) -> None:
    await bench.platform.apply(bench.a_workload(), epoch=1)
    before = await bench.ready()

    for name in ("web", "api"):
        with pytest.raises(Conflict, match="cannot be pulled") as refusal:
            await bench.platform.apply(replace(bench.a_workload(name=name), image=ABSENT), epoch=1)
        assert refusal.value.reason == "SPEC_IMPOSSIBLE"

    assert await bench.platform.observe("web") == before
    assert await bench.platform.list_workloads() == ["web"]


async def test_a_spec_without_an_image_is_refused(bench: Bench) -> None:
    with pytest.raises(Conflict, match="needs an image"):
        await bench.platform.apply(replace(bench.a_workload(), image=""), epoch=1)

    with pytest.raises(NotFound):
        await bench.platform.observe("web")


async def test_what_the_engine_refuses_leaves_the_old_version_running(bench: Bench) -> None:
    await bench.platform.apply(bench.a_workload(), epoch=1)
    impossible = replace(bench.a_workload(), version="2", memory_bytes=1)

    with pytest.raises(Conflict, match="memory") as refusal:
        await bench.platform.apply(impossible, epoch=1)
    with pytest.raises(Conflict):
        await bench.platform.apply(replace(impossible, name="api"), epoch=1)

    assert refusal.value.reason == "SPEC_IMPOSSIBLE"
    assert (await bench.ready()).version == "1"
    assert bench.containers() == ["web-0"]


async def test_a_name_that_a_stranger_has_is_not_taken_away(bench: Bench) -> None:
    docker("create", "--name", f"{bench.prefix}web-0", bench.image, "sleep", "1000", url=bench.url)
    try:
        with pytest.raises(Conflict) as refusal:
            await bench.platform.apply(bench.a_workload(), epoch=1)

        assert refusal.value.reason == "NAME_TAKEN"
        assert bench.containers() == ["web-0"]
    finally:
        bench.docker("rm", "web-0")


async def test_a_fixed_port_that_a_stranger_has_is_refused(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(Conflict) as refusal:
            await bench.platform.apply(bench.a_workload(port=port), epoch=1)

    assert refusal.value.reason == "PORT_TAKEN"
    await bench.platform.apply(bench.a_workload(port=port), epoch=1)
    assert (await bench.ready()).replicas[0].ports == {"http": port}


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
async def test_what_somebody_did_to_a_container_is_told_and_put_right(bench: Bench, deed: tuple[str, ...]) -> None:
    await bench.platform.apply(bench.a_workload(replicas=2), epoch=1)
    _, neighbour = (await bench.ready()).replicas

    bench.docker(*deed, "web-0")

    assert not (await bench.platform.observe("web")).is_ready
    await bench.platform.apply(bench.a_workload(replicas=2), epoch=1)
    assert (await bench.ready()).replicas[1] == neighbour


async def test_a_replica_whose_port_was_taken_while_it_was_down_gets_another(bench: Bench) -> None:
    await bench.platform.apply(bench.a_workload(), epoch=1)
    port = (await bench.ready()).replicas[0].ports["http"]
    bench.docker("stop", "--time", "0", "web-0")

    with socket.create_server(("127.0.0.1", port)):
        await bench.platform.apply(bench.a_workload(), epoch=1)

        assert (await bench.ready()).replicas[0].ports["http"] != port


async def test_containers_of_others_are_left_alone_and_forgotten_ones_are_swept(bench: Bench, tmp_path: Path) -> None:
    """A caller that dies while the engine creates a container, and another that removes the workload meanwhile."""
    await bench.platform.apply(bench.a_workload(), epoch=1)
    await bench.platform.apply(bench.a_workload(name="api"), epoch=1)
    stranger = DockerPlatform(tmp_path / "stranger", bench.url, prefix=f"{bench.prefix}s-")
    await stranger.apply(bench.a_workload(), epoch=1)
    (tmp_path / "docker" / "workloads" / "web.json").unlink()

    await bench.platform.sweep()
    await bench.platform.remove("web")

    assert bench.containers() == ["api-0", "s-web-0"]
    await stranger.remove("web")
    await stranger.close()


async def test_of_two_processes_that_scale_from_the_same_size_one_wins(bench: Bench) -> None:
    await bench.platform.apply(bench.a_workload(replicas=1), epoch=1)
    code = f"""
import asyncio, pathlib
from opsuite_kernel.errors import Conflict
from opsuite_platforms.docker_workloads import DockerPlatform

async def scale():
    platform = DockerPlatform(pathlib.Path({str(bench.data)!r}), {bench.url!r}, prefix={bench.prefix!r})
    try:
        await platform.scale("web", 3, expected=1)
        print("scaled")
    except Conflict as conflict:
        print(conflict.reason)
    await platform.close()

asyncio.run(scale())
"""
    racers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [(await racer.communicate())[0].decode().strip() for racer in racers]

    assert sorted(outputs) == ["SIZE_CHANGED", "scaled"]
    assert len((await bench.ready()).replicas) == 3
    assert bench.containers() == ["web-0", "web-1", "web-2"]
