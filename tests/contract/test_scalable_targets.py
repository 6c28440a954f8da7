"""What every kind of target promises: workloads on each platform, Kubernetes, Docker Swarm, another server."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc.aio
import pytest
from docker import docker, engine_url, import_tiny_image
from kube import control_plane, kubelet
from kube_scaler import Scaled, scaled_cluster
from server_processes import free_port
from swarm import a_service, swarm_url

from opsuite.scaler.v1 import decision_pb2
from opsuite.scaler.v1 import external_target_service_pb2 as pb
from opsuite.scaler.v1 import external_target_service_pb2_grpc as stubs
from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, Unavailable
from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.kubernetes import KubernetesPlatform
from opsuite_platforms.kubernetes_api import KubernetesApi
from opsuite_platforms.port import Platform, WorkloadSpec
from opsuite_platforms.process import ProcessPlatform
from opsuite_platforms.usage import UsageSampler
from opsuite_platforms.usage_docker import DockerUsage
from opsuite_platforms.usage_process import ProcessUsage
from opsuite_scaler.adapters.targets.docker_services import DockerServices
from opsuite_scaler.adapters.targets.external import ExternalTargets
from opsuite_scaler.adapters.targets.kubernetes_scale import KubernetesScales, KubernetesWorkloads
from opsuite_scaler.adapters.targets.processes import ProcessWorkloads
from opsuite_scaler.adapters.targets.registry import ConfiguredTargets
from opsuite_scaler.adapters.targets.workloads import PlatformWorkloads, WorkloadTargets
from opsuite_scaler.application.ports import Scale
from opsuite_scaler.domain.policy import TargetKind, TargetRef
from opsuite_scaler.domain.snapshot import MemberPhase

__all__ = ["control_plane", "kubelet", "swarm_url"]

REQUESTS = {"cpu": 250.0, "memory": 64.0 * 2**20}


@dataclass
class Rig:
    """A target of size 2, and what else a test needs of it."""

    targets: ConfiguredTargets
    ref: TargetRef
    resize: Callable[[int], Awaitable[None]]
    """Another hand changes the size."""
    unreachable: ConfiguredTargets
    """The same kind, where nobody answers."""
    requests: dict[str, float]

    async def until(self, holds: Callable[[Scale], bool]) -> Scale:
        """The scale when it holds; the test's own time limit is the limit."""
        while not holds(scale := await self.targets.get_scale(self.ref)):  # noqa: ASYNC110  # a target is asked
            await asyncio.sleep(0.02)
        return scale

    async def steady(self, size: int) -> Scale:
        """The scale when there are so many members, and all of them serve."""
        return await self.until(lambda scale: scale.spec_replicas == size and serving(scale) == size)


def serving(scale: Scale) -> int:
    """How many members serve; -1 while there are others too."""
    ready = [each.phase is MemberPhase.RUNNING and each.ready is True for each in scale.members]
    return len(ready) if all(ready) and scale.status_replicas == len(ready) else -1


def a_workload(image: str = "") -> WorkloadSpec:
    spec = WorkloadSpec("web", "1.0.0", ("/bin/sleep", "1000"), "/", {}, (), 2, image, grace=timedelta(seconds=1))
    return replace(spec, cpus=0.25, memory_bytes=64 * 2**20)


def of_workloads(kind: str, platform: Platform, sampler: UsageSampler) -> ConfiguredTargets:
    workloads = WorkloadTargets({kind: PlatformWorkloads(platform, sampler.requests)})
    return ConfiguredTargets({TargetKind.WORKLOAD: workloads})


def by_one_look(platform: ProcessPlatform, data: Path) -> ConfiguredTargets:
    workloads = WorkloadTargets({"process": ProcessWorkloads(platform, data)})
    return ConfiguredTargets({TargetKind.WORKLOAD: workloads})


def one_by_one(platform: ProcessPlatform, data: Path) -> ConfiguredTargets:
    return of_workloads("process", platform, ProcessUsage(data))


@asynccontextmanager
async def a_process_workload(
    making: Callable[[ProcessPlatform, Path], ConfiguredTargets],
) -> AsyncIterator[Rig]:
    data = Path(tempfile.mkdtemp(prefix="opsuite-"))  # tmp_path can be too long for a Unix socket
    platform = ProcessPlatform(data)
    await platform.start()
    await platform.apply(a_workload(), epoch=1)
    away = ProcessPlatform(data / "away")
    await asyncio.to_thread(shutil.copytree, data / "workloads", data / "away/workloads")
    targets, unreachable = making(platform, data), making(away, data / "away")
    ref = TargetRef(TargetKind.WORKLOAD, "web")
    yield Rig(targets, ref, lambda size: platform.scale("web", size), unreachable, REQUESTS)
    await platform.stop()
    platform.close()
    away.close()
    shutil.rmtree(data)


