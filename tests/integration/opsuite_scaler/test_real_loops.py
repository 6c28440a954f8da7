"""A real scaler over real platforms and real metrics: CPU of processes and containers, Kubernetes, Prometheus, KEDA."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import grpc.aio
import pytest
import yaml
from aiohttp import web
from authority import an_authority, served_with
from docker import docker, engine_url, import_tiny_image
from keda_server import CLASSES, KedaStub, a_keda_server, scaled_object
from kube import control_plane, kubelet, service_account
from kube_faults import faulty_server
from kube_scaler import ACCOUNT, ROLE, Scaled, scaled
from metric_servers import prometheus_server
from scaler import Client, ScalerProcess, a_place, a_policy, a_workload, create, push, status_of
from server_processes import ServerProcess

from opsuite.scaler.v1 import decision_pb2 as messages
from opsuite.scaler.v1 import scaler_service_pb2 as pb
from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.kubernetes_api import DEPLOYMENTS
from opsuite_platforms.port import Platform, WorkloadSpec
from opsuite_platforms.process import ProcessPlatform

__all__ = ["control_plane", "kubelet", "prometheus_server", "scaled"]

AGAIN_SECONDS = 0.05
FAST = {"tick": "0.5s", "cpuInitialization": "0s", "initialReadinessDelay": "0s"}


async def until(client: Client, name: str, holds: Callable[[messages.ScalingStatus], bool]) -> messages.ScalingStatus:
    """The status when it holds; the test's own time limit is the limit."""
    while not holds(status := await status_of(client, name)):  # noqa: ASYNC110  # a scaler is asked
        await asyncio.sleep(AGAIN_SECONDS)
    return status


MADE = "verdict = SCALE AND outcome = ACCEPTED AND cause = POLICY"


async def sizes(client: Client, name: str, which: str = MADE) -> list[tuple[int, int]]:
    """The changes that the scaler made, or others, oldest first."""
    request = pb.ListScalingActivitiesRequest(parent=f"scalingPolicies/{name}", filter=which)
    listed = (await client.scaler.ListScalingActivities(request)).activities
    return [(one.decision.current_replicas, one.decision.desired_replicas) for one in reversed(listed)]


@asynccontextmanager
async def scaling(place: Path, **settings: str) -> AsyncIterator[tuple[ScalerProcess, Client]]:
    """A scaler with these settings."""
    scaler = ScalerProcess(place / "scaler", place / "suite", settings)
    try:
        await asyncio.to_thread(scaler.start)
        async with scaler.client() as client:
            yield scaler, client
    finally:
        await asyncio.to_thread(scaler.close)


# --- CPU --------------------------------------------------------------------------------------------------------------


@dataclass
class Workers:
    """A workload that works for as long as it is not told to rest."""

    name: str
    platform: Platform
    rest: Callable[[], Awaitable[None]]


@asynccontextmanager
async def processes(place: Path, _: str) -> AsyncIterator[Workers]:
    platform, idle = ProcessPlatform(place / "suite"), place / "idle"
    await platform.start()
    script = f"while :; do [ -e {idle} ] && sleep 0.2; done"
    await platform.apply(a_busy_workload("workers", script), epoch=1)

    async def rest() -> None:
        await asyncio.to_thread(idle.touch)

    yield Workers("workers", platform, rest)
    platform.close()


@asynccontextmanager
async def containers(place: Path, url: str) -> AsyncIterator[Workers]:
    name = f"workers-{uuid4().hex[:6]}"
    platform = DockerPlatform(place / "suite" / "docker", url)
    script = "while :; do [ -e /tmp-idle ] && sleep 0.2; done"
    await platform.apply(a_busy_workload(name, script, import_tiny_image(url)), epoch=1)

    async def rest() -> None:
        for replica in (await platform.observe(name)).replicas:
            await asyncio.to_thread(docker, "exec", f"opsuite-{replica.name}", "touch", "/tmp-idle", url=url)

    yield Workers(name, platform, rest)
    await platform.remove(name)
    await platform.close()


def a_busy_workload(name: str, script: str, image: str = "") -> WorkloadSpec:
    """Each replica is promised a twentieth of a processor, which a container also gets at most."""
    command = ("/bin/sh", "-c", script)
    return WorkloadSpec(name, "1", command, "/", {}, (), 1, image, cpus=0.05, grace=timedelta(seconds=1))


