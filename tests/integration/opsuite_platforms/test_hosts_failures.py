"""Hosts, connections and callers that fail: others go on, nothing is doubled, applying again puts it right."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from sshd import SshHost, own_hosts

from opsuite_kernel.errors import Unavailable
from opsuite_platforms.hosts import HostsPlatform
from opsuite_platforms.hosts_barrier import Barrier
from opsuite_platforms.port import ReplicaPhase, WorkloadSpec, WorkloadStatus
from opsuite_platforms.ssh import SshLimits
from opsuite_platforms.workload_files import WorkloadFiles

__all__ = ["own_hosts"]

Hosts = tuple[SshHost, SshHost]
AT_ONCE = Barrier(steady=timedelta(0))


@pytest.fixture
def sleeping() -> tuple[str, ...]:
    """A command that nobody else on this machine runs."""
    return ("/bin/sleep", f"1000.{uuid4().int % 10**12:012}")


@pytest.fixture
async def platform(own_hosts: Hosts) -> AsyncIterator[HostsPlatform]:
    platform = a_platform(own_hosts)
    await platform.prepare()
    yield platform
    await platform.close()


def a_platform(hosts: Hosts, limits: SshLimits | None = None) -> HostsPlatform:
    return HostsPlatform([host.spec for host in hosts], barrier=AT_ONCE, limits=limits)


def a_workload(version: str = "1.0.0", *command: str) -> WorkloadSpec:
    command = command or ("/bin/sleep", "1000")
    return WorkloadSpec("web", version, command, "/", {}, (), 2, grace=timedelta(seconds=30))


def stubborn(gate: Path, version: str = "1.0.0") -> WorkloadSpec:
    """A workload that stops only once a file exists."""
    script = 'trap "" TERM; while [ ! -e "$1" ]; do sleep 0.05; done'
    command = ("/bin/sh", "-c", script, "sh", str(gate))
    return replace(a_workload(version, *command), env={"PATH": os.defpath})


def asked(host: SshHost) -> str:
    """The version that a host was asked for last; empty if it knows of none."""
    record = WorkloadFiles(host.data / "workloads").find("web")
    return record.spec.version if record else ""


async def event(holds: Callable[[], bool]) -> None:
    """Returns when it holds; the test's own time limit is the limit."""
    while not await asyncio.to_thread(holds):  # noqa: ASYNC110  # other processes do not set our events
        await asyncio.sleep(0.01)


async def status_when(platform: HostsPlatform, holds: Callable[[WorkloadStatus], bool]) -> WorkloadStatus:
    while not holds(status := await platform.observe("web")):  # noqa: ASYNC110  # a platform is asked
        await asyncio.sleep(0.01)
    return status


def running(command: tuple[str, ...]) -> int:
    """How many processes run exactly that."""
    return sum(process.info["cmdline"] == list(command) for process in psutil.process_iter(["cmdline"]))


async def test_a_host_that_is_down_is_named_and_the_others_go_on(platform: HostsPlatform, own_hosts: Hosts) -> None:
    await platform.apply(a_workload(), epoch=1)
    own_hosts[1].sshd.kill()

    with pytest.raises(Unavailable, match="host two"):
        await platform.apply(a_workload("2.0.0"), epoch=2)

    first, second = (await platform.observe("web")).replicas
    assert (first.version, first.phase) == ("2.0.0", ReplicaPhase.RUNNING)
    assert (second.name, second.version, second.phase) == ("web-1", "", ReplicaPhase.STARTING)
    assert "host two" in second.message
    with pytest.raises(Unavailable, match="host two"):
        await platform.check()


async def test_applying_again_puts_a_host_right_that_is_back(platform: HostsPlatform, own_hosts: Hosts) -> None:
    await platform.apply(a_workload(), epoch=1)
    own_hosts[1].sshd.kill()
    with pytest.raises(Unavailable):
        await platform.apply(a_workload("2.0.0"), epoch=2)
    own_hosts[1].sshd.start()
    behind = await platform.observe("web")

    await platform.apply(a_workload("2.0.0"), epoch=2)

    assert [replica.version for replica in behind.replicas] == ["2.0.0", "1.0.0"]
    assert not behind.is_ready
    assert (await status_when(platform, lambda status: status.is_ready)).version == "2.0.0"


