"""Rollouts on the process platform behind a real Envoy that takes its routes from the real deployer, under load."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from deployer import Client, DeployerProcess, a_deployer, a_pipeline, deploy, ended, free_port, register
from envoy import Edge, ask, ask_often, load, served
from fakes.web_workload import SERVER, a_rollout, rollout_of, status_of, until

from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite.deployer.v1 import rollout_pb2
from opsuite_platforms.traffic.bootstrap import EdgeBootstrap

SOON: dict[str, Any] = {"scaleDownDelay": "0.2s", "abortScaleDownDelay": "0.2s"}


@pytest.fixture(scope="module")
def deployer() -> Iterator[DeployerProcess]:
    """A deployer whose work directory holds a small web server."""
    with a_deployer(DEPLOYER_LEASE="3", DEPLOYER_EDGE_GRACE="7") as deployer:
        deployer.work.mkdir(parents=True, exist_ok=True)
        program = deployer.work / "serve"
        program.write_text(SERVER)
        program.chmod(0o755)
        yield deployer


@pytest.fixture
async def edge(deployer: DeployerProcess) -> AsyncIterator[Edge]:
    """An Envoy that takes its routes from the deployer."""
    folder = Path(tempfile.mkdtemp(prefix="opsuite-"))
    edge = Edge(EdgeBootstrap("edge-1", deployer.socket.replace("unix://", "unix:")), folder)
    await edge.start()
    yield edge
    await edge.kill()
    shutil.rmtree(folder)


def behind_edge(workload: str, port: int, **fields: Any) -> dict[str, Any]:
    """A rollout whose requests come through the edge on that port."""
    return a_rollout(workload, traffic={"edge": {"listenPort": port}, "drain": "0.2s"}, **fields)


async def first_version(client: Client, pipeline: str, port: int) -> None:
    """Roll out the first version, and wait for the edge: while none is connected a rollout does not wait for one."""
    done = await ended(client, (await deploy(client, pipeline, "1.0")).name)
    assert status_of(done) == "SUCCEEDED", done.message
    await served(port)


@pytest.mark.parametrize("strategy", [{"rolling": {}}, {"blueGreen": SOON}], ids=["rolling", "blue_green"])
async def test_a_good_version_takes_over_and_no_request_fails(
    deployer: DeployerProcess, edge: Edge, strategy: dict[str, Any]
) -> None:
    name, port = f"good-{next(iter(strategy)).lower()}", free_port()
    async with deployer.client() as client:
        await register(client, a_pipeline(name, behind_edge(name, port, replicas=3, **strategy)))
        await first_version(client, name, port)
        async with load(port, clients=4) as answers:
            done = await ended(client, (await deploy(client, name, "1.1")).name)
        after = await ask_often(port, 20)

    assert status_of(done) == "SUCCEEDED", done.message
    assert set(answers) <= {"1.0", "1.1"}
    assert set(after) == {"1.1"}


async def test_a_canary_gets_its_share_and_then_everything(deployer: DeployerProcess, edge: Edge) -> None:
    port = free_port()
    steps = [{"setWeight": 30}, {"pause": {}}]
    async with deployer.client() as client:
        await register(client, a_pipeline("share", behind_edge("share", port, canary={"steps": steps, **SOON})))
        await first_version(client, "share", port)
        name = (await deploy(client, "share", "1.1")).name
        waiting = await until(client, name, "PAUSED")
        shared = await ask_often(port, 1_000)
        await client.deployments.PromoteDeployment(pb.PromoteDeploymentRequest(name=name))
        done = await ended(client, name)
        after = await ask_often(port, 20)

    assert [track.weight for track in rollout_of(waiting).tracks] == [70, 30]
    assert 0.2 < shared["1.1"] / 1_000 < 0.4
    assert status_of(done) == "SUCCEEDED", done.message
    assert set(after) == {"1.1"}


async def test_testers_see_the_new_colour_before_everybody_does(deployer: DeployerProcess, edge: Edge) -> None:
    port = free_port()
    traffic = {"edge": {"listenPort": port}, "drain": "0.2s", "matches": [{"header": "x-preview", "value": "yes"}]}
    blue_green = {"autoPromotionEnabled": False, **SOON}
    async with deployer.client() as client:
        await register(client, a_pipeline("colours", a_rollout("colours", traffic=traffic, blueGreen=blue_green)))
        await first_version(client, "colours", port)
        name = (await deploy(client, "colours", "1.1")).name
        await until(client, name, "PAUSED")
        everybody, testers = await ask_often(port, 20), await ask_often(port, 20, **{"x-preview": "yes"})
        await client.deployments.PromoteDeployment(pb.PromoteDeploymentRequest(name=name))
        done = await ended(client, name)
        after = await ask_often(port, 20)

    assert (set(everybody), set(testers)) == ({"1.0"}, {"1.1"})
    assert status_of(done) == "SUCCEEDED", done.message
    assert set(after) == {"1.1"}


async def test_a_canary_that_answers_with_errors_costs_at_most_its_share(deployer: DeployerProcess, edge: Edge) -> None:
    """The edge's own counts judge it; health checks see nothing, since only its requests fail."""
    port = free_port()
    limits = {"window": "20s", "minRequests": 20, "maxErrorPercent": 5.0}
    steps = [{"setWeight": 20}, {"gate": {"name": "errors", "traffic": limits}}, {"setWeight": 80}]
    async with deployer.client() as client:
        step = behind_edge("errors", port, answer="${answer}", health_path="/alive", canary={"steps": steps, **SOON})
        await register(client, a_pipeline("errors", step, variables={"answer": "200"}))
        await first_version(client, "errors", port)
        request = pb.DeployRequest(
            pipeline="pipelines/errors", version="1.1", environment="staging", variables={"answer": "503"}
        )
        async with load(port, clients=4) as answers:
            name = (await client.deployments.Deploy(request)).deployment.name
            broken = await ended(client, name)
        after = await ask_often(port, 20)

    assert status_of(broken) == "ROLLED_BACK", broken.message
    assert "requests failed" in broken.failure.message
    failed = sum(count for answer, count in answers.items() if answer != "1.0")
    assert 0 < failed < 0.3 * sum(answers.values())
    assert set(after) == {"1.0"}