@pytest.mark.parametrize("kind", ["process", pytest.param("docker", marks=pytest.mark.needs("docker"))])
async def test_replicas_that_work_hard_become_more_and_idle_ones_fewer(kind: str) -> None:
    url = engine_url() if kind == "docker" else "unix:///nonexistent.sock"
    making = containers if kind == "docker" else processes
    with a_place() as place:
        async with making(place, url) as workers, scaling(place, SCALER_DOCKER_URL=url) as (_, client):
            cpu = {"name": "cpu", "targetCpu": {"targetPercent": 30}}
            target = {"name": workers.name, "platform": kind}
            policy = a_policy(workers.name, target=target, metrics=[cpu], maxReplicas=3, timing=FAST)
            await create(client, policy)
            await until(client, workers.name, lambda status: status.spec_replicas == 3)

            await workers.rest()
            await until(client, workers.name, lambda status: status.spec_replicas == 1)

            told = await sizes(client, workers.name)
            assert (await workers.platform.observe(workers.name)).desired_replicas == 1
    assert told[0][0] == 1
    assert told[-1][1] == 1
    assert max(size for _, size in told) == 3


# --- Prometheus -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def exposed(port: int) -> AsyncIterator[Callable[[int], None]]:
    """A queue whose length Prometheus scrapes, and how it is set."""
    lengths = [0]

    async def tell(_: web.Request) -> web.Response:
        return web.Response(text=f"waiting_jobs {lengths[0]}\n")

    application = web.Application()
    application.router.add_get("/metrics", tell)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield lambda length: lengths.__setitem__(0, length)
    await runner.cleanup()


async def test_while_prometheus_is_away_nothing_shrinks(prometheus_server: tuple[ServerProcess, int]) -> None:
    prometheus, scraped = prometheus_server
    with a_place() as place:
        file = place / "sources.yaml"
        url = f"http://127.0.0.1:{prometheus.port}"
        file.write_text(yaml.safe_dump({"sources": {"main": {"kind": "prometheus", "url": url, "timeout": 5}}}))
        platform = ProcessPlatform(place / "suite")
        await platform.start()
        await platform.apply(a_workload("shop"), epoch=1)
        metric = {"name": "queue", "queueLength": {"maxItems": 10, "source": "main", "query": "waiting_jobs"}}
        async with exposed(scraped) as wait, scaling(place, SCALER_SOURCES_FILE=str(file)) as (_, client):
            wait(35)
            await create(client, a_policy("shop", metrics=[metric]))
            await until(client, "shop", lambda status: status.spec_replicas == 4)

            wait(5)  # which nobody can know while it is away
            prometheus.kill()
            away = await until(client, "shop", lambda status: failures(status) >= 4)
            assert away.spec_replicas == 4
            assert "does not answer" in away.readings["queue"].message

            prometheus.start()
            await until(client, "shop", lambda status: status.spec_replicas == 1)
            told = await sizes(client, "shop")
        platform.close()
    assert told[-1] == (4, 1)
    assert all(before < after for before, after in told[:-1])


def failures(status: messages.ScalingStatus) -> int:
    """Looks in a row that found no value, as far as one activity tells them."""
    is_failing = status.readings["queue"].kind == messages.SAMPLE_KIND_ERROR
    return status.last_activity.evaluations if is_failing else 0


# --- Kubernetes -------------------------------------------------------------------------------------------------------


async def test_a_deployment_follows_its_load_past_a_409_and_a_foreign_hand(scaled: Scaled) -> None:
    await scaled.a_deployment("web", 1)
    token = await service_account(scaled.admin, scaled.namespace, without_names(), f"{ACCOUNT}-2")
    with a_place() as place:
        async with faulty_server(scaled.cluster.control_plane) as server:
            kubeconfig = place / "kubeconfig.json"
            kubeconfig.write_text(json.dumps(scaled.cluster.control_plane.kubeconfig(token, url=server.url)))
            kubernetes = {"SCALER_KUBECONFIG": str(kubeconfig), "SCALER_KUBERNETES_NAMESPACE": scaled.namespace}
            async with scaling(place, **kubernetes) as (_, client):
                target = {"kind": "TARGET_KIND_KUBERNETES_SCALE", "name": "web"}
                await push(client, 20)
                await create(client, a_policy("web", target=target))
                await until(client, "web", lambda status: status.spec_replicas == 2)

                server.holds = "PUT"
                await push(client, 40)
                await server.held.wait()  # it has decided on 4, and somebody is faster
                await scaled.resize("web", 5)
                await push(client, 50)
                server.release.set()
                await until(client, "web", lambda status: status.spec_replicas == 5)

                await push(client, 10)
                await until(client, "web", lambda status: status.spec_replicas == 1)
                made = await sizes(client, "web")
                failed = await sizes(client, "web", "outcome = FAILED")
                foreign = await sizes(client, "web", "cause = FOREIGN")
    deployment = await scaled.admin.get(DEPLOYMENTS, scaled.namespace, "web")
    assert deployment["spec"]["replicas"] == 1
    assert (made, failed, foreign) == ([(1, 2), (5, 1)], [(2, 4)], [(2, 5)])