@asynccontextmanager
async def a_docker_workload(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    url = engine_url()
    with tempfile.TemporaryDirectory() as data:
        platform = DockerPlatform(Path(data), url, prefix=f"opsuite-test-{uuid4().hex[:8]}-")
        await platform.apply(a_workload(import_tiny_image(url)), epoch=1)
        away = DockerPlatform(Path(data), "unix:///nonexistent/docker.sock")
        usage = DockerUsage(Path(data), url)
        targets, unreachable = (of_workloads("docker", each, usage) for each in (platform, away))
        ref = TargetRef(TargetKind.WORKLOAD, "web", platform="docker")
        yield Rig(targets, ref, lambda size: platform.scale("web", size), unreachable, REQUESTS)
        await platform.remove("web")
        await platform.close()
        await away.close()


@asynccontextmanager
async def a_kubernetes_workload(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with scaled_cluster(*map(request.getfixturevalue, ["control_plane", "kubelet"])) as scaled:
        async for rig in workloads_in(scaled):
            yield rig


async def workloads_in(scaled: Scaled) -> AsyncIterator[Rig]:
    platform = KubernetesPlatform(scaled.cluster.api(), scaled.namespace)
    await platform.apply(a_workload("web"), epoch=1)

    def targets(api: KubernetesApi) -> ConfiguredTargets:
        workloads = KubernetesWorkloads(KubernetesScales(api, scaled.namespace))
        return ConfiguredTargets({TargetKind.WORKLOAD: WorkloadTargets({"kubernetes": workloads})})

    requests = {**REQUESTS, "cpu/main": 250.0, "memory/main": 64.0 * 2**20}
    ref = TargetRef(TargetKind.WORKLOAD, "web", platform="kubernetes")
    nowhere = targets(an_absent_cluster(scaled))
    yield Rig(targets(scaled.api), ref, lambda size: platform.scale("web", size), nowhere, requests)


@asynccontextmanager
async def a_kubernetes_scale(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with scaled_cluster(*map(request.getfixturevalue, ["control_plane", "kubelet"])) as scaled:
        async for rig in deployments_in(scaled):
            yield rig


async def deployments_in(scaled: Scaled) -> AsyncIterator[Rig]:
    await scaled.a_deployment("web", 2)

    def targets(api: KubernetesApi) -> ConfiguredTargets:
        return ConfiguredTargets({TargetKind.KUBERNETES_SCALE: KubernetesScales(api, scaled.namespace)})

    requests = {**REQUESTS, "cpu/app": 250.0, "memory/app": 64.0 * 2**20}
    ref = TargetRef(TargetKind.KUBERNETES_SCALE, "web", api_version="apps/v1", object_kind="Deployment")
    nowhere = targets(an_absent_cluster(scaled))
    yield Rig(targets(scaled.api), ref, lambda size: scaled.resize("web", size), nowhere, requests)


def an_absent_cluster(scaled: Scaled) -> KubernetesApi:
    """An API server that nobody runs."""
    return scaled.cluster.api(url=f"https://127.0.0.1:{free_port()}", patience=timedelta(0))


@asynccontextmanager
async def a_docker_service(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    url, name = request.getfixturevalue("swarm_url"), f"web-{uuid4().hex[:6]}"
    a_service(url, name, 2)
    services, nowhere = DockerServices(url), DockerServices("unix:///nonexistent/docker.sock")
    targets, unreachable = (ConfiguredTargets({TargetKind.DOCKER_SERVICE: each}) for each in (services, nowhere))

    async def resize(size: int) -> None:
        await asyncio.to_thread(docker, "service", "scale", "--detach", f"{name}={size}", url=url)

    ref = TargetRef(TargetKind.DOCKER_SERVICE, name)
    yield Rig(targets, ref, resize, unreachable, {"cpu": 250.0, "memory": 16.0 * 2**20})
    docker("service", "rm", name, url=url)
    await services.close()
    await nowhere.close()


class ShardServer(stubs.ExternalTargetServiceServicer):
    """Somebody else's server, which counts shards."""

    def __init__(self) -> None:
        self.size, self.version = 2, 1

    def resize(self, size: int) -> None:
        self.size, self.version = size, self.version + 1

    async def GetSize(self, request: pb.GetSizeRequest, context: Any) -> pb.GetSizeResponse:
        await self._find(request.name, context)
        phase = decision_pb2.MEMBER_PHASE_RUNNING
        requests = {"cpu": 250.0}
        members = [
            decision_pb2.Member(name=f"shard-{number}", phase=phase, ready=True, requests=requests)
            for number in range(self.size)
        ]
        return pb.GetSizeResponse(spec_replicas=self.size, members=members, version=str(self.version))

    async def SetSize(self, request: pb.SetSizeRequest, context: Any) -> pb.SetSizeResponse:
        await self._find(request.name, context)
        if request.expected_replicas != self.size:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"there are {self.size}")
        if request.expected_version not in {"", str(self.version)}:
            await context.abort(grpc.StatusCode.ABORTED, "it has changed")
        self.resize(request.replicas)
        return pb.SetSizeResponse(version=str(self.version))

    async def _find(self, name: str, context: Any) -> None:
        if name != "shards":
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such thing")


@asynccontextmanager
async def an_external_target(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    shards, server = ShardServer(), grpc.aio.server()
    stubs.add_ExternalTargetServiceServicer_to_server(shards, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    external = ExternalTargets()
    targets = ConfiguredTargets({TargetKind.EXTERNAL: external})
    ref = TargetRef(TargetKind.EXTERNAL, "shards", address=f"127.0.0.1:{port}")

    class Unreachable(ExternalTargets):
        async def get_scale(self, _: TargetRef) -> Scale:
            return await super().get_scale(replace(ref, address=f"127.0.0.1:{free_port()}"))

    async def resize(size: int) -> None:
        shards.resize(size)

    nowhere = Unreachable()
    yield Rig(targets, ref, resize, ConfiguredTargets({TargetKind.EXTERNAL: nowhere}), {"cpu": 250.0})
    await nowhere.close()
    await external.close()
    await server.stop(0)


Making = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Rig]]
RIGS: dict[str, Making] = {
    "process": lambda _: a_process_workload(by_one_look),
    "process through its platform": lambda _: a_process_workload(one_by_one),
    "docker": a_docker_workload,
    "kubernetes": a_kubernetes_workload,
    "kubernetes scale": a_kubernetes_scale,
    "docker service": a_docker_service,
    "external": an_external_target,
}


def marked(name: str) -> Any:
    """With the component that it needs."""
    component = name.partition(" ")[0]
    return pytest.param(name, marks=pytest.mark.needs(component)) if component in {"docker", "kubernetes"} else name


@pytest.fixture(params=map(marked, RIGS))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with RIGS[request.param](request) as rig:
        yield rig


async def test_size_and_members_are_told_with_what_each_requested(rig: Rig) -> None:
    scale = await rig.steady(2)

    assert len({member.name for member in scale.members}) == 2
    assert [dict(member.requests) for member in scale.members] == [rig.requests, rig.requests]
    if rig.ref.kind is not TargetKind.EXTERNAL:  # whose server does not say
        assert all(member.started_at and member.ready_changed_at for member in scale.members)


async def test_a_size_comes_true_and_those_that_stay_are_left_alone(rig: Rig) -> None:
    before = await rig.steady(2)

    await rig.targets.set_scale(rig.ref, 3, expected=before)
    grown = await rig.steady(3)
    await rig.targets.set_scale(rig.ref, 1, expected=grown)
    shrunk = await rig.until(lambda scale: scale.spec_replicas == 1 and serving(scale) == 1)

    assert {member.name for member in before.members} <= {member.name for member in grown.members}
    assert {member.name for member in shrunk.members} <= {member.name for member in grown.members}


async def test_a_target_can_go_to_zero_and_come_back(rig: Rig) -> None:
    await rig.targets.set_scale(rig.ref, 0, expected=await rig.steady(2))
    empty = await rig.until(lambda scale: scale.spec_replicas == 0 and not scale.members)
    await rig.targets.set_scale(rig.ref, 1, expected=empty)

    assert (await rig.steady(1)).spec_replicas == 1


async def test_a_size_that_somebody_else_has_changed_is_a_conflict_and_stays(rig: Rig) -> None:
    seen = await rig.steady(2)
    await rig.resize(4)

    for expected in (seen, Scale(2, 2)):  # with the version that was seen, or by the size alone
        with pytest.raises(Conflict) as refusal:
            await rig.targets.set_scale(rig.ref, 3, expected=expected)
        assert refusal.value.reason == "SIZE_CHANGED"

    assert (await rig.targets.get_scale(rig.ref)).spec_replicas == 4


async def test_of_two_that_decide_at_the_same_time_one_is_refused(rig: Rig) -> None:
    seen = await rig.steady(2)

    asked = [rig.targets.set_scale(rig.ref, size, expected=seen) for size in (3, 4)]
    told = await asyncio.gather(*asked, return_exceptions=True)

    (refusal,) = (each for each in told if each is not None)
    assert isinstance(refusal, Conflict)
    assert (await rig.targets.get_scale(rig.ref)).spec_replicas == (3 if told[0] is None else 4)


async def test_what_does_not_exist_is_not_found(rig: Rig) -> None:
    nothing = replace(rig.ref, name="nothing")

    with pytest.raises(NotFound):
        await rig.targets.get_scale(nothing)
    with pytest.raises(NotFound):
        await rig.targets.set_scale(nothing, 3, expected=Scale(2, 2, version="1"))


async def test_a_target_that_cannot_be_reached_is_unavailable(rig: Rig) -> None:
    with pytest.raises(Unavailable):
        await rig.unreachable.get_scale(rig.ref)


async def test_a_kind_or_platform_that_the_server_lacks_is_told_at_the_target() -> None:
    targets = ConfiguredTargets({TargetKind.WORKLOAD: WorkloadTargets({})})

    for ref in (TargetRef(TargetKind.EXTERNAL, "web"), TargetRef(TargetKind.WORKLOAD, "web", platform="docker")):
        with pytest.raises(InvalidInput) as refusal:
            await targets.get_scale(ref)
        assert [violation.field for violation in refusal.value.violations] == ["target"]
