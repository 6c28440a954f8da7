"""Callers of the Docker platform that meet others in the middle of a change."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from docker import docker
from docker_workloads import DockerWorkloads, fresh_workloads  # noqa: F401  # the last is the fixture `workloads`

from opsuite_kernel.errors import Conflict, Unavailable
from opsuite_platforms.docker_engine import DockerEngine, FoundContainer

pytestmark = pytest.mark.needs("docker")


class LateEngine(DockerEngine):
    """Its first list is older than what a dead caller's last call made."""

    def __init__(self, url: str, *, hides_labels: bool = False) -> None:
        super().__init__(url)
        self.lists = 0
        self.hides_labels = hides_labels

    async def find(self, labels: Mapping[str, str]) -> list[FoundContainer]:
        self.lists += 1
        return [] if self.lists <= 2 else await super().find(labels)

    async def labels(self, name: str) -> Mapping[str, str] | None:
        return None if self.hides_labels else await super().labels(name)


class ForgetfulEngine(DockerEngine):
    """A dead caller's last call removes the first container before it is started."""

    has_forgotten = False

    async def start(self, name: str) -> None:
        if not self.has_forgotten:
            self.has_forgotten = True
            await self.remove(name)
        await super().start(name)


class CrowdedEngine(DockerEngine):
    """A stranger takes the port of the first container while that is created."""

    def __init__(self, workloads: DockerWorkloads, *, by_container: bool = False) -> None:
        super().__init__(workloads.url)
        self._workloads = workloads
        self._by_container = by_container
        self._socket: socket.socket | None = None
        self.port_taken = 0

    async def create_configured(self, name: str, config: Mapping[str, Any]) -> None:
        await super().create_configured(name, config)
        if not self.port_taken:
            ((binding,),) = config["HostConfig"]["PortBindings"].values()
            self.port_taken = int(binding["HostPort"])
            await asyncio.to_thread(self._take, binding["HostPort"])

    def _take(self, port: str) -> None:
        if self._by_container:
            publish = ["--publish", f"127.0.0.1:{port}:80", "--name", f"{self._workloads.prefix}stranger"]
            docker("run", "--detach", *publish, self._workloads.image, "sleep", "1000", url=self._workloads.url)
        else:
            self._socket = socket.create_server(("127.0.0.1", int(port)))

    async def close(self) -> None:
        await super().close()
        if self._socket is not None:
            self._socket.close()
        if self._by_container:
            await asyncio.to_thread(self._workloads.docker, "rm", "--force", "stranger")


async def test_a_container_that_a_dead_caller_made_late_is_taken_over(workloads: DockerWorkloads) -> None:
    await workloads.platform.apply(workloads.a_workload(), epoch=1)
    before = workloads.docker("inspect", "--format", "{{.Id}}", "web-0")
    workloads.docker("stop", "--time", "0", "web-0")
    heir = workloads.another_caller(LateEngine(workloads.url))

    await heir.apply(workloads.a_workload(), epoch=2)

    await workloads.ready()
    assert workloads.docker("inspect", "--format", "{{.Id}}", "web-0") == before
    await heir.close()


async def test_an_engine_that_never_finishes_an_earlier_call_is_unavailable(workloads: DockerWorkloads) -> None:
    await workloads.platform.apply(workloads.a_workload(), epoch=1)
    engine = LateEngine(workloads.url, hides_labels=True)
    heir = workloads.another_caller(engine, patience=timedelta(0))

    with pytest.raises(Unavailable, match="earlier call"):
        await heir.apply(workloads.a_workload(), epoch=2)

    await heir.close()


async def test_a_container_that_is_removed_before_it_starts_is_made_again(workloads: DockerWorkloads) -> None:
    caller = workloads.another_caller(ForgetfulEngine(workloads.url))

    await caller.apply(workloads.a_workload(), epoch=1)

    await workloads.ready()
    await caller.close()


@pytest.mark.parametrize("by_container", [False, True], ids=["program", "container"])
async def test_a_port_that_a_stranger_takes_at_the_last_moment_is_given_up_for_another(
    workloads: DockerWorkloads, by_container: bool
) -> None:
    engine = CrowdedEngine(workloads, by_container=by_container)
    caller = workloads.another_caller(engine)

    await caller.apply(workloads.a_workload(), epoch=1)

    assert (await workloads.ready()).replicas[0].ports["http"] != engine.port_taken
    await caller.close()


async def test_a_fixed_port_that_a_stranger_takes_at_the_last_moment_leaves_all_as_before(
    workloads: DockerWorkloads,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    caller = workloads.another_caller(CrowdedEngine(workloads))

    with pytest.raises(Conflict) as refusal:
        await caller.apply(workloads.a_workload(port=port), epoch=1)

    assert refusal.value.reason == "PORT_TAKEN"
    assert (await workloads.platform.list_workloads(), workloads.containers()) == ([], [])
    await caller.close()


async def test_of_two_processes_that_scale_from_the_same_size_one_wins(workloads: DockerWorkloads) -> None:
    await workloads.platform.apply(workloads.a_workload(replicas=1), epoch=1)
    code = f"""
import asyncio, pathlib
from opsuite_kernel.errors import Conflict
from opsuite_platforms.docker_workloads import DockerPlatform

async def scale():
    platform = DockerPlatform(pathlib.Path({str(workloads.data)!r}), {workloads.url!r}, prefix={workloads.prefix!r})
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
    assert len((await workloads.ready()).replicas) == 3
    assert workloads.containers() == ["web-0", "web-1", "web-2"]