async def test_growing_never_starts_an_old_version_on_a_host_that_missed_the_new_one(
    platform: HostsPlatform, own_hosts: Hosts
) -> None:
    await platform.apply(a_workload(), epoch=1)
    own_hosts[1].sshd.kill()
    with pytest.raises(Unavailable):
        await platform.apply(a_workload("2.0.0"), epoch=2)
    own_hosts[1].sshd.start()

    await platform.scale("web", 4)

    assert {replica.version for replica in (await platform.observe("web")).replicas} == {"2.0.0"}


async def test_nothing_is_touched_without_the_first_host(platform: HostsPlatform, own_hosts: Hosts) -> None:
    await platform.apply(a_workload(), epoch=1)
    own_hosts[0].sshd.kill()

    with pytest.raises(Unavailable, match="host one"):
        await platform.apply(a_workload("2.0.0"), epoch=2)

    first, second = (await platform.observe("web")).replicas
    assert (first.phase, second.phase, second.version) == (ReplicaPhase.STARTING, ReplicaPhase.RUNNING, "1.0.0")
    assert asked(own_hosts[1]) == "1.0.0"


async def test_with_no_host_left_nothing_is_known(platform: HostsPlatform, own_hosts: Hosts) -> None:
    await platform.apply(a_workload(), epoch=1)
    for host in own_hosts:
        host.sshd.kill()

    for call in (platform.observe("web"), platform.list_workloads(), platform.check()):
        with pytest.raises(Unavailable):
            await call


async def test_a_workload_exists_until_every_host_has_forgotten_it(
    platform: HostsPlatform, own_hosts: Hosts, sleeping: tuple[str, ...]
) -> None:
    await platform.apply(a_workload("1.0.0", *sleeping), epoch=1)
    await event(lambda: running(sleeping) == 2)
    own_hosts[1].sshd.kill()
    with pytest.raises(Unavailable, match="host two"):
        await platform.remove("web")
    left = (await platform.list_workloads(), running(sleeping))
    own_hosts[1].sshd.start()

    await platform.remove("web")

    assert left == (["web"], 1)
    assert (await platform.list_workloads(), running(sleeping)) == ([], 0)


async def test_a_cut_connection_is_opened_again(platform: HostsPlatform, own_hosts: Hosts) -> None:
    await platform.apply(a_workload(), epoch=1)

    own_hosts[0].sshd.cut()

    await status_when(platform, lambda status: status.is_ready)


async def test_a_connection_cut_in_the_middle_of_a_change_doubles_nothing(
    platform: HostsPlatform, own_hosts: Hosts, tmp_path: Path, sleeping: tuple[str, ...]
) -> None:
    gate = tmp_path / "gate"
    await platform.apply(stubborn(gate), epoch=1)
    applying = asyncio.create_task(platform.apply(a_workload("2.0.0", *sleeping), epoch=1))
    await event(lambda: asked(own_hosts[0]) == "2.0.0")  # it waits for the old replica to stop

    own_hosts[0].sshd.cut()
    with pytest.raises(Unavailable, match="host one"):
        await applying
    gate.touch()
    await platform.apply(a_workload("2.0.0", *sleeping), epoch=1)

    await status_when(platform, lambda status: status.is_ready)
    await event(lambda: running(sleeping) == 2)
    assert running(stubborn(gate).command) == 0


