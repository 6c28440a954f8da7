"""Several hosts beyond the contract: where replicas go, and the first host as barrier."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sshd import ONE, TWO, SshHost, two_hosts

from opsuite_kernel.errors import Conflict, NotFound
from opsuite_platforms.hosts import HostsPlatform
from opsuite_platforms.hosts_barrier import Barrier
from opsuite_platforms.port import PortSpec, Readiness, ReplicaPhase, WorkloadSpec
from opsuite_platforms.workload_files import WorkloadFiles

__all__ = ["two_hosts"]

Hosts = tuple[SshHost, SshHost]
HTTP = (PortSpec("http"),)


@pytest.fixture
async def platform(two_hosts: Hosts) -> AsyncIterator[HostsPlatform]:
    platform = a_platform(two_hosts)
    await platform.prepare()
    yield platform
    for name in await platform.list_workloads():
        await platform.remove(name)
    await platform.close()


@pytest.fixture
async def strict(two_hosts: Hosts) -> AsyncIterator[HostsPlatform]:
    """Lets no replica pass that nothing is known of, and none that ended once."""
    platform = a_platform(two_hosts, Barrier(steady=timedelta(hours=1), deadline=timedelta(hours=1), max_restarts=0))
    yield platform
    await platform.close()


def a_platform(hosts: Hosts, barrier: Barrier | None = None) -> HostsPlatform:
    return HostsPlatform([host.spec for host in hosts], barrier=barrier or Barrier(steady=timedelta(0)))


def a_workload(*command: str, version: str = "1.0.0", replicas: int = 2) -> WorkloadSpec:
    command = command or ("/bin/sleep", "1000")
    return WorkloadSpec("web", version, command, "/", {}, HTTP, replicas, grace=timedelta(seconds=2))


def shell(script: str, version: str) -> WorkloadSpec:
    return a_workload("/bin/sh", "-c", script, version=version)


def versions_asked(host: SshHost) -> str:
    """The version that a host was asked for last; empty if it knows of none."""
    record = WorkloadFiles(host.data / "workloads").find("web")
    return record.spec.version if record else ""


async def test_replicas_are_spread_evenly_in_the_order_of_hosts(platform: HostsPlatform) -> None:
    await platform.apply(a_workload(replicas=5), epoch=1)

    status = await platform.observe("web")

    assert [replica.name for replica in status.replicas] == [f"web-{index}" for index in range(5)]
    assert [replica.ports["http"] in ONE for replica in status.replicas] == [True, False, True, False, True]
    assert [replica.ports["http"] in TWO for replica in status.replicas] == [False, True, False, True, False]


async def test_a_change_of_size_reaches_the_hosts_that_it_concerns(platform: HostsPlatform) -> None:
    await platform.apply(a_workload(replicas=1), epoch=1)
    (first,) = (await platform.observe("web")).replicas

    await platform.scale("web", 2, expected=1)
    grown = await platform.observe("web")
    await platform.scale("web", 1, expected=2)

    (left,) = (await platform.observe("web")).replicas
    assert [replica.name for replica in grown.replicas] == ["web-0", "web-1"]
    assert (left.name, left.started_at, left.restarts) == (first.name, first.started_at, 0)


async def test_logs_and_restarts_go_to_the_host_of_the_replica(platform: HostsPlatform) -> None:
    await platform.apply(shell("echo $0; exec /bin/sleep 1000", "1.0.0"), epoch=1)

    await lines_when(platform, 1)

    await platform.restart("web", "web-1")

    await lines_when(platform, 2)
    assert [replica.restarts for replica in (await platform.observe("web")).replicas] == [0, 1]
    for stranger in ("web-2", "web-x", "api-0"):
        with pytest.raises(NotFound):
            await platform.logs("web", stranger)


async def test_what_only_the_workload_may_know_is_readable_by_its_owner_alone(
    platform: HostsPlatform, two_hosts: Hosts
) -> None:
    await platform.apply(replace(a_workload(), env={"TOKEN": "secret"}), epoch=1)

    files = [path for host in two_hosts for path in host.data.rglob("*") if path.suffix in (".conf", ".json")]

    assert any("secret" in path.read_text() for path in files)
    assert [path for path in files if path.stat().st_mode & 0o077] == []


async def test_a_host_that_saw_a_later_owner_fences_out_before_the_first_is_touched(
    platform: HostsPlatform, two_hosts: Hosts
) -> None:
    await platform.apply(a_workload(), epoch=5)
    records = WorkloadFiles(two_hosts[1].data / "workloads")
    records.put(replace(records.get("web"), epoch=7))

    with pytest.raises(Conflict) as refusal:
        await platform.apply(a_workload(version="2.0.0"), epoch=6)

    assert refusal.value.reason == "FENCED_OUT"
    assert versions_asked(two_hosts[0]) == "1.0.0"


async def test_a_version_that_fails_on_the_first_host_reaches_no_other(
    platform: HostsPlatform, strict: HostsPlatform, two_hosts: Hosts
) -> None:
    await platform.apply(a_workload(), epoch=1)
    before = (await platform.observe("web")).replicas[1]

    with pytest.raises(Conflict) as refusal:
        await strict.apply(shell("echo 'no database'; exit 3", "2.0.0"), epoch=1)

    after = (await platform.observe("web")).replicas[1]
    assert (refusal.value.reason, refusal.value.metadata) == (
        "FIRST_HOST_FAILED",
        {"host": "one", "replica": "web-0"},
    )
    assert "no database" in refusal.value.message
    assert versions_asked(two_hosts[1]) == "1.0.0"
    assert (after.version, after.started_at, after.phase) == ("1.0.0", before.started_at, ReplicaPhase.RUNNING)


async def test_the_way_back_from_a_version_that_failed_is_open(platform: HostsPlatform, strict: HostsPlatform) -> None:
    await platform.apply(a_workload(), epoch=1)
    with pytest.raises(Conflict):
        await strict.apply(shell("exit 3", "2.0.0"), epoch=1)

    await platform.apply(a_workload(), epoch=2)

    assert (await platform.observe("web")).is_ready


async def test_a_failed_version_can_be_scaled_away(platform: HostsPlatform, strict: HostsPlatform) -> None:
    with pytest.raises(Conflict):
        await strict.apply(shell("exit 3", "2.0.0"), epoch=1)

    await platform.scale("web", 0)

    assert (await platform.observe("web")).replicas == ()


async def test_the_first_host_has_to_answer_before_another_is_touched(
    platform: HostsPlatform, two_hosts: Hosts, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    command = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(tmp_path), "${port}")
    spec = replace(a_workload(*command), readiness=Readiness("http", "/ready"))
    applying = asyncio.create_task(platform.apply(spec, epoch=1))
    while "GET /ready" not in "\n".join(await lines_of(platform, "web-0")):  # noqa: ASYNC110  # logs are read
        await asyncio.sleep(0.02)

    touched_before = versions_asked(two_hosts[1])
    ready.touch()
    await applying

    assert (touched_before, versions_asked(two_hosts[1])) == ("", "1.0.0")


async def test_a_first_host_that_never_answers_fails_when_its_time_is_up(two_hosts: Hosts) -> None:
    platform = a_platform(two_hosts, Barrier(deadline=timedelta(seconds=0.3)))
    await platform.prepare()

    with pytest.raises(Conflict, match="does not answer"):
        await platform.apply(replace(a_workload(), readiness=Readiness("http")), epoch=1)

    assert versions_asked(two_hosts[1]) == ""
    await platform.remove("web")
    await platform.close()


def test_hosts_have_to_differ(two_hosts: Hosts) -> None:
    one, two = (host.spec for host in two_hosts)

    for hosts in ([], [one, replace(two, name="one")], [one, replace(one, name="two")]):
        with pytest.raises(Conflict):
            HostsPlatform(hosts)


async def lines_when(platform: HostsPlatform, count: int) -> None:
    """Returns when the second replica has written so many."""
    while len(await platform.logs("web", "web-1")) < count:  # noqa: ASYNC110  # logs are read
        await asyncio.sleep(0.01)


async def lines_of(platform: HostsPlatform, replica: str) -> list[str]:
    """What a replica wrote; nothing while there is none."""
    try:
        return list(await platform.logs("web", replica))
    except NotFound:
        return []