async def test_a_version_that_dies_at_half_of_the_requests_loses_them_to_the_old_one(
    deployer: DeployerProcess, edge: Edge
) -> None:
    port = free_port()
    steps = [{"setWeight": 50}, {"pause": {"duration": "3600s"}}]
    async with deployer.client() as client:
        step = behind_edge("mortal", port, health_path="/alive", canary={"steps": steps, **SOON})
        await register(client, a_pipeline("mortal", step))
        await first_version(client, "mortal", port)
        name = (await deploy(client, "mortal", "1.1")).name
        await until(client, name, "RUNNING", step=2)
        for _ in range(200):  # its replicas die of this request, and of the next one when they are back
            await ask(port, "/die-1.1")
            standing = (await client.deployments.GetDeployment(pb.GetDeploymentRequest(name=name))).deployment
            if status_of(standing) not in {"RUNNING", "PAUSED"}:
                break
        broken = await ended(client, name)
        after = await ask_often(port, 20)

    assert status_of(broken) == "ROLLED_BACK", broken.message
    assert rollout_of(broken).phase == rollout_pb2.ROLLOUT_PHASE_FAILED
    assert set(after) == {"1.0"}


async def test_the_edge_serves_on_while_the_deployer_is_dead_and_the_rollout_ends_right(
    deployer: DeployerProcess, edge: Edge
) -> None:
    port = free_port()
    steps = [{"setWeight": 50}, {"pause": {"duration": "1s"}}]
    async with deployer.client() as client:
        await register(client, a_pipeline("dead", behind_edge("dead", port, canary={"steps": steps, **SOON})))
        await first_version(client, "dead", port)
        name = (await deploy(client, "dead", "1.1")).name
        await until(client, name, "RUNNING", step=2)
    async with load(port, clients=4) as answers:
        deployer.kill()
        await asyncio.to_thread(deployer.start)
        async with deployer.client() as client:
            done = await ended(client, name)

    assert status_of(done) == "SUCCEEDED", done.message
    assert set(answers) <= {"1.0", "1.1"}