def without_names() -> str:
    """The Role that we ship, for another account beside the first."""
    return ROLE.read_text().replace(ACCOUNT, f"{ACCOUNT}-2")


# --- KEDA -------------------------------------------------------------------------------------------------------------


async def test_a_keda_cluster_takes_a_policy_for_a_trigger_and_hears_when_it_wakes() -> None:
    with a_place() as place:
        platform = ProcessPlatform(place / "suite")
        await platform.start()
        await platform.apply(a_workload("shop"), epoch=1)
        async with scaling(place) as (scaler, client), grpc.aio.insecure_channel(scaler.address) as channel:
            keda = KedaStub(channel)
            bearer = (("authorization", f"Bearer {scaler.token}"),)
            await push(client, 0)
            await create(client, a_policy("shop", minReplicas=0))
            queue = scaled_object(policy="shop", metric="queue")
            await until(client, "shop", lambda status: status.readings["queue"].kind == messages.SAMPLE_KIND_VALUE)

            (spec,) = (await keda.GetMetricSpec(queue, metadata=bearer)).metricSpecs
            assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == ("queue", 10, 10.0)
            stream = keda.StreamIsActive(queue, metadata=bearer)
            assert (await stream.read()).result is False

            await push(client, 35)
            while not (await stream.read()).result:  # a heartbeat in between
                pass
            ask = CLASSES["GetMetricsRequest"](scaledObjectRef=queue, metricName="queue")
            (value,) = (await keda.GetMetrics(ask, metadata=bearer)).metricValues
            assert (value.metricValue, value.metricValueFloat) == (35, 35.0)

            await until(client, "shop", lambda status: status.spec_replicas == 4)
            size = CLASSES["GetMetricsRequest"](scaledObjectRef=scaled_object(policy="shop"))
            (value,) = (await keda.GetMetrics(size, metadata=bearer)).metricValues
            assert (value.metricName, value.metricValue) == ("replicas", 4)

            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await keda.IsActive(queue)
            assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
            stream.cancel()
        platform.close()


async def test_an_external_scaler_sizes_a_workload_and_its_failure_shrinks_nothing() -> None:
    with a_place() as place:
        platform = ProcessPlatform(place / "suite")
        await platform.start()
        await platform.apply(a_workload("shop"), epoch=1)
        async with a_keda_server() as server, scaling(place) as (_, client):
            server.values = [{"metricName": "queue", "metricValue": 20}]
            asked = {"address": f"127.0.0.1:{server.port}", "metadata": {"queueName": "jobs"}}
            metric = {"name": "queue", "custom": {"target": 5, "externalScaler": asked}}
            await create(client, a_policy("shop", metrics=[metric]))
            await until(client, "shop", lambda status: status.spec_replicas == 4)

            server.values, server.refuses = [{"metricName": "queue", "metricValue": 1}], {"GetMetricSpec"}
            away = await until(client, "shop", lambda status: failures(status) >= 3)
            assert away.spec_replicas == 4

            server.refuses = set()
            await until(client, "shop", lambda status: status.spec_replicas == 1)
            told = await sizes(client, "shop")
        platform.close()
    assert told == [(1, 4), (4, 1)]


async def test_an_external_scaler_that_pushes_over_tls_does_not_wait_for_the_tick(tmp_path: Path) -> None:
    authority = an_authority(tmp_path / "ca")
    theirs, ours = authority.issue("server"), authority.issue("scaler")
    shown = {
        "SCALER_PEER_CA_FILE": str(ours.ca),
        "SCALER_PEER_CERT_FILE": str(ours.certificate),
        "SCALER_PEER_KEY_FILE": str(ours.key),
    }
    with a_place() as place:
        platform = ProcessPlatform(place / "suite")
        await platform.start()
        await platform.apply(a_workload("shop"), epoch=1)
        async with (
            a_keda_server(served_with(theirs, must_show_certificate=True)) as server,
            scaling(place, **shown) as (_, client),
        ):
            server.values = [{"metricName": "queue", "metricValue": 1}]
            asked = {"address": f"127.0.0.1:{server.port}", "tls": True}
            metric = {"name": "queue", "custom": {"target": 5, "externalScaler": asked}}
            await create(client, a_policy("shop", metrics=[metric], timing={"tick": "3600s"}))
            await until(client, "shop", lambda status: status.readings["queue"].total == 1)

            server.values = [{"metricName": "queue", "metricValue": 20}]
            server.pushes.put_nowait(True)
            await until(client, "shop", lambda status: status.spec_replicas == 4)
        platform.close()
