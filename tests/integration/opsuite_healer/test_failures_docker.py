"""Containers that run out of memory again and again, or hang, are mended by a whole healer on a real engine."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from docker import docker, engine_url, import_tiny_image
from fakes.healer_failures import AGAIN_SECONDS, IN_VAIN, PROOF, Ward, a_ward, answer_of, check_form, told
from fakes.healer_remediation_stage import step
from healer import HealerProcess
from scaler import a_place

from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.port import PortSpec, WorkloadSpec

pytestmark = pytest.mark.needs("docker")

IMAGE = "opsuite-test/healer:1"
# Serves what it has read, and reads /backlog into its memory first: more of it than the container may have.
SERVER = 'mkdir -p /srv; echo well > /srv/index.html; kept="$(cat /backlog 2>/dev/null)"; exec httpd -f -p "$0" -h /srv'
BACKLOG_BYTES, MEMORY_BYTES = 64 * 1024 * 1024, 24 * 1024 * 1024
# The program itself; process 1 of the container is one that only waits for it.
STOPPED = ("exec", "CONTAINER", "killall", "-STOP", "httpd")
PAUSED = ("pause", "CONTAINER")
CLEAR = """#!/bin/sh
# Puts an empty backlog into a container, also into one that is not running.
exec {docker} --host {url} cp {empty} {container}:/backlog
"""


@dataclass
class Site:
    """A workload of two containers and the healer that looks after it."""

    place: Path
    name: str
    platform: DockerPlatform
    healer: HealerProcess

    @property
    def target(self) -> dict[str, str]:
        return {"platform": "docker", "workload": self.name}

    def container(self, index: int) -> str:
        names = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name={self.name}").split()
        return sorted(names)[index]

    async def started(self) -> list[object]:
        return [one.started_at for one in (await self.platform.observe(self.name)).replicas]

    async def serves(self) -> bool:
        """Whether each container answers somebody outside."""
        replicas = (await self.platform.observe(self.name)).replicas
        return [await answer_of(one.ports["http"]) for one in replicas] == ["well\n"] * 2


@asynccontextmanager
async def a_site() -> AsyncIterator[Site]:
    url = engine_url()
    docker("tag", import_tiny_image(url), IMAGE)
    with a_place() as place:
        tools = place / "tools"
        tools.mkdir(mode=0o755)
        trusted = {"HEALER_TRUSTED_DIRECTORIES": str(tools), "HEALER_COMMAND_NAMES": "clear-backlog"}
        healer = HealerProcess(place / "healer", place / "suite", trusted | {"HEALER_DOCKER_URL": url})
        first, _, last = healer.workload_ports.partition("-")
        platform = DockerPlatform(place / "suite/docker", url, ports=range(int(first), int(last) + 1))
        site = Site(place, f"shop-{uuid4().hex[:8]}", platform, healer)
        try:
            await platform.apply(_shop(site.name), epoch=1)
            async with asyncio.timeout(60):
                while not await site.serves():  # noqa: ASYNC110 - who is outside has to ask
                    await asyncio.sleep(AGAIN_SECONDS)
            yield site
        finally:
            healer.close()
            await platform.remove(site.name)
            await platform.close()


def _shop(name: str) -> WorkloadSpec:
    return WorkloadSpec(
        name,
        "1",
        ("sh", "-c", SERVER, "${port}"),
        "/",
        ports=(PortSpec("http"),),
        replicas=2,
        image=IMAGE,
        memory_bytes=MEMORY_BYTES,
        grace=timedelta(seconds=1),
    )


async def test_a_container_that_runs_out_of_memory_again_and_again_is_mended_when_its_cause_is_cleared() -> None:
    async with a_site() as site, a_ward(site.healer) as ward:
        sick, (_, neighbour) = site.container(0), await site.started()
        _put_down_command(site, sick)
        await ward.watch(
            check_form("memory", site.target, state={"restartLimit": 100}),
            step(verification=IN_VAIN, retries=0),
            step("CLEAR_CACHE", params={"cache": "command", "command": "clear-backlog"}, verification=PROOF),
            match={"issues": ["OOM_KILLED"]},
        )
        began = time.time()
        _fill(site, sick)
        docker("restart", "--time", "0", sick)
        ended = await ward.mended("a container out of memory", began, site.serves)
        times = await site.started()

    assert told(ended) == [("RESTART_SERVICE", "NO_HELP"), ("CLEAR_CACHE", "PROVED")]
    assert ended.target.replica == f"{site.name}-0"
    assert times[1] == neighbour


def _put_down_command(site: Site, container: str) -> None:
    """The command that the healer may use to clear the cause."""
    empty, command = site.place / "empty", site.place / "tools/clear-backlog"
    empty.touch()
    command.write_text(CLEAR.format(docker=shutil.which("docker"), url=engine_url(), empty=empty, container=container))
    command.chmod(0o755)


def _fill(site: Site, container: str) -> None:
    """A backlog that is too large for the memory; without line breaks nothing of it is dropped."""
    backlog = site.place / "backlog"
    backlog.write_bytes(b"x" * BACKLOG_BYTES)
    docker("cp", str(backlog), f"{container}:/backlog")


async def _hang(ward: Ward, site: Site, *how: str) -> None:
    sick, (_, neighbour) = site.container(0), await site.started()
    await ward.watch(
        check_form("answers", site.target, http={"url": "http://127.0.0.1:${port}/"}),
        step(verification=PROOF, retries=0),
    )
    began = time.time()
    docker(*(word.replace("CONTAINER", sick) for word in how))
    ended = await ward.mended(f"a container that hangs ({how[0]})", began, site.serves)
    assert told(ended) == [("RESTART_SERVICE", "PROVED")]
    assert ended.target.replica == f"{site.name}-0"
    assert (await site.started())[1] == neighbour


@pytest.mark.parametrize("how", [STOPPED, PAUSED], ids=["stopped", "paused"])
async def test_a_container_that_hangs_is_restarted_and_its_neighbour_is_left_alone(how: tuple[str, ...]) -> None:
    async with a_site() as site, a_ward(site.healer) as ward:
        await _hang(ward, site, *how)
