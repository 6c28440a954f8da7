"""Rollouts on the process platform by the real deployer, without a router: replicas are moved and watched."""

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from deployer import DeployerProcess, a_deployer, a_pipeline, deploy, ended, events_of, register
from fakes.web_workload import SERVER, a_rollout, rollout_of, status_of, until

from opsuite.deployer.v1 import deployment_pb2, rollout_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite_kernel.errors import Conflict

QUICK: dict[str, Any] = {"scaleDownDelay": "0s", "abortScaleDownDelay": "0.1s"}


@pytest.fixture(scope="module")
def platform() -> Iterator[DeployerProcess]:
    """A deployer whose work directory holds a small web server."""
    with a_deployer(DEPLOYER_LEASE="3") as deployer:
        deployer.work.mkdir(parents=True, exist_ok=True)
        program = deployer.work / "serve"
        program.write_text(SERVER)
        program.chmod(0o755)
        yield deployer


def reasons(events: Sequence[deployment_pb2.DeploymentEvent]) -> list[str]:
    kind = deployment_pb2.DEPLOYMENT_EVENT_KIND_ROLLOUT
    return [event.reason for event in events if event.kind == kind]


async def test_a_first_version_starts_without_a_strategy_and_a_second_one_rolls(platform: DeployerProcess) -> None:
    async with platform.client() as client:
        await register(client, a_pipeline("rolling", a_rollout("rolling", replicas=3, rolling={})))
        first = (await deploy(client, "rolling", "1.0")).name
        told = reasons(await events_of(client, first))
        second = await ended(client, (await deploy(client, "rolling", "1.1")).name)

    assert "STRATEGY_SKIPPED" in told
    assert told[-1] == "SUCCEEDED"
    assert status_of(second) == "SUCCEEDED", second.message
    track = rollout_of(second).tracks[-1]
    assert (track.version, track.replicas) == ("1.1", 3)


async def test_a_plan_of_a_rollout_knows_what_is_stable_now(platform: DeployerProcess) -> None:
    async with platform.client() as client:
        steps = [{"setWeight": 50}, {"pause": {"duration": "60s"}}]
        await register(client, a_pipeline("planned", a_rollout("planned", canary={"steps": steps})))

        async def action(version: str) -> str:
            request = pb.PlanDeploymentRequest(pipeline="pipelines/planned", version=version, environment="staging")
            return (await client.deployments.PlanDeployment(request)).steps[0].action

        first = await action("1.0")
        await ended(client, (await deploy(client, "planned", "1.0")).name)
        same, next_one = await action("1.0"), await action("1.1")

    assert first.endswith("(steps and gates are skipped: nothing to compare with: it is the first version)")
    assert same.endswith("(steps and gates are skipped: nothing to roll out: it is the stable version)")
    assert "promoted after 60" in next_one
    assert "back within" in next_one


async def test_a_version_that_answers_badly_never_takes_over(platform: DeployerProcess) -> None:
    async with platform.client() as client:
        step = a_rollout("bad", answer="${answer}", rolling={}, healthyDeadline="8s")
        await register(client, a_pipeline("bad", step, variables={"answer": "200"}))
        good = await ended(client, (await deploy(client, "bad", "1.0")).name)
        assert status_of(good) == "SUCCEEDED", good.message
        request = pb.DeployRequest(
            pipeline="pipelines/bad", version="1.1", environment="staging", variables={"answer": "503"}
        )
        name = (await client.deployments.Deploy(request)).deployment.name
        told = reasons(await events_of(client, name))
        broken = await ended(client, name)
        back = await ended(client, broken.rolled_back_by)

    assert "ABORTING" in told
    assert "PROMOTED" not in told
    assert status_of(broken) == "ROLLED_BACK", broken.message
    assert "was not healthy within 8 s" in broken.failure.message
    assert rollout_of(back).tracks[0].revision == rollout_of(good).tracks[-1].revision
    assert rollout_of(back).tracks[0].available_replicas == 2


