"""Rollouts of workloads that a scaler sizes: both are real, and share one supervisord."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import scaler as scalers
from fakes.rollout_stage import REPLICAS, RolloutStory, Stage, a_stage
from fakes.warm_deployer import Nursery, a_nursery
from fakes.web_workload import status_of

from opsuite.scaler.v1 import scaler_service_pb2 as pb
from opsuite.scaler.v1.policy_pb2 import SCALING_MODE_DRY_RUN

SIZED = RolloutStory("sized", {"rolling": {}})
BY_HAND = REPLICAS + 2


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with a_nursery() as nursery:
        yield nursery


@pytest.fixture
async def stage(nursery: Nursery) -> AsyncIterator[Stage]:
    async with a_stage(nursery) as stage:
        yield stage


@pytest.fixture
async def scaler(stage: Stage) -> AsyncIterator[scalers.ScalerProcess]:
    """A scaler beside the deployer, which asks it what it sizes; it has made the workload larger."""
    beside = scalers.ScalerProcess(stage.directory / "scaler", stage.deployer.data_dir)
    await asyncio.to_thread(beside.start)
    try:
        token = str(beside.data_dir / "token")
        await stage.begin_life(DEPLOYER_SCALER_ADDRESS=beside.address, DEPLOYER_SCALER_TOKEN_FILE=token)
        await stage.open(SIZED)
        await enlarge(beside)
        async with stage.deployer_again():
            while stage.replicas("sized").total() != BY_HAND:  # noqa: ASYNC110  # processes are looked at
                await asyncio.sleep(0.05)
        yield beside
    finally:
        await asyncio.to_thread(beside.close)


async def enlarge(scaler: scalers.ScalerProcess) -> None:
    """Give the workload a policy, and by it a size that no pipeline says."""
    async with scaler.client() as client:
        await scalers.create(client, scalers.a_policy("sized", maxReplicas=8))
        request = pb.SetDesiredCapacityRequest(name="scalingPolicies/sized", replicas=BY_HAND)
        request.hold_until.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
        await client.scaler.SetDesiredCapacity(request)


async def roll_out(stage: Stage) -> dict[str, int]:
    """Roll out the next version; how many replicas of which are left once it has ended."""
    version = stage.next_version()
    done = await stage.ended(await stage.deploy("sized", version))
    assert status_of(done) == "SUCCEEDED", done.message
    async with stage.deployer_again():
        while len(left := stage.replicas("sized")) > 1:  # noqa: ASYNC110  # processes are looked at
            await asyncio.sleep(0.05)
    assert set(left) == {version}
    return dict(left)


async def test_a_rollout_keeps_the_size_that_a_scaler_gave(stage: Stage, scaler: scalers.ScalerProcess) -> None:
    assert list((await roll_out(stage)).values()) == [BY_HAND]


async def test_a_rollout_takes_nothing_away_while_nobody_can_tell_who_decides(
    stage: Stage, scaler: scalers.ScalerProcess
) -> None:
    await asyncio.to_thread(scaler.kill)

    assert list((await roll_out(stage)).values()) == [BY_HAND]


async def test_without_a_policy_the_pipeline_decides_again(stage: Stage, scaler: scalers.ScalerProcess) -> None:
    async with scaler.client() as client:
        await client.scaler.DeleteScalingPolicy(pb.DeleteScalingPolicyRequest(name="scalingPolicies/sized"))

    assert list((await roll_out(stage)).values()) == [REPLICAS]


async def test_a_policy_that_is_only_rehearsed_decides_nothing(stage: Stage, scaler: scalers.ScalerProcess) -> None:
    async with scaler.client() as client:
        await client.scaler.SetScalingMode(
            pb.SetScalingModeRequest(name="scalingPolicies/sized", mode=SCALING_MODE_DRY_RUN)
        )

    assert list((await roll_out(stage)).values()) == [REPLICAS]
