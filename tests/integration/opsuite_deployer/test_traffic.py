"""Routes and workloads seen and changed by hand, through the real services and a real Envoy."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio
from deployer import DeployerProcess, a_deployer, a_pipeline, deploy, ended, free_port, register
from envoy import Edge, ask_often
from fakes.web_workload import SERVER, a_rollout, until
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from opsuite.deployer.v1 import deployment_service_pb2, traffic_service_pb2, workload_service_pb2
from opsuite.deployer.v1.traffic_service_pb2_grpc import TrafficServiceStub
from opsuite.deployer.v1.workload_service_pb2_grpc import WorkloadServiceStub
from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, OpsuiteError, Stale
from opsuite_platforms.traffic.bootstrap import EdgeBootstrap
from opsuite_rpc.channel import Target, connect

PORT = free_port()
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def deployer() -> Iterator[DeployerProcess]:
    """A deployer whose work directory holds a small web server."""
    with a_deployer(DEPLOYER_EDGE_GRACE="7") as deployer:
        deployer.work.mkdir(parents=True, exist_ok=True)
        program = deployer.work / "serve"
        program.write_text(SERVER)
        program.chmod(0o755)
        yield deployer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(deployer: DeployerProcess) -> AsyncIterator[None]:
    """The workload `shop` behind an edge: 1.0 is stable, 1.1 was aborted and stays for a while."""
    folder = Path(tempfile.mkdtemp(prefix="opsuite-"))
    edge = Edge(EdgeBootstrap("edge-1", deployer.socket.replace("unix://", "unix:")), folder)
    await edge.start()
    traffic = {"edge": {"listenPort": PORT}, "drain": "0.1s"}
    async with deployer.client() as client:
        canary = {"steps": [{"setReplicas": 2}, {"setWeight": 10}, {"pause": {}}], "abortScaleDownDelay": "600s"}
        await register(client, a_pipeline("shop", a_rollout("shop", traffic=traffic, canary=canary)))
        await ended(client, (await deploy(client, "shop", "1.0")).name)
        name = (await deploy(client, "shop", "1.1")).name
        await until(client, name, "PAUSED")
        await client.deployments.AbortDeployment(deployment_service_pb2.AbortDeploymentRequest(name=name))
        await ended(client, name)
    yield
    await edge.kill()
    shutil.rmtree(folder)


@asynccontextmanager
async def services(deployer: DeployerProcess) -> AsyncIterator[tuple[Any, Any]]:
    async with connect(Target(deployer.address, deployer.token)) as connection:
        channel: Any = connection.channel
        yield TrafficServiceStub(channel), WorkloadServiceStub(channel)


async def in_force(traffic: Any, *, by_hand: bool | None = None) -> traffic_service_pb2.RouteWeights:
    """The route once every edge has it, made by hand or not; the test's own time limit is the limit."""
    while True:
        answer = await traffic.GetWeights(traffic_service_pb2.GetWeightsRequest(name="workloads/shop"))
        weights: traffic_service_pb2.RouteWeights = answer.weights
        if weights.in_force and weights.edges and by_hand in {None, weights.HasField("expire_time")}:
            return weights
        await asyncio.sleep(0.02)


def a_split(revisions: dict[str, int], **fields: Any) -> traffic_service_pb2.SetWeightsRequest:
    return traffic_service_pb2.SetWeightsRequest(
        name="workloads/shop",
        revisions=[
            traffic_service_pb2.RevisionWeight(revision=name, weight=share) for name, share in revisions.items()
        ],
        **{"ttl": Duration(seconds=60), **fields},
    )


async def test_a_split_by_hand_holds_for_its_time_and_then_what_was_before(
    deployer: DeployerProcess, shop: None
) -> None:
    async with services(deployer) as (traffic, workloads):
        seen = (await workloads.GetWorkload(workload_service_pb2.GetWorkloadRequest(name="workloads/shop"))).workload
        old, new = [revision.name for revision in seen.revisions]
        await traffic.SetWeights(a_split({new: 50, old: 50}, ttl=Duration(seconds=2), reason="a look"))
        split = await in_force(traffic)
        shared = await ask_often(PORT, 100)
        after = await in_force(traffic, by_hand=False)
        back = await ask_often(PORT, 20)

    assert split.HasField("expire_time")
    assert {one.weight for one in split.revisions} == {50}
    assert min(shared["1.0"], shared["1.1"]) > 20
    assert {one.revision: one.weight for one in after.revisions if one.weight} == {old: 100}
    assert set(back) == {"1.0"}