async def test_a_canary_waits_for_a_person_and_goes_on_when_promoted(platform: DeployerProcess) -> None:
    steps = [{"setWeight": 50}, {"pause": {}}, {"setWeight": 75}, {"pause": {"duration": "3600s"}}]
    async with platform.client() as client:
        await register(client, a_pipeline("canary", a_rollout("canary", canary={"steps": steps, **QUICK})))
        await ended(client, (await deploy(client, "canary", "1.0")).name)
        name = (await deploy(client, "canary", "1.1")).name

        waiting = await until(client, name, "PAUSED")
        await client.deployments.ResumeDeployment(pb.ResumeDeploymentRequest(name=name))
        await until(client, name, "RUNNING", step=4)
        promotion = pb.PromoteDeploymentRequest(
            request_id=str(uuid.uuid4()), name=name, scope=pb.PROMOTION_SCOPE_FULL, reason="looks good"
        )
        for _ in range(2):  # a repeated request is granted once
            await client.deployments.PromoteDeployment(promotion)
        done = await ended(client, name)

    assert waiting.pause_reason == deployment_pb2.PAUSE_REASON_STEP
    assert [track.replicas for track in rollout_of(waiting).tracks] == [1, 1]
    assert status_of(done) == "SUCCEEDED", done.message
    assert rollout_of(done).phase == rollout_pb2.ROLLOUT_PHASE_SUCCEEDED


async def test_who_aborts_first_wins_over_who_promotes(platform: DeployerProcess) -> None:
    async with platform.client() as client:
        canary = {"steps": [{"setWeight": 50}, {"pause": {}}], **QUICK}
        await register(client, a_pipeline("race", a_rollout("race", canary=canary)))
        await ended(client, (await deploy(client, "race", "1.0")).name)
        name = (await deploy(client, "race", "1.1")).name
        await until(client, name, "PAUSED")

        promotion = pb.PromoteDeploymentRequest(name=name, scope=pb.PROMOTION_SCOPE_FULL)
        abort = pb.AbortDeploymentRequest(request_id=str(uuid.uuid4()), name=name, reason="looks odd")
        for _ in range(2):
            await client.deployments.AbortDeployment(abort)
        with pytest.raises(Conflict):
            await client.deployments.PromoteDeployment(promotion)
        aborted = await ended(client, name)

    assert status_of(aborted) == "ABORTED"
    assert "looks odd" in aborted.message
    assert not aborted.rolled_back_by
    assert rollout_of(aborted).tracks[0].available_replicas == 2


async def test_a_workload_belongs_to_one_pipeline(platform: DeployerProcess) -> None:
    async with platform.client() as client:
        await register(client, a_pipeline("owner", a_rollout("shared", rolling={})))
        await register(client, a_pipeline("other", a_rollout("shared", rolling={})))
        await ended(client, (await deploy(client, "owner", "1.0")).name)

        refused = await ended(client, (await deploy(client, "other", "1.0")).name)

    assert status_of(refused) == "FAILED"
    assert "belongs to pipeline owner in staging" in refused.failure.message


async def test_a_deployer_that_dies_in_the_middle_goes_on_where_it_was(platform: DeployerProcess) -> None:
    steps = [{"setWeight": 50}, {"pause": {"duration": "1s"}}]
    async with platform.client() as client:
        await register(client, a_pipeline("dying", a_rollout("dying", canary={"steps": steps, **QUICK})))
        await ended(client, (await deploy(client, "dying", "1.0")).name)
        name = (await deploy(client, "dying", "1.1")).name
        await until(client, name, "RUNNING")

    platform.kill()
    await asyncio.to_thread(platform.start)
    async with platform.client() as client:
        done = await ended(client, name)

    assert status_of(done) == "SUCCEEDED", done.message
    assert rollout_of(done).tracks[-1].available_replicas == 2


async def test_a_rollout_that_a_person_pauses_shows_it_and_goes_on(platform: DeployerProcess) -> None:
    steps = [{"setWeight": 50}, {"pause": {"duration": "2s"}}]
    async with platform.client() as client:
        await register(client, a_pipeline("held", a_rollout("held", canary={"steps": steps, **QUICK})))
        await ended(client, (await deploy(client, "held", "1.0")).name)
        name = (await deploy(client, "held", "1.1")).name
        await until(client, name, "RUNNING", step=2)
        await client.deployments.PauseDeployment(pb.PauseDeploymentRequest(name=name))
        held = await until(client, name, "PAUSED", phase=rollout_pb2.ROLLOUT_PHASE_PAUSED)
        await client.deployments.ResumeDeployment(pb.ResumeDeploymentRequest(name=name))
        done = await ended(client, name)

    assert held.pause_reason == deployment_pb2.PAUSE_REASON_MANUAL
    assert status_of(done) == "SUCCEEDED", done.message
