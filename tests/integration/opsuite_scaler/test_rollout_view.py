"""What the scaler is told of rollouts, by a server of the deployer's contract on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from fakes.clock import FakeClock

from opsuite.deployer.v1 import workload_service_pb2 as pb
from opsuite.deployer.v1 import workload_service_pb2_grpc as stubs
from opsuite_kernel.errors import Unavailable
from opsuite_rpc.channel import Target
from opsuite_scaler.adapters.rollouts import DeployerRollouts
from opsuite_scaler.domain.policy import TargetKind, TargetRef

SHOP = TargetRef(TargetKind.WORKLOAD, "shop", platform="process")
SECOND = timedelta(seconds=1)


class Deployer(stubs.WorkloadServiceServicer):
    """Tells what it was given, and counts who asks."""

    def __init__(self) -> None:
        self.rolling: set[str] = set()
        self.asked = 0
        self.is_away = False
        self.address = ""

    async def ListWorkloads(self, request: pb.ListWorkloadsRequest, context: Any) -> pb.ListWorkloadsResponse:
        self.asked += 1
        if self.is_away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        names = {"shop", "other", "blue.api"} | self.rolling
        return pb.ListWorkloadsResponse(
            workloads=[
                pb.Workload(name=f"workloads/{name}", rollout_of="deployments/1" if name in self.rolling else "")
                for name in sorted(names)
            ]
        )

    async def GetWorkload(self, request: pb.GetWorkloadRequest, context: Any) -> pb.GetWorkloadResponse:
        raise NotImplementedError

    async def RestartWorkload(self, request: pb.RestartWorkloadRequest, context: Any) -> pb.RestartWorkloadResponse:
        raise NotImplementedError


@pytest.fixture
async def deployer() -> AsyncIterator[Deployer]:
    served = Deployer()
    server = grpc.aio.server()
    stubs.add_WorkloadServiceServicer_to_server(served, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    served.address = f"127.0.0.1:{port}"
    yield served
    await server.stop(0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def rollouts(deployer: Deployer, clock: FakeClock) -> AsyncIterator[DeployerRollouts]:
    view = DeployerRollouts(Target(deployer.address, "secret"), clock)
    yield view
    await view.close()


async def test_a_workload_is_rolled_out_while_the_deployer_says_so(
    deployer: Deployer, rollouts: DeployerRollouts, clock: FakeClock
) -> None:
    assert not await rollouts.is_rolling_out(SHOP)
    deployer.rolling.add("shop")
    clock.advance(2 * SECOND)

    assert await rollouts.is_rolling_out(SHOP)


async def test_one_answer_is_for_all_that_ask_within_a_second(
    deployer: Deployer, rollouts: DeployerRollouts, clock: FakeClock
) -> None:
    for _ in range(3):
        await rollouts.is_rolling_out(SHOP)
    assert deployer.asked == 1

    clock.advance(2 * SECOND)
    await rollouts.is_rolling_out(SHOP)
    assert deployer.asked == 2


async def test_a_namespace_is_part_of_the_name(deployer: Deployer, rollouts: DeployerRollouts) -> None:
    deployer.rolling.add("blue.api")
    blue = TargetRef(TargetKind.KUBERNETES_SCALE, "api", namespace="blue", object_kind="Deployment")
    green = TargetRef(TargetKind.KUBERNETES_SCALE, "api", namespace="green", object_kind="Deployment")

    assert await rollouts.is_rolling_out(blue)
    assert not await rollouts.is_rolling_out(green)


async def test_nobody_is_asked_about_things_that_are_never_rolled_out(
    deployer: Deployer, rollouts: DeployerRollouts
) -> None:
    assert not await rollouts.is_rolling_out(TargetRef(TargetKind.EXTERNAL, "shop", address="x:1"))
    assert deployer.asked == 0


async def test_a_deployer_that_is_away_tells_nothing_until_it_is_back(
    deployer: Deployer, rollouts: DeployerRollouts
) -> None:
    deployer.is_away = True
    with pytest.raises(Unavailable) as refusal:
        await rollouts.is_rolling_out(SHOP)
    assert refusal.value.reason == "DEPLOYER_UNAVAILABLE"
    deployer.is_away = False

    assert not await rollouts.is_rolling_out(SHOP)


async def test_a_token_that_is_not_there_yet_is_no_fault(clock: FakeClock, tmp_path: Any) -> None:
    view = DeployerRollouts(Target("127.0.0.1:1", token_file=tmp_path / "token"), clock)

    with pytest.raises(Unavailable):
        await view.is_rolling_out(SHOP)
    await view.close()
