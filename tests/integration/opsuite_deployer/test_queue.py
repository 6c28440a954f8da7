"""Who may start, and when: every concurrency policy, the places in the queue, and the limit over all environments."""

import asyncio
from collections import defaultdict

import pytest
from deployer import Client, DeployerProcess, deploy, ended, register
from fakes.calls import cancel, get, plan, status_of
from fakes.event_log import log_of
from fakes.held_steps import HeldSteps
from fakes.pipelines import a_pipeline, a_stage, a_wait, true

from opsuite.deployer.v1 import deployment_pb2
from opsuite_kernel.errors import Conflict

S = deployment_pb2.DeploymentStatus
HOLDING = {S.Value(f"DEPLOYMENT_STATUS_{name}") for name in ("STARTING", "RUNNING", "PAUSED", "VERIFYING")}
CREATED = deployment_pb2.DEPLOYMENT_EVENT_KIND_CREATED
STARTING = deployment_pb2.DEPLOYMENT_EVENT_KIND_STARTING


async def statuses(client: Client, names: list[str]) -> list[str]:
    return [status_of(await get(client, name)) for name in names]


async def positions(client: Client, names: list[str]) -> list[int]:
    return [(await get(client, name)).queue_position for name in names]


async def some(client: Client, name: str, number: int) -> list[str]:
    return [(await deploy(client, name, str(version))).name for version in range(1, number + 1)]