async def test_a_drained_replica_gets_no_requests_until_it_is_put_back(deployer: DeployerProcess, shop: None) -> None:
    async with services(deployer) as (traffic, _):
        first, second = next(one for one in (await in_force(traffic)).revisions if one.weight).endpoints
        drain = traffic_service_pb2.DrainEndpointRequest(name="workloads/shop", endpoint=first)
        await traffic.DrainEndpoint(drain)
        drained = await in_force(traffic)
        with pytest.raises(Conflict, match="last one"):
            await traffic.DrainEndpoint(
                traffic_service_pb2.DrainEndpointRequest(name="workloads/shop", endpoint=second)
            )
        answers = await ask_often(PORT, 20)
        drain.undo = True
        await traffic.DrainEndpoint(drain)
        whole = await in_force(traffic)

    assert list(drained.drained_endpoints) == [first]
    assert set(answers) == {"1.0"}
    assert not whole.drained_endpoints


async def test_a_change_of_a_route_that_is_repeated_is_made_once(deployer: DeployerProcess, shop: None) -> None:
    drain_id, split_id = str(uuid4()), str(uuid4())
    async with services(deployer) as (traffic, _):
        before = await in_force(traffic)
        stable = next(one for one in before.revisions if one.weight)
        drain = a_drain(stable.endpoints[0], request_id=drain_id)
        undo = a_drain(stable.endpoints[0], undo=True)
        split = a_split({stable.revision: 100}, etag=before.etag, request_id=split_id)

        await traffic.SetWeights(split)
        again = (await traffic.SetWeights(split)).weights  # its etag is that of before the first
        await traffic.DrainEndpoint(drain)
        await traffic.DrainEndpoint(undo)
        late = (await traffic.DrainEndpoint(drain)).weights
        with pytest.raises(InvalidInput):
            await traffic.DrainEndpoint(a_drain(stable.endpoints[1], request_id=drain_id))

    assert again.HasField("expire_time")
    assert not late.drained_endpoints


async def test_a_restart_that_is_repeated_restarts_nothing_again(deployer: DeployerProcess, shop: None) -> None:
    restart = workload_service_pb2.RestartWorkloadRequest(name="workloads/shop", request_id=str(uuid4()))
    async with services(deployer) as (_, workloads):
        first = (await workloads.RestartWorkload(restart)).workload
        again = (await workloads.RestartWorkload(restart)).workload

    assert restarts(first) == restarts(again)


def a_drain(endpoint: str, **fields: Any) -> traffic_service_pb2.DrainEndpointRequest:
    return traffic_service_pb2.DrainEndpointRequest(name="workloads/shop", endpoint=endpoint, **fields)


def restarts(workload: workload_service_pb2.Workload) -> list[int]:
    return [one.restarts for one in workload.revisions[0].replica_statuses]


async def test_a_workload_shows_its_revisions_and_can_be_restarted(deployer: DeployerProcess, shop: None) -> None:
    async with services(deployer) as (_, workloads):
        before = (await workloads.GetWorkload(workload_service_pb2.GetWorkloadRequest(name="workloads/shop"))).workload
        listed = (await workloads.ListWorkloads(workload_service_pb2.ListWorkloadsRequest())).workloads
        restart = workload_service_pb2.RestartWorkloadRequest(name="workloads/shop")
        after = (await workloads.RestartWorkload(restart)).workload

    assert [(one.version, one.stable, one.replicas) for one in before.revisions] == [
        ("1.0", True, 2),
        ("1.1", False, 2),
    ]
    assert before.revisions[1].HasField("remove_time")
    assert not before.drift
    assert [one.name for one in listed] == ["workloads/shop"]
    assert restarts(after) == [count + 1 for count in restarts(before)]


async def test_an_edge_is_listed_and_only_one_that_is_gone_is_forgotten(deployer: DeployerProcess, shop: None) -> None:
    async with services(deployer) as (traffic, _):
        await in_force(traffic)
        edges = (await traffic.ListEdges(traffic_service_pb2.ListEdgesRequest())).edges
        with pytest.raises(Conflict, match="connected"):
            await traffic.ForgetEdge(traffic_service_pb2.ForgetEdgeRequest(name="edges/edge-1"))

    assert [(one.name, one.connected, one.up_to_date) for one in edges] == [("edges/edge-1", True, True)]


