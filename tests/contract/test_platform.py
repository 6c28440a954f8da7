"""What every Platform promises: the one in memory, supervisord here and over SSH, real containers."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from docker import docker, import_tiny_image
from docker import engine_url as docker_engine_url
from fakes.platform import FakePlatform
from kube import control_plane, kubelet, own_cluster
from sshd import SshHost, two_hosts

from opsuite_kernel.errors import Conflict, NotFound, Unavailable
from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.hosts import HostsPlatform
from opsuite_platforms.hosts_barrier import Barrier
from opsuite_platforms.kubernetes import KubernetesPlatform
from opsuite_platforms.port import Platform, PortSpec, Readiness, Replica, ReplicaPhase, WorkloadSpec, WorkloadStatus
from opsuite_platforms.process import ProcessPlatform

__all__ = ["control_plane", "kubelet", "two_hosts"]

IMAGE = "opsuite-test/contract:1"
PROCESS_PORTS, DOCKER_PORTS = range(29_100, 29_200), range(29_200, 29_300)
"""Those of no other tests: a listener here takes one that a replica of theirs is about to use."""


KINDS = [
    "fake",
    "process",
    pytest.param("docker", marks=pytest.mark.needs("docker")),
    "hosts",
    pytest.param("kubernetes", marks=pytest.mark.needs("kubernetes")),
]


@pytest.fixture(params=KINDS)
async def platform(request: pytest.FixtureRequest) -> AsyncIterator[Platform]:
    if request.param == "fake":
        yield FakePlatform()
        return
    if request.param == "docker":
        async for docker_platform in a_docker_platform():
            yield docker_platform
        return
    if request.param == "hosts":
        async for hosts_platform in a_hosts_platform(request.getfixturevalue("two_hosts")):
            yield hosts_platform
        return
    if request.param == "kubernetes":  # real API server and controllers, played pods
        async with own_cluster(*map(request.getfixturevalue, ["control_plane", "kubelet"])) as cluster:
            yield KubernetesPlatform(cluster.api(), cluster.namespace)
        return
    data = Path(tempfile.mkdtemp(prefix="opsuite-"))  # tmp_path can be too long for a Unix socket
    process = ProcessPlatform(data, ports=PROCESS_PORTS)
    await process.start()
    yield process
    await process.stop()
    process.close()
    shutil.rmtree(data)


async def a_docker_platform() -> AsyncIterator[Platform]:
    url = docker_engine_url()
    docker("tag", import_tiny_image(url), IMAGE)
    with tempfile.TemporaryDirectory() as data:
        platform = DockerPlatform(Path(data), url, prefix=f"opsuite-test-{uuid4().hex[:8]}-", ports=DOCKER_PORTS)
        yield platform
        for name in await platform.list_workloads():
            await platform.remove(name)
        await platform.close()


async def a_hosts_platform(hosts: tuple[SshHost, SshHost]) -> AsyncIterator[Platform]:
    platform = HostsPlatform([host.spec for host in hosts], barrier=Barrier(steady=timedelta(0)))
    await platform.prepare()
    yield platform
    for name in await platform.list_workloads():
        await platform.remove(name)
    await platform.close()


def a_workload(version: str = "1.0.0", *, replicas: int = 1, ports: tuple[PortSpec, ...] = ()) -> WorkloadSpec:
    command = ("/bin/sleep", "1000")
    return WorkloadSpec("web", version, command, "/", {}, ports, replicas, IMAGE, grace=timedelta(seconds=2))


async def until(platform: Platform, holds: Callable[[WorkloadStatus], bool]) -> WorkloadStatus:
    """The status when it holds; the test's own time limit is the limit."""
    while not holds(status := await platform.observe("web")):  # noqa: ASYNC110  # a platform is asked, it does not tell
        await asyncio.sleep(0.005)
    return status


def life(replica: Replica) -> tuple[object, ...]:
    """What stays the same as long as nobody touches a replica; its message may tell how long it has been up."""
    return replica.name, replica.version, replica.started_at, replica.restarts, replica.ports


