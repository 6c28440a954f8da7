"""Workloads under supervisord, deployed by the real deployer and asked over HTTP."""

import asyncio
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from deployer import DeployerProcess, a_deployer, a_pipeline, deploy, ended, free_port, register

from opsuite.deployer.v1 import deployment_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as pb

SERVER = """#!/usr/bin/env python3
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(os.environ.get("ANSWER", "200")))
        self.end_headers()
        self.wfile.write(os.environ["DEPLOYMENT_VERSION"].encode())

    def log_message(self, *words):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def platform() -> Iterator[DeployerProcess]:
    """A deployer whose work directory holds a small web server."""
    with a_deployer(DEPLOYER_LEASE="3") as deployer:
        deployer.work.mkdir(parents=True, exist_ok=True)
        program = deployer.work / "serve"
        program.write_text(SERVER)
        program.chmod(0o755)
        yield deployer


def a_workload(name: str, *before: dict[str, Any], replicas: int = 1, answer: str = "200") -> dict[str, Any]:
    """A stage that runs the server, and a gate that asks every replica for its version."""
    workload = {
        "workload": name,
        "command": ["./serve", "${port}"],
        "env": {"ANSWER": answer},
        "ports": [{"name": "http"}],
        "replicas": replicas,
    }
    check = {
        "name": "version",
        "workload": {"workload": name, "path": "/", "bodyContains": "${version}"},
        "interval": "0.1s",
        "failureThreshold": 50,  # a busy machine takes its time to start a program
        "timeout": "2s",
    }
    steps = [*before, {"name": "run", "workload": workload}]
    return {"name": "run", "steps": steps, "gates": [{"name": "answers", "checks": [check]}]}


def answer_of(port: int) -> str:
    """What the server on a port says now."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        return str(answer.read().decode())


def status_of(deployment: deployment_pb2.Deployment) -> str:
    return deployment_pb2.DeploymentStatus.Name(deployment.status).removeprefix("DEPLOYMENT_STATUS_")


async def test_every_replica_of_a_new_version_is_asked_before_it_counts(platform: DeployerProcess) -> None:
    async with platform.client() as client:
        await register(client, a_pipeline("replicas", stages=[a_workload("replicas", replicas=3)]))
        first = await ended(client, (await deploy(client, "replicas", "1.0")).name)
        second = await ended(client, (await deploy(client, "replicas", "1.1")).name)

    assert [status_of(first), status_of(second)] == ["SUCCEEDED", "SUCCEEDED"]


async def test_a_version_that_answers_badly_goes_and_the_old_one_answers_again(platform: DeployerProcess) -> None:
    async with platform.client() as client:
        stage = a_workload("bad", answer="${answer}")
        stage["steps"][0]["workload"]["ports"] = [{"name": "http", "number": (port := free_port())}]
        await register(client, a_pipeline("bad", stages=[stage], variables={"answer": "200"}))
        await ended(client, (await deploy(client, "bad", "1.0")).name)
        request = pb.DeployRequest(
            pipeline="pipelines/bad", version="1.1", environment="staging", variables={"answer": "503"}
        )
        broken = await ended(client, (await client.deployments.Deploy(request)).deployment.name)

    assert status_of(broken) == "ROLLED_BACK"
    assert broken.failure.gate == "answers"
    assert await asyncio.to_thread(answer_of, port) == "1.0"


async def test_a_deployment_that_changed_hands_does_not_lock_out_the_next_one(platform: DeployerProcess) -> None:
    async with platform.client() as client:
        hold = {"name": "hold", "wait": {"duration": "2s"}}
        await register(client, a_pipeline("hands", stages=[a_workload("hands", hold)]))
        name = (await deploy(client, "hands", "1.0")).name
    for _ in range(2):
        platform.kill()
        await asyncio.to_thread(platform.start)
    async with platform.client() as client:
        taken_over = await ended(client, name)
        await register(client, a_pipeline("hands", stages=[a_workload("hands")]))
        following = await ended(client, (await deploy(client, "hands", "1.1")).name)

    assert status_of(taken_over) == "SUCCEEDED"
    assert status_of(following) == "SUCCEEDED"


async def test_workloads_outlive_the_deployer(platform: DeployerProcess) -> None:
    async with platform.client() as client:
        stage = a_workload("outlives")
        stage["steps"][0]["workload"]["ports"] = [{"name": "http", "number": (port := free_port())}]
        await register(client, a_pipeline("outlives", stages=[stage]))
        await ended(client, (await deploy(client, "outlives", "1.0")).name)
    platform.kill()
    try:
        assert await asyncio.to_thread(answer_of, port) == "1.0"
    finally:
        await asyncio.to_thread(platform.start)


async def test_environments_that_share_a_platform_keep_their_own_workloads(platform: DeployerProcess) -> None:
    async with platform.client() as client:
        stage = a_workload("mine-${environment}")
        pipeline = a_pipeline("apart", stages=[stage], environments=["staging", "production"])
        await register(client, pipeline)
        first = await ended(client, (await deploy(client, "apart", "1.0", "staging")).name)
        second = await ended(client, (await deploy(client, "apart", "2.0", "production")).name)
        workloads = {path.stem for path in (platform.data_dir / "workloads").glob("mine-*")}

    assert [status_of(one) for one in (first, second)] == ["SUCCEEDED", "SUCCEEDED"]
    assert workloads == {"mine-production", "mine-staging"}
