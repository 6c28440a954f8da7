"""Docker workloads in tests, and what a test does to them behind their platform's back. Import `fresh_workloads`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from docker import docker, engine_url, import_tiny_image

from opsuite_platforms.docker_engine import DockerEngine
from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.port import PortSpec, Replica, WorkloadSpec, WorkloadStatus


class DockerWorkloads:
    """An engine, and platforms of one data directory on it."""

    def __init__(self, data: Path, url: str, image: str) -> None:
        self.data = data
        self.url = url
        self.image = image
        self.prefix = f"opsuite-test-{uuid4().hex[:8]}-"
        first = random.randrange(21_000, 29_000, 20)  # tests that run beside each other should not meet
        self.ports = range(first, first + 20)
        self.platform = DockerPlatform(data, url, prefix=self.prefix, ports=self.ports, give_up_after=2)

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

    def another_caller(self, engine: DockerEngine, *, patience: timedelta = timedelta(seconds=30)) -> DockerPlatform:
        """Of the same data; closing it closes its engine."""
        return DockerPlatform(
            self.data, prefix=self.prefix, ports=self.ports, patience=patience, connect=lambda _: engine
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


@pytest.fixture(name="workloads")
async def fresh_workloads(tmp_path: Path) -> AsyncIterator[DockerWorkloads]:
    """No workloads yet; they are removed in the end."""
    workloads = DockerWorkloads(tmp_path, engine_url(), import_tiny_image(engine_url()))
    yield workloads
    await workloads.close()
