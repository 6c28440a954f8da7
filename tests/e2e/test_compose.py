"""The suite as docker-compose.yml brings it up: over TLS with a token, on PostgreSQL, through a kill and a restart."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import grpc.aio
import pytest
from components import missing, program
from docker import docker, engine_url
from ports import free_port

from opsuite.deployer.v1 import deployment_pb2, deployment_service_pb2, pipeline_pb2, pipeline_service_pb2
from opsuite.deployer.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from opsuite.deployer.v1.pipeline_service_pb2_grpc import PipelineServiceStub
from opsuite.healer.v1 import incident_service_pb2
from opsuite.healer.v1.incident_service_pb2_grpc import IncidentServiceStub
from opsuite.scaler.v1 import policy_pb2, scaler_service_pb2
from opsuite.scaler.v1.scaler_service_pb2_grpc import ScalerServiceStub
from opsuite_kernel.errors import Unauthenticated
from opsuite_rpc.channel import Tls, connect
from opsuite_rpc.watching import watch

pytestmark = [pytest.mark.needs("docker"), pytest.mark.timeout(900)]  # the first test builds every image

TOP = Path(__file__).parents[2]
FILES = ("docker-compose.yml", "deploy/compose/debian.override.yml")
HEALTHY_SECONDS = 120
SERVICES = ("deployer", "scaler", "healer", "gateway")


@dataclass(frozen=True)
class Suite:
    """A running project of compose."""

    project: str
    environment: dict[str, str]
    address: str
    scaler: str
    healer: str
    gateway: str
    ca: Path

    def compose(self, *arguments: str) -> str:
        files = [part for file in FILES for part in ("--file", str(TOP / file))]
        command = ["docker-compose", "--project-name", self.project, "--project-directory", str(TOP), *files]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=self.environment, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    def record(self, service: str) -> Any:
        """What the engine knows about the container of a service."""
        return json.loads(docker("inspect", f"{self.project}_{service}_1"))[0]

    def wait_until_healthy(self, service: str) -> None:
        deadline = time.monotonic() + HEALTHY_SECONDS
        while (state := self.record(service)["State"])["Health"]["Status"] != "healthy":
            assert state["Running"], self.compose("logs", "--tail=50", service)
            assert time.monotonic() < deadline, self.compose("logs", "--tail=50")
            time.sleep(0.2)

    def token(self) -> str:
        return self.compose("exec", "-T", "deployer", "cat", "/etc/opsuite/admin.token").strip()

    @asynccontextmanager
    async def channel(self, token: str | None, address: str = "") -> AsyncIterator[grpc.aio.Channel]:
        async with connect(address or self.address, token=token, tls=Tls(ca=self.ca)) as connection:
            yield connection.channel


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    program("docker-compose", "apt-get install docker-compose")
    ports = [free_port() for _ in range(7)]
    suite = Suite(
        project=f"opsuitetest{uuid4().hex[:8]}",
        environment={
            **os.environ,
            "DOCKER_HOST": engine_url(),
            "BASE_IMAGE": base_image(),
            "OPSUITE_DEPLOYER_PORT": str(ports[0]),
            "OPSUITE_DEPLOYER_SIDE_PORT": str(ports[1]),
            "OPSUITE_SCALER_PORT": str(ports[2]),
            "OPSUITE_SCALER_SIDE_PORT": str(ports[3]),
            "OPSUITE_HEALER_PORT": str(ports[4]),
            "OPSUITE_HEALER_SIDE_PORT": str(ports[5]),
            "OPSUITE_GATEWAY_PORT": str(ports[6]),
        },
        address=f"127.0.0.1:{ports[0]}",
        scaler=f"127.0.0.1:{ports[2]}",
        healer=f"127.0.0.1:{ports[4]}",
        gateway=f"https://127.0.0.1:{ports[6]}",
        ca=tmp_path_factory.mktemp("compose") / "ca.pem",
    )
    try:
        suite.compose("up", "--build", "--detach")
        for service in SERVICES:
            suite.wait_until_healthy(service)
        suite.ca.write_text(suite.compose("exec", "-T", "deployer", "cat", "/etc/opsuite/ca.pem"))
        yield suite
    finally:
        suite.compose("down", "--volumes", "--timeout", "2")


def base_image() -> str:
    if shutil.which("debootstrap") is None or os.getuid() != 0:
        missing("debootstrap", "as root: apt-get install debootstrap")
    done = subprocess.run([TOP / "scripts/base_image.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


async def deploy_and_watch(channel: grpc.aio.Channel, pipeline: str, version: str) -> deployment_pb2.Deployment:
    """Deploy, follow the events to the last one, and return what became of it."""
    stub = DeploymentServiceStub(channel)
    request = deployment_service_pb2.DeployRequest(pipeline=pipeline, version=version, environment="staging")
    name = (await stub.Deploy(request)).deployment.name
    async with aclosing(watch(stub.WatchDeployment, deployment_service_pb2.WatchDeploymentRequest(name=name))) as seen:
        async for _ in seen:
            pass
    return await deployment(channel, name)


async def deployment(channel: grpc.aio.Channel, name: str) -> deployment_pb2.Deployment:
    request = deployment_service_pb2.GetDeploymentRequest(name=name)
    return (await DeploymentServiceStub(channel).GetDeployment(request)).deployment


async def a_pipeline(channel: grpc.aio.Channel) -> str:
    """Registered: one step, which prints the version of the Python inside the container."""
    step = pipeline_pb2.Step(name="print", command=pipeline_pb2.CommandStep(command="python3", args=["--version"]))
    pipeline = pipeline_pb2.Pipeline(
        name=f"pipelines/tiny-{uuid4().hex[:8]}",
        environments=["staging"],
        stages=[pipeline_pb2.Stage(name="only", steps=[step])],
    )
    request = pipeline_service_pb2.RegisterPipelineRequest(pipeline=pipeline)
    return (await PipelineServiceStub(channel).RegisterPipeline(request)).pipeline.name


async def test_a_deployment_succeeds_and_outlives_a_kill_of_the_deployer(suite: Suite) -> None:
    async with suite.channel(suite.token()) as channel:
        pipeline = await a_pipeline(channel)
        first = await deploy_and_watch(channel, pipeline, "1.0.0")
    assert first.status == deployment_pb2.DEPLOYMENT_STATUS_SUCCEEDED, first

    docker("kill", "--signal", "KILL", f"{suite.project}_deployer_1")
    suite.compose("up", "--detach", "--no-build", "deployer")
    suite.wait_until_healthy("deployer")

    async with suite.channel(suite.token()) as channel:
        assert await deployment(channel, first.name) == first
        second = await deploy_and_watch(channel, pipeline, "1.1.0")
    assert second.status == deployment_pb2.DEPLOYMENT_STATUS_SUCCEEDED, second


async def test_the_scaler_keeps_a_policy_through_a_kill(suite: Suite) -> None:
    name = f"scalingPolicies/tiny-{uuid4().hex[:8]}"
    load = policy_pb2.Metric(name="load", queue_length=policy_pb2.QueueLength(max_items=5, source="push", query="load"))
    target = policy_pb2.ScaleTargetRef(name="tiny")
    policy = policy_pb2.ScalingPolicy(name=name, target=target, metrics=[load], max_replicas=3)
    async with suite.channel(suite.token(), suite.scaler) as channel:
        request = scaler_service_pb2.CreateScalingPolicyRequest(policy=policy)
        created = (await ScalerServiceStub(channel).CreateScalingPolicy(request)).policy

    docker("kill", "--signal", "KILL", f"{suite.project}_scaler_1")
    suite.compose("up", "--detach", "--no-build", "scaler")
    suite.wait_until_healthy("scaler")

    async with suite.channel(suite.token(), suite.scaler) as channel:
        found = await ScalerServiceStub(channel).GetScalingPolicy(scaler_service_pb2.GetScalingPolicyRequest(name=name))
    assert found.policy == created


async def test_the_healer_keeps_an_incident_through_a_kill(suite: Suite) -> None:
    trouble = incident_service_pb2.TriggerIncidentRequest(issue="WET", summary="The cellar is wet", key=uuid4().hex)
    async with suite.channel(suite.token(), suite.healer) as channel:
        opened = (await IncidentServiceStub(channel).TriggerIncident(trouble)).incident

    docker("kill", "--signal", "KILL", f"{suite.project}_healer_1")
    suite.compose("up", "--detach", "--no-build", "healer")
    suite.wait_until_healthy("healer")

    async with suite.channel(suite.token(), suite.healer) as channel:
        request = incident_service_pb2.GetIncidentRequest(name=opened.name)
        found = (await IncidentServiceStub(channel).GetIncident(request)).incident
    assert (found.name, found.open_time) == (opened.name, opened.open_time)


async def test_the_gateway_reaches_every_service_with_the_callers_token(suite: Suite) -> None:
    trusted = ssl.create_default_context(cafile=str(suite.ca))
    headers = {"Authorization": f"Bearer {suite.token()}"}
    async with aiohttp.ClientSession(suite.gateway, connector=aiohttp.TCPConnector(ssl=trusted)) as http:
        async with http.get("/health") as answer:
            assert (await answer.json())["services"] == dict.fromkeys(("deployer", "scaler", "healer"), "SERVING")
        for path in ("/v1/pipelines", "/v1/scalingPolicies", "/v1/incidents"):
            async with http.get(path, headers=headers) as answer:
                assert answer.status == 200, (path, await answer.text())
            async with http.get(path) as answer:
                assert answer.status == 401, path


@pytest.mark.parametrize("token", [None, "a-guess"])
async def test_nobody_comes_in_without_the_token(suite: Suite, token: str | None) -> None:
    async with suite.channel(token) as channel:
        with pytest.raises(Unauthenticated):
            await PipelineServiceStub(channel).ListPipelines(pipeline_service_pb2.ListPipelinesRequest())


@pytest.mark.parametrize("service", SERVICES)
def test_it_runs_without_privilege_on_a_read_only_file_system(suite: Suite, service: str) -> None:
    record = suite.record(service)

    assert record["Config"]["User"] == "65534:65534"
    assert (record["HostConfig"]["ReadonlyRootfs"], record["HostConfig"]["CapDrop"]) == (True, ["ALL"])
    bindings = [binding for ports in record["NetworkSettings"]["Ports"].values() for binding in ports or []]
    assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}


def test_no_secret_stands_in_an_environment_or_a_command_line(suite: Suite) -> None:
    secrets = suite.compose(
        "exec", "-T", "deployer", "cat", "/etc/opsuite/admin.token", "/etc/opsuite/pgpass"
    ).split()  # the second is *:*:*:*:password
    for service in ("init", "postgres", *SERVICES):
        shown = json.dumps(suite.record(service)["Config"])
        assert not [secret for secret in secrets if secret.rpartition(":")[2] in shown]