BAD: dict[str, tuple[Message, type[OpsuiteError], str]] = {
    "no route": (traffic_service_pb2.GetWeightsRequest(name="workloads/none"), NotFound, "ROUTE_NOT_FOUND"),
    "no name": (traffic_service_pb2.GetWeightsRequest(), InvalidInput, "name"),
    "not a name": (traffic_service_pb2.GetWeightsRequest(name="shop"), InvalidInput, "name"),
    "no shares": (a_split({}), InvalidInput, "revisions"),
    "shares that are too few": (a_split({"shop-1": 50}), InvalidInput, "revisions"),
    "a share beyond all": (a_split({"shop-1": 101}), InvalidInput, "revisions[0].weight"),
    "no time": (a_split({"shop-1": 100}, ttl=None), InvalidInput, "ttl"),
    "too long a time": (a_split({"shop-1": 100}, ttl=Duration(seconds=90_000)), InvalidInput, "ttl"),
    "no such revision": (a_split({"shop-1": 100}), NotFound, "REVISION_NOT_FOUND"),
    "another etag": (a_split({"shop-1": 100}, etag='"0"'), Stale, "ETAG_MISMATCH"),
    "no such endpoint": (
        traffic_service_pb2.DrainEndpointRequest(name="workloads/shop", endpoint="127.0.0.1:1"),
        NotFound,
        "ENDPOINT_NOT_FOUND",
    ),
    "not an endpoint": (
        traffic_service_pb2.DrainEndpointRequest(name="workloads/shop", endpoint="there"),
        InvalidInput,
        "endpoint",
    ),
    "no such edge": (traffic_service_pb2.ForgetEdgeRequest(name="edges/none"), NotFound, "EDGE_NOT_FOUND"),
    "not an edge": (traffic_service_pb2.ForgetEdgeRequest(name="edge-1"), InvalidInput, "name"),
    "no such workload": (
        workload_service_pb2.GetWorkloadRequest(name="workloads/none"),
        NotFound,
        "WORKLOAD_NOT_FOUND",
    ),
    "not a workload": (workload_service_pb2.GetWorkloadRequest(name="none"), InvalidInput, "name"),
    "no workload to restart": (
        workload_service_pb2.RestartWorkloadRequest(name="workloads/none"),
        NotFound,
        "WORKLOAD_NOT_FOUND",
    ),
    "not a workload to restart": (workload_service_pb2.RestartWorkloadRequest(name=""), InvalidInput, "name"),
}


@pytest.mark.parametrize("case", list(BAD))
async def test_bad_input_is_told_and_changes_nothing(deployer: DeployerProcess, shop: None, case: str) -> None:
    request, error, told = BAD[case]
    async with services(deployer) as (traffic, workloads):
        before = await in_force(traffic)
        method = type(request).__name__.removesuffix("Request")
        with pytest.raises(error) as refused:
            await getattr(workloads if "Workload" in method else traffic, method)(request)
        after = await in_force(traffic)

    fields = [one.field for one in refused.value.violations] if isinstance(refused.value, InvalidInput) else []
    assert told in [refused.value.reason, *fields]
    assert (after.etag, after.revisions) == (before.etag, before.revisions)


async def test_nobody_changes_a_route_that_a_rollout_has(deployer: DeployerProcess, shop: None) -> None:
    traffic_fields = {"edge": {"listenPort": free_port()}, "drain": "0.1s"}
    async with deployer.client() as client, services(deployer) as (traffic, workloads):
        step = a_rollout("busy", traffic=traffic_fields, canary={"steps": [{"setWeight": 50}, {"pause": {}}]})
        await register(client, a_pipeline("busy", step))
        await ended(client, (await deploy(client, "busy", "1.0")).name)
        name = (await deploy(client, "busy", "1.1")).name
        await until(client, name, "PAUSED")
        busy = (await workloads.GetWorkload(workload_service_pb2.GetWorkloadRequest(name="workloads/busy"))).workload
        request = a_split({busy.revisions[0].name: 100})
        request.name = "workloads/busy"
        with pytest.raises(Conflict, match="is rolling out"):
            await traffic.SetWeights(request)
        with pytest.raises(Conflict, match="is rolling out"):
            await workloads.RestartWorkload(workload_service_pb2.RestartWorkloadRequest(name="workloads/busy"))
        await client.deployments.AbortDeployment(deployment_service_pb2.AbortDeploymentRequest(name=name))
        await ended(client, name)

    assert busy.rollout_of == name


async def test_a_viewer_sees_routes_and_changes_none(deployer: DeployerProcess, shop: None) -> None:
    async with grpc.aio.insecure_channel(deployer.address) as channel:
        stub: Any = TrafficServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetWeights(traffic_service_pb2.GetWeightsRequest(name="workloads/shop"))

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