async def a_stranger_on(port: int) -> socket.socket:
    """A listener there, as soon as replicas of tests beside this one have left it."""
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            await asyncio.sleep(0.05)


async def ready(platform: Platform) -> WorkloadStatus:
    return await until(platform, lambda status: status.is_ready)


async def test_an_applied_workload_becomes_ready_in_its_version(platform: Platform) -> None:
    await platform.apply(a_workload(replicas=2), epoch=1)

    status = await ready(platform)

    assert [replica.version for replica in status.replicas] == ["1.0.0", "1.0.0"]
    if not isinstance(platform, KubernetesPlatform):  # which names pods by itself
        assert [replica.name for replica in status.replicas] == ["web-0", "web-1"]
    assert all(replica.started_at is not None and replica.restarts == 0 for replica in status.replicas)


async def test_applying_an_equal_spec_touches_nothing(platform: Platform) -> None:
    await platform.apply(a_workload(ports=(PortSpec("http"),)), epoch=1)
    before = await ready(platform)

    await platform.apply(a_workload(ports=(PortSpec("http"),)), epoch=2)

    after = await ready(platform)
    assert [(r.started_at, r.restarts, r.ports) for r in after.replicas] == [
        (r.started_at, r.restarts, r.ports) for r in before.replicas
    ]


async def test_a_new_version_replaces_every_replica(platform: Platform) -> None:
    await platform.apply(a_workload(replicas=2), epoch=1)
    await ready(platform)

    await platform.apply(a_workload("2.0.0", replicas=2), epoch=1)

    status = await ready(platform)
    assert [replica.version for replica in status.replicas] == ["2.0.0", "2.0.0"]
    assert status.version == "2.0.0"


async def test_an_earlier_owner_is_fenced_out_and_changes_nothing(platform: Platform) -> None:
    await platform.apply(a_workload("2.0.0"), epoch=7)

    with pytest.raises(Conflict) as refusal:
        await platform.apply(a_workload("1.0.0"), epoch=6)

    assert refusal.value.reason == "FENCED_OUT"
    assert (await platform.observe("web")).version == "2.0.0"


async def test_scaling_leaves_neighbours_untouched(platform: Platform) -> None:
    await platform.apply(a_workload(replicas=1), epoch=1)
    (first,) = (await ready(platform)).replicas

    await platform.scale("web", 3, expected=1)
    grown = await ready(platform)
    await platform.scale("web", 1)

    shrunk = await ready(platform)
    assert len(grown.replicas) == 3
    assert life(first) in map(life, grown.replicas)
    (left,) = shrunk.replicas
    assert life(left) in map(life, grown.replicas)
    if not isinstance(platform, KubernetesPlatform):  # which chooses by itself
        assert life(left) == life(first)


async def test_scaling_from_another_size_than_the_present_one_is_refused(platform: Platform) -> None:
    await platform.apply(a_workload(replicas=1), epoch=1)

    with pytest.raises(Conflict):
        await platform.scale("web", 3, expected=2)

    assert (await platform.observe("web")).desired_replicas == 1


async def test_an_earlier_owner_cannot_scale_and_who_is_none_can(platform: Platform) -> None:
    await platform.apply(a_workload(replicas=1), epoch=7)

    with pytest.raises(Conflict) as refusal:
        await platform.scale("web", 3, epoch=6)

    assert refusal.value.reason == "FENCED_OUT"
    assert (await platform.observe("web")).desired_replicas == 1
    for replicas, epoch in ((2, 7), (3, 8), (1, None)):
        await platform.scale("web", replicas, epoch=epoch)
        assert (await platform.observe("web")).desired_replicas == replicas


async def test_every_replica_has_ports_of_its_own(platform: Platform) -> None:
    await platform.apply(a_workload(replicas=2, ports=(PortSpec("http"), PortSpec("admin"))), epoch=1)

    status = await ready(platform)

    assert len({(replica.host, number) for replica in status.replicas for number in replica.ports.values()}) == 4