async def test_a_killed_caller_is_followed_by_one_that_finishes_its_work(
    platform: HostsPlatform, own_hosts: Hosts, tmp_path: Path, sleeping: tuple[str, ...]
) -> None:
    gate = tmp_path / "gate"
    await platform.apply(stubborn(gate), epoch=1)
    environment = {"PATH": os.defpath, "TMPDIR": str(own_hosts[0].data)}  # what it leaves behind goes with the host
    caller = await asyncio.create_subprocess_exec(sys.executable, "-c", caller_of(own_hosts, sleeping), env=environment)
    await event(lambda: asked(own_hosts[0]) == "2.0.0")

    caller.send_signal(signal.SIGKILL)
    await caller.wait()
    gate.touch()
    await platform.apply(a_workload("2.0.0", *sleeping), epoch=3)

    await status_when(platform, lambda status: status.is_ready)
    await event(lambda: running(sleeping) == 2)
    assert running(stubborn(gate).command) == 0


async def test_a_host_that_falls_silent_is_given_up(platform: HostsPlatform, own_hosts: Hosts) -> None:
    await platform.apply(a_workload(), epoch=1)
    impatient = a_platform(own_hosts, SshLimits(silence=timedelta(seconds=0.6), connect=timedelta(seconds=60)))
    await impatient.observe("web")
    connections = own_hosts[1].sshd.processes()[1:]

    for process in connections:
        process.suspend()
    status = await impatient.observe("web")

    assert "host two" in status.replicas[1].message
    await impatient.close()


async def test_a_change_waits_for_another_one_only_so_long(own_hosts: Hosts) -> None:
    platform = a_platform(own_hosts, SshLimits(lock=timedelta(seconds=1)))
    await platform.prepare()
    await platform.apply(a_workload(), epoch=1)

    with (own_hosts[0].data / "workloads" / "web.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="another caller"):
            await platform.apply(a_workload("2.0.0"), epoch=1)

    await platform.apply(a_workload("2.0.0"), epoch=1)
    await platform.close()


async def test_a_verb_that_takes_too_long_lets_go_of_the_host(own_hosts: Hosts, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    platform = a_platform(own_hosts)
    await platform.prepare()
    await platform.apply(stubborn(gate), epoch=1)
    impatient = a_platform(own_hosts, SshLimits(operation=timedelta(seconds=2)))

    with pytest.raises(Unavailable, match="host one"):
        await impatient.apply(a_workload("2.0.0"), epoch=1)

    gate.touch()
    await platform.apply(a_workload("2.0.0"), epoch=1)
    await status_when(platform, lambda status: status.is_ready)
    await impatient.close()
    await platform.close()


async def test_replicas_of_a_dead_supervisord_come_back_once_when_the_host_is_prepared_again(
    platform: HostsPlatform, own_hosts: Hosts, sleeping: tuple[str, ...]
) -> None:
    await platform.apply(a_workload("1.0.0", *sleeping), epoch=1)
    await event(lambda: running(sleeping) == 2)
    pid = int((own_hosts[1].data / "supervisor" / "supervisord.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    await event(lambda: running(sleeping) == 1)
    with pytest.raises(Unavailable, match="opsuite host prepare"):
        await platform.check()

    await platform.prepare()
    await platform.prepare()

    await status_when(platform, lambda status: status.is_ready)
    await event(lambda: running(sleeping) == 2)


async def test_a_host_without_supervisor_is_told_what_to_install(own_hosts: Hosts) -> None:
    platform = HostsPlatform([replace(own_hosts[0].spec, python="/bin/false")])

    with pytest.raises(Unavailable, match="install supervisor"):
        await platform.prepare()

    await platform.close()


def caller_of(hosts: Hosts, command: tuple[str, ...]) -> str:
    """A program that asks for another version of the workload."""
    return f"""
import asyncio
from datetime import timedelta
from pathlib import PosixPath, PurePosixPath
from opsuite_platforms.hosts import HostsPlatform
from opsuite_platforms.port import WorkloadSpec
from opsuite_platforms.ssh import HostSpec
spec = WorkloadSpec("web", "2.0.0", {command!r}, "/", replicas=2, grace=timedelta(seconds=30))
async def main():
    await HostsPlatform({[host.spec for host in hosts]!r}).apply(spec, epoch=2)
asyncio.run(main())
"""