async def test_queue_lets_one_after_the_other_in_and_shows_the_places(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        await register(client, a_pipeline("fifo", a_stage("work", held.step("fifo"))))
        names = await some(client, "fifo", 4)
        await held.started("fifo")
        assert await positions(client, names) == [0, 1, 2, 3]

        await cancel(client, names[1])
        assert await positions(client, names[2:]) == [1, 2]

        held.end("fifo")
        for name in names:
            await ended(client, name)
        assert await statuses(client, names) == ["SUCCEEDED", "CANCELLED", "SUCCEEDED", "SUCCEEDED"]
        assert await held.started("fifo", times=3)
    started = [
        event.deployment for event in log_of(deployer.data_dir) if event.kind == STARTING and event.deployment in names
    ]
    assert started == [names[0], *names[2:]]


async def test_replace_lets_the_newest_go_next(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        policy = "CONCURRENCY_POLICY_REPLACE"
        await register(client, a_pipeline("replace", a_stage("work", held.step("replace")), concurrency=policy))
        names = await some(client, "replace", 4)
        assert (await statuses(client, names))[1:] == ["SUPERSEDED", "SUPERSEDED", "QUEUED"]
        assert await positions(client, names) == [0, 0, 0, 1]
        assert names[3] in (await get(client, names[2])).message

        held.end("replace")
        for name in names:
            await ended(client, name)
        assert await statuses(client, names) == ["SUCCEEDED", "SUPERSEDED", "SUPERSEDED", "SUCCEEDED"]


async def test_cancel_running_cancels_and_waits_for_it(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        policy = "CONCURRENCY_POLICY_CANCEL_RUNNING"
        held = HeldSteps(deployer.work)
        await register(client, a_pipeline("cancelling", a_stage("work", held.step("cancelling")), concurrency=policy))
        names = await some(client, "cancelling", 1)
        await held.started("cancelling")
        names += [(await deploy(client, "cancelling", version)).name for version in ("2", "3")]

        await ended(client, names[0])
        held.end("cancelling")
        for name in names:
            await ended(client, name)
        assert (await statuses(client, names))[::2] == ["CANCELLED", "SUCCEEDED"]
    log = [event for event in log_of(deployer.data_dir) if event.deployment in names]
    ends = {event.deployment: at for at, event in enumerate(log) if event.status == S.DEPLOYMENT_STATUS_CANCELLED}
    starts = {event.deployment: at for at, event in enumerate(log) if event.kind == STARTING}
    assert all(starts[name] > ends[names[0]] for name in names[1:] if name in starts), "it did not wait for its end"


@pytest.mark.parametrize("policy", ["QUEUE", "REPLACE", "CANCEL_RUNNING"])
async def test_a_plan_foresees_what_the_policy_does(deployer: DeployerProcess, policy: str) -> None:
    async with deployer.client() as client:
        name, stage = f"foreseen-{policy.lower().replace('_', '-')}", a_stage("work", a_wait())
        await register(client, a_pipeline(name, stage))
        names = await some(client, name, 3)
        await register(client, a_pipeline(name, stage, concurrency=f"CONCURRENCY_POLICY_{policy}"))
        foreseen = await plan(client, name)
        assert await statuses(client, names[1:]) == ["QUEUED", "QUEUED"], "a plan has changed something"

        newcomer = await deploy(client, name)
        superseded = [other for other in names if status_of(await get(client, other)) == "SUPERSEDED"]
        assert list(foreseen.supersedes) == superseded == ([] if policy == "QUEUE" else names[1:])
        assert foreseen.cancels == (names[0] if policy == "CANCEL_RUNNING" else "")
        if policy == "CANCEL_RUNNING":
            assert status_of(await ended(client, foreseen.cancels)) == "CANCELLED"
        else:
            assert foreseen.queue_position == newcomer.queue_position
        assert not foreseen.HasField("refusal")
        for other in [*names, newcomer.name]:
            if status_of(await get(client, other)) in {"QUEUED", "STARTING", "RUNNING"}:
                await cancel(client, other)


async def test_reject_refuses_while_it_is_occupied(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        policies = {"production": "CONCURRENCY_POLICY_QUEUE"}
        await register(
            client,
            a_pipeline(
                "rejecting",
                a_stage("work", held.step("rejecting")),
                environments=["staging", "production"],
                concurrency="CONCURRENCY_POLICY_REJECT",
                environmentConcurrency=policies,
            ),
        )
        assert not (await plan(client, "rejecting")).HasField("refusal")
        first = await deploy(client, "rejecting")
        foreseen = await plan(client, "rejecting")
        with pytest.raises(Conflict) as refused:
            await deploy(client, "rejecting")
        assert (refused.value.reason, refused.value.metadata["holder"]) == ("ENVIRONMENT_OCCUPIED", first.name)
        told = (foreseen.refusal.reason, foreseen.refusal.message, foreseen.refusal.holder, foreseen.queue_position)
        assert told == (refused.value.reason, refused.value.message, first.name, 0)
        assert not (await plan(client, "rejecting", "production")).HasField("refusal")

        others = [await deploy(client, "rejecting", environment="production") for _ in range(2)]
        assert [other.queue_position for other in others] == [0, 1]
        held.end("rejecting")
        await ended(client, first.name)
        assert (await ended(client, (await deploy(client, "rejecting")).name)).status == S.DEPLOYMENT_STATUS_SUCCEEDED


async def test_a_hundred_queued_drain_in_order_with_never_more_than_five_at_work(deployer: DeployerProcess) -> None:
    environments = ["a", "b", "c", "d", "e"]
    async with deployer.client() as client:
        await register(client, a_pipeline("full", a_stage("work", a_wait()), environments=environments))
        for number in range(4):
            await register(client, a_pipeline(f"many-{number}", a_stage("work", true()), environments=environments))
        blockers = [(await deploy(client, "full", environment=environment)).name for environment in environments]
        names = []
        for version in range(5):
            for number in range(4):
                for environment in environments:
                    one = await deploy(client, f"many-{number}", str(version), environment)
                    assert (one.status, one.queue_position) == (S.DEPLOYMENT_STATUS_QUEUED, version + 1)
                    names.append(one.name)

        await asyncio.gather(*(cancel(client, name) for name in blockers))
        drained = await asyncio.gather(*(ended(client, name) for name in names))
        assert {one.status for one in drained} == {S.DEPLOYMENT_STATUS_SUCCEEDED}
    log = log_of(deployer.data_dir)
    assert most_at_work(log) == 5
    for place, arrived in in_order(log, CREATED, names).items():
        assert in_order(log, STARTING, names)[place] == arrived


def most_at_work(log: list[deployment_pb2.DeploymentEvent]) -> int:
    """The largest number of deployments that held a slot at one position of the log."""
    holding: set[str] = set()
    most = 0
    for event in log:
        holding = holding | {event.deployment} if event.status in HOLDING else holding - {event.deployment}
        most = max(most, len(holding))
    return most


def in_order(log: list[deployment_pb2.DeploymentEvent], kind: int, names: list[str]) -> dict[str, list[str]]:
    """Deployments by their place, in the order of their events of that kind."""
    found = defaultdict(list)
    wanted = set(names)
    for event in log:
        if event.kind == kind and event.deployment in wanted:
            found[event.deployment.rpartition("/deployments/")[0]].append(event.deployment)
    return found