@pytest.mark.parametrize("change", ["the same again", "a new version", "another size"])
async def test_a_replica_that_is_down_leaves_its_port_to_whoever_took_it(platform: Platform, change: str) -> None:
    if isinstance(platform, FakePlatform | KubernetesPlatform):
        pytest.skip("its replicas share no addresses with others")
    failing = replace(a_workload(ports=(PortSpec("http"),)), command=("/nonexistent/program",))
    await platform.apply(failing, epoch=1)
    (down,) = (await until(platform, lambda status: status.replicas[0].phase is ReplicaPhase.BACKOFF)).replicas

    with await a_stranger_on(down.ports["http"]):
        if change == "another size":
            await platform.scale("web", 2)
        else:
            await platform.apply(
                failing if change == "the same again" else a_workload("2.0.0", ports=failing.ports), epoch=1
            )

        numbers = [replica.ports["http"] for replica in (await platform.observe("web")).replicas]
    assert len(numbers) == len(set(numbers)) == (2 if change == "another size" else 1)
    assert down.ports["http"] not in numbers


async def test_a_fixed_port_cannot_be_shared_by_replicas(platform: Platform) -> None:
    if isinstance(platform, KubernetesPlatform):
        pytest.skip("every pod has an address of its own")
    with pytest.raises(Conflict):
        await platform.apply(a_workload(replicas=2, ports=(PortSpec("http", 20_500),)), epoch=1)

    with pytest.raises(NotFound):
        await platform.observe("web")


async def test_restarting_one_replica_leaves_its_neighbour_alone(platform: Platform) -> None:
    await platform.apply(a_workload(replicas=2), epoch=1)
    left, restarted = (await ready(platform)).replicas

    await platform.restart("web", restarted.name)

    after = await until(platform, lambda status: status.is_ready and life(restarted) not in map(life, status.replicas))
    assert life(left) in map(life, after.replicas)
    if not isinstance(platform, KubernetesPlatform):  # where another pod takes its place
        assert [replica.restarts for replica in after.replicas] == [0, 1]


async def test_a_removed_workload_is_gone_and_can_be_removed_again(platform: Platform) -> None:
    await platform.apply(a_workload(), epoch=1)
    await platform.apply(replace(a_workload(), name="api"), epoch=1)

    await platform.remove("web")
    await platform.remove("web")

    assert await platform.list_workloads() == ["api"]
    with pytest.raises(NotFound):
        await platform.observe("web")


async def test_revisions_of_a_workload_run_side_by_side_and_are_listed(platform: Platform) -> None:
    old = replace(a_workload("1.0.0"), name="web-a1", part_of="web")
    old = replace(old, ports=(PortSpec("http"),), readiness=Readiness("http", "/"))
    new = replace(a_workload("2.0.0"), name="web-b2", part_of="web")

    for spec in (old, new, replace(a_workload(), name="api")):
        await platform.apply(spec, epoch=1)

    assert await platform.list_workloads(part_of="web") == ["web-a1", "web-b2"]
    assert await platform.list_workloads(part_of="api") == []
    assert (await platform.observe("web-a1")).version == "1.0.0"


async def test_what_does_not_exist_is_not_found(platform: Platform) -> None:
    await platform.apply(a_workload(), epoch=1)

    for call in (
        platform.scale("nothing", 2),
        platform.restart("nothing"),
        platform.restart("web", "web-9"),
        platform.logs("web", "web-9"),
    ):
        with pytest.raises(NotFound):
            await call


async def test_a_platform_that_runs_passes_its_check(platform: Platform) -> None:
    await platform.check()


async def test_a_platform_that_does_not_run_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="opsuite up"):
        await ProcessPlatform(tmp_path).check()


async def test_a_version_that_cannot_start_never_counts_as_ready(platform: Platform) -> None:
    if isinstance(platform, FakePlatform):
        platform.phases["bad"] = ReplicaPhase.BACKOFF
    await platform.apply(replace(a_workload("bad"), command=("/nonexistent/program",)), epoch=1)

    status = await until(platform, lambda status: status.replicas[0].phase is ReplicaPhase.BACKOFF)

    assert not status.is_ready
