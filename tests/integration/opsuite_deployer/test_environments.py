"""Environments: what they show, who keeps them shut, in which order a version gets through them, who goes first."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from deployer import Client, DeployerProcess, a_deployer, deploy, ended, register
from fakes.calls import cancel, get, retry, roll_back, status_of
from fakes.held_steps import HeldSteps
from fakes.pipelines import a_pipeline, a_script, a_stage, a_wait, false
from google.protobuf.duration_pb2 import Duration

from opsuite.deployer.v1 import deployment_pb2, history_service_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as d
from opsuite.deployer.v1 import environment_service_pb2 as pb
from opsuite_kernel.errors import Conflict, Denied

OTTO, VERA = "operator-token-of-the-tests", "viewer-token-of-the-tests"
BOTH = ["staging", "production"]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A policy file that knows an operator and a viewer of staging besides the local token."""
    path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    path.write_text(f"""
principals:
  - name: otto
    token_sha256: {hashlib.sha256(OTTO.encode()).hexdigest()}
    roles: {{operator: ["*"]}}
  - name: vera
    token_sha256: {hashlib.sha256(VERA.encode()).hexdigest()}
    roles: {{viewer: [staging]}}
""")
    return str(path)


@pytest.fixture(scope="module")
def deployer(policy: str) -> Iterator[DeployerProcess]:
    """A deployer that knows two people: `local`, who may do everything, and the operator `otto`."""
    with a_deployer(DEPLOYER_POLICY_FILE=policy) as deployer:
        yield deployer


@asynccontextmanager
async def both(deployer: DeployerProcess) -> AsyncIterator[tuple[Client, Client]]:
    """Clients of `local` and of `otto`."""
    async with deployer.client() as local, deployer.client(token=OTTO) as otto:
        yield local, otto


def place(pipeline: str, environment: str = "staging") -> str:
    return f"pipelines/{pipeline}/environments/{environment}"


async def environment(client: Client, pipeline: str, name: str = "staging") -> pb.Environment:
    request = pb.GetEnvironmentRequest(name=place(pipeline, name))
    return (await client.environments.GetEnvironment(request)).environment


async def lock(client: Client, pipeline: str, ttl: float | None = None, **fields: Any) -> pb.EnvironmentLock:
    request = pb.LockEnvironmentRequest(name=place(pipeline), **{"message": "migration", **fields})
    if ttl is not None:
        request.ttl.CopyFrom(Duration(seconds=int(ttl)))
    return (await client.environments.LockEnvironment(request)).environment.lock


async def unlock(client: Client, pipeline: str) -> pb.Environment:
    request = pb.UnlockEnvironmentRequest(name=place(pipeline))
    return (await client.environments.UnlockEnvironment(request)).environment


async def to(client: Client, pipeline: str, name: str, version: str = "", **fields: Any) -> deployment_pb2.Deployment:
    request = d.DeployRequest(pipeline=f"pipelines/{pipeline}", version=version, environment=name, **fields)
    return (await client.deployments.Deploy(request)).deployment


async def planned(client: Client, pipeline: str, name: str, **fields: Any) -> d.PlanDeploymentResponse:
    return await client.deployments.PlanDeployment(
        d.PlanDeploymentRequest(pipeline=f"pipelines/{pipeline}", environment=name, **fields)
    )


async def until_it_says(client: Client, name: str, reason: str) -> deployment_pb2.Deployment:
    """The deployment once its reason is that one; the test's own time limit is the limit."""
    while True:
        if (found := await get(client, name)).reason == reason:
            return found
        await asyncio.sleep(0.02)


# ---- what they show -------------------------------------------------------------------------------------------------


async def test_an_environment_shows_what_is_there_and_who_waits(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with both(deployer) as (local, _):
        await register(local, a_pipeline("shown", environments=BOTH))
        assert not (await environment(local, "shown")).HasField("stable")
        first = await ended(local, (await deploy(local, "shown", "1.0")).name)
        await register(local, a_pipeline("shown", a_stage("work", held.step("shown")), environments=BOTH))
        running, waiting = [(await deploy(local, "shown", version)).name for version in ("1.1", "1.2")]

        seen = await environment(local, "shown")
        assert (seen.stable.version, seen.stable.pipeline_revision, seen.stable.deployment) == ("1.0", 1, first.name)
        assert (seen.holder, list(seen.queue), seen.queue_length) == (running, [waiting], 1)
        assert (seen.deployable, seen.HasField("lock"), seen.promotes_from) == (True, False, "")
        request = pb.ListEnvironmentsRequest(parent="pipelines/shown")
        listed = (await local.environments.ListEnvironments(request)).environments
        assert [one.name for one in listed] == [place("shown", one) for one in BOTH]
        assert listed[0] == seen
        held.end("shown")
        await ended(local, waiting)


async def test_a_policy_that_rejects_is_an_obstacle_while_somebody_is_there(deployer: DeployerProcess) -> None:
    async with both(deployer) as (local, _):
        policy = "CONCURRENCY_POLICY_REJECT"
        await register(local, a_pipeline("strict", a_stage("work", a_wait()), concurrency=policy))
        name = (await deploy(local, "strict")).name

        seen = await environment(local, "strict")
        assert (seen.deployable, [one.reason for one in seen.obstacles]) == (False, ["ENVIRONMENT_OCCUPIED"])
        await cancel(local, name)


async def test_who_may_read_one_environment_sees_no_other(deployer: DeployerProcess) -> None:
    async with deployer.client() as local, deployer.client(token=VERA) as vera:
        await register(local, a_pipeline("private", environments=BOTH))

        assert (await environment(vera, "private")).name == place("private")
        with pytest.raises(Denied):
            await environment(vera, "private", "production")
        with pytest.raises(Denied):
            await vera.environments.ListEnvironments(pb.ListEnvironmentsRequest(parent="pipelines/private"))
        with pytest.raises(Denied):
            await lock(vera, "private")


# ---- locks ----------------------------------------------------------------------------------------------------------


async def test_a_lock_keeps_everybody_else_out_until_it_is_ended(deployer: DeployerProcess) -> None:
    async with both(deployer) as (local, otto):
        await register(local, a_pipeline("locked", a_stage("work", false()), rollbackEnabled=False))
        failed = await ended(otto, (await deploy(otto, "locked")).name)
        mine = await lock(local, "locked", message="moving the database")
        assert (mine.holder, mine.message) == ("local", "moving the database")
        assert not mine.HasField("expire_time")

        with pytest.raises(Conflict) as refused:
            await deploy(otto, "locked")
        told = {"holder": "local", "message": "moving the database", "environment": "staging", "expires": ""}
        assert refused.value.reason == "ENVIRONMENT_LOCKED"
        assert told.items() <= refused.value.metadata.items()
        foreseen = await planned(otto, "locked", "staging", version="1")
        assert (foreseen.refusal.reason, foreseen.refusal.message) == ("ENVIRONMENT_LOCKED", refused.value.message)
        assert foreseen.refusal.metadata["holder"] == "local"
        with pytest.raises(Conflict, match="locked by local"):
            await retry(otto, failed.name)
        with pytest.raises(Conflict, match="locked by local"):
            await lock(otto, "locked")
        with pytest.raises(Conflict) as not_his:
            await unlock(otto, "locked")
        assert not_his.value.reason == "LOCK_NOT_YOURS"
        seen = await environment(otto, "locked")
        assert (seen.deployable, [one.reason for one in seen.obstacles]) == (False, ["ENVIRONMENT_LOCKED"])
        assert (await environment(local, "locked")).deployable
        assert not (await planned(local, "locked", "staging", version="1")).HasField("refusal")
        await ended(local, (await deploy(local, "locked")).name)

        assert (await unlock(local, "locked")).deployable
        await ended(otto, (await deploy(otto, "locked")).name)


async def test_those_who_wait_already_go_on_waiting_and_say_so(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with both(deployer) as (local, otto):
        await register(local, a_pipeline("waiting", a_stage("work", held.step("waiting"))))
        running, waiting = [(await deploy(otto, "waiting", version)).name for version in ("1", "2")]
        await held.started("waiting")
        await lock(local, "waiting", message="moving the database")
        said = await get(otto, waiting)
        assert (said.reason, said.queue_position) == ("ENVIRONMENT_LOCKED", 1)
        assert "locked by local" in said.message
        assert said.message.endswith("moving the database")

        assert (await planned(local, "waiting", "staging", version="3")).queue_position == 1
        next_one = (await deploy(local, "waiting", "3")).name  # the holder's own passes it
        assert (await get(local, next_one)).queue_position == 1
        held.end("waiting")
        await ended(otto, running)
        own = await ended(local, next_one)
        assert status_of(own) == "SUCCEEDED"
        assert status_of(await get(otto, waiting)) == "QUEUED"

        await unlock(local, "waiting")
        done = await ended(otto, waiting)
        assert (status_of(done), done.reason, done.message) == ("SUCCEEDED", "", "")


async def test_rollbacks_pass_a_lock(deployer: DeployerProcess) -> None:
    async with both(deployer) as (local, otto):
        await register(local, a_pipeline("back"))
        for version in ("1", "2"):
            last = await ended(local, (await deploy(local, "back", version)).name)
        await lock(local, "back")

        back = await ended(otto, (await roll_back(otto, last.name)).name)

        assert (status_of(back), back.version) == ("SUCCEEDED", "1")


async def test_a_lock_ends_when_its_holder_is_silent_and_lives_while_it_is_renewed(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with both(deployer) as (local, otto):
        await register(local, a_pipeline("leased", a_stage("work", held.step("leased"))))
        running, waiting = [(await deploy(otto, "leased", version)).name for version in ("1", "2")]
        first = await lock(local, "leased", ttl=3600)
        renewed = (await local.environments.RenewLock(pb.RenewLockRequest(name=place("leased")))).lock
        assert renewed.expire_time.ToDatetime() > first.expire_time.ToDatetime()
        assert renewed.create_time == first.create_time
        await until_it_says(otto, waiting, "ENVIRONMENT_LOCKED")

        await lock(local, "leased", ttl=1)  # the holder changes it, and is silent from now on
        await until_it_says(otto, waiting, "")
        held.end("leased")
        for name in (running, waiting):
            assert status_of(await ended(otto, name)) == "SUCCEEDED"
        with pytest.raises(Conflict) as too_late:
            await local.environments.RenewLock(pb.RenewLockRequest(name=place("leased")))
        assert too_late.value.reason == "NOT_LOCKED"


async def test_ending_somebodys_lock_needs_a_right_of_its_own_and_is_audited(deployer: DeployerProcess) -> None:
    async with both(deployer) as (local, otto):
        await register(local, a_pipeline("forced"))
        await lock(otto, "forced")
        request = pb.ForceUnlockEnvironmentRequest(name=place("forced"), reason="otto is asleep")
        with pytest.raises(Denied):
            await otto.environments.ForceUnlockEnvironment(request)

        assert (await local.environments.ForceUnlockEnvironment(request)).environment.deployable
        found = await local.history.ListAuditEvents(
            history_service_pb2.ListAuditEventsRequest(filter=f'resource = "{place("forced")}"')
        )
        outcomes = [(one.actor, one.action.rpartition("/")[2], one.outcome) for one in found.events]
        assert outcomes == [
            ("local", "ForceUnlockEnvironment", "OK"),
            ("otto", "ForceUnlockEnvironment", "PERMISSION_DENIED"),
            ("otto", "LockEnvironment", "OK"),
        ]


async def test_of_many_who_reach_for_a_lock_at_once_one_gets_it(deployer: DeployerProcess) -> None:
    async with both(deployer) as (local, otto):
        await register(local, a_pipeline("raced"))

        wishes = [lock(one, "raced") for _ in range(5) for one in (local, otto)]
        answers = await asyncio.gather(*wishes, return_exceptions=True)

        taken = [one.holder for one in answers if isinstance(one, pb.EnvironmentLock)]
        refused = [one.reason for one in answers if isinstance(one, Conflict)]
        assert (len(set(taken)), taken[0]) == (1, (await environment(local, "raced")).lock.holder)
        assert refused == ["ENVIRONMENT_LOCKED"] * 5


async def test_a_lock_that_is_asked_for_twice_is_taken_once(deployer: DeployerProcess) -> None:
    async with both(deployer) as (local, otto):
        await register(local, a_pipeline("twice"))
        request_id = "6f1c2a34-0000-4000-8000-000000000001"
        first = await lock(local, "twice", request_id=request_id)
        await unlock(local, "twice")
        await lock(otto, "twice")

        repeated = await lock(local, "twice", request_id=request_id)  # it was granted, whatever came after

        assert (first.holder, repeated.holder) == ("local", "otto")


# ---- order ----------------------------------------------------------------------------------------------------------


async def test_a_version_goes_through_the_environments_in_their_order(deployer: DeployerProcess) -> None:
    async with both(deployer) as (local, otto):
        await register(local, a_pipeline("ordered", environments=BOTH, promoteInOrder=True))
        assert (await environment(local, "ordered", "production")).promotes_from == "staging"
        with pytest.raises(Conflict) as refused:
            await to(otto, "ordered", "production", "1")
        assert (refused.value.reason, refused.value.metadata["after"]) == ("NOT_PROMOTED_YET", "staging")
        foreseen = await planned(otto, "ordered", "production", version="1")
        assert (foreseen.refusal.reason, foreseen.refusal.metadata["after"]) == ("NOT_PROMOTED_YET", "staging")
        await ended(otto, (await to(otto, "ordered", "staging", "1")).name)
        await register(
            local, a_pipeline("ordered", a_stage("other"), environments=BOTH, promoteInOrder=True)
        )  # another revision, which staging does not have
        with pytest.raises(Conflict, match="has to be stable in staging"):
            await to(otto, "ordered", "production", "1")

        foreseen = await planned(otto, "ordered", "production", from_environment="staging")
        assert (foreseen.version, foreseen.pipeline_revision, foreseen.HasField("refusal")) == ("1", 1, False)
        carried = await ended(otto, (await to(otto, "ordered", "production", from_environment="staging")).name)
        assert (carried.version, carried.pipeline_revision, status_of(carried)) == ("1", 1, "SUCCEEDED")
        with pytest.raises(Conflict) as other:
            await to(otto, "ordered", "production", "2", from_environment="staging")
        assert (other.value.reason, other.value.metadata["present"]) == ("NOT_STABLE_THERE", "1")


async def test_going_past_the_order_needs_a_right_of_its_own_and_shows(deployer: DeployerProcess) -> None:
    async with both(deployer) as (local, otto):
        await register(local, a_pipeline("hotfix", environments=BOTH, promoteInOrder=True))
        hotfix = {"skip_order": True, "reason": "the shop is down"}
        with pytest.raises(Denied, match=r"deployments\.override"):
            await to(otto, "hotfix", "production", "1", **hotfix)

        assert not (await planned(local, "hotfix", "production", version="1", skip_order=True)).HasField("refusal")
        first, second = [await to(local, "hotfix", "production", version, **hotfix) for version in ("1", "2")]
        for one in (first, second):
            assert (status_of(await ended(local, one.name)), one.order_skipped) == ("SUCCEEDED", True)
        assert not (await to(local, "hotfix", "staging", "3", **hotfix)).order_skipped
        back = await ended(otto, (await roll_back(otto, second.name)).name)  # rollbacks are exempt
        assert (status_of(back), back.version, back.order_skipped) == ("SUCCEEDED", "1", False)
        found = await local.history.ListAuditEvents(
            history_service_pb2.ListAuditEventsRequest(filter=f'resource = "{first.name}"')
        )
        assert found.events[-1].details["skip_order"] == "true"


async def test_a_retry_keeps_the_order_as_well(deployer: DeployerProcess) -> None:
    (deployer.work / "only.py").write_text("import sys; sys.exit(sys.argv[1] == 'production')")
    async with both(deployer) as (local, otto):
        stage = a_stage("work", a_script("only", "only.py", "${environment}"))
        await register(local, a_pipeline("again", stage, environments=BOTH, promoteInOrder=True))
        await ended(otto, (await to(otto, "again", "staging", "1")).name)
        failed = await ended(otto, (await to(otto, "again", "production", "1")).name)
        assert status_of(failed) == "FAILED"
        assert status_of(await ended(otto, (await retry(otto, failed.name)).name)) == "FAILED"  # it was let go on

        await ended(otto, (await to(otto, "again", "staging", "2")).name)
        with pytest.raises(Conflict) as refused:
            await retry(otto, failed.name)
        assert refused.value.reason == "NOT_PROMOTED_YET"
        fields: dict[str, Any] = {"skip_order": True, "reason": "the shop is down"}
        hotfix = await ended(local, (await to(local, "again", "production", "1", **fields)).name)
        assert (await retry(otto, hotfix.name)).order_skipped


# ---- priorities -----------------------------------------------------------------------------------------------------


async def test_the_more_urgent_goes_first(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with both(deployer) as (local, _):
        await register(local, a_pipeline("urgent", a_stage("work", held.step("urgent"))))
        await to(local, "urgent", "staging", "running")
        await held.started("urgent")
        waiting = [
            await to(local, "urgent", "staging", f"{priority}-{index}", priority=priority)
            for index, priority in enumerate((0, 5, 9, 5))
        ]
        assert [one.queue_position for one in waiting] == [1, 1, 1, 3]
        assert [(await get(local, one.name)).queue_position for one in waiting] == [4, 2, 1, 3]
        assert [one.priority for one in waiting] == [0, 5, 9, 5]
        assert (await planned(local, "urgent", "staging", version="1", priority=6)).queue_position == 2
        seen = await environment(local, "urgent")
        assert [one.rpartition("/")[2] for one in seen.queue] == [waiting[at].uid for at in (2, 1, 3, 0)]

        held.end("urgent")
        ends = [await ended(local, one.name) for one in waiting]
        by_start = sorted(ends, key=lambda one: one.start_time.ToDatetime())
        assert [one.version for one in by_start] == ["9-2", "5-1", "5-3", "0-0"]


async def test_the_most_urgent_gets_the_slot_that_others_wait_for_elsewhere(policy: str) -> None:
    with a_deployer(DEPLOYER_MAX_CONCURRENT_DEPLOYMENTS="1", DEPLOYER_POLICY_FILE=policy) as deployer:
        held = HeldSteps(deployer.work)
        async with deployer.client() as client:
            stage = a_stage("work", held.step("slots"))
            await register(client, a_pipeline("slots", stage, environments=["a", "b", "c"]))
            await to(client, "slots", "a", "running")
            later = await to(client, "slots", "b", "later")
            urgent = await to(client, "slots", "c", "urgent", priority=1)
            held.end("slots")
            starts = [(await ended(client, one.name)).start_time.ToDatetime() for one in (urgent, later)]
    assert starts == sorted(starts)


# ---- the other database ---------------------------------------------------------------------------------------------


async def test_postgresql_locks_orders_and_hurries_as_well(postgres_url: str, policy: str) -> None:
    with a_deployer(DEPLOYER_DATABASE_URL=postgres_url, DEPLOYER_POLICY_FILE=policy) as deployer:
        held = HeldSteps(deployer.work)
        async with both(deployer) as (local, otto):
            stage = a_stage("work", held.step("other"))
            await register(local, a_pipeline("other", stage, environments=BOTH, promoteInOrder=True))
            running, slow = [(await to(otto, "other", "staging", version)).name for version in ("1", "2")]
            fast = (await to(otto, "other", "staging", "3", priority=1)).name
            await held.started("other")
            await lock(local, "other", ttl=3600)
            held.end("other")
            await ended(otto, running)
            with pytest.raises(Conflict, match="locked by local"):
                await to(otto, "other", "staging", "4")
            assert [(await get(otto, one)).queue_position for one in (slow, fast)] == [2, 1]
            await lock(local, "other", ttl=1)
            await until_it_says(otto, slow, "")
            assert [status_of(await ended(otto, one)) for one in (fast, slow)] == ["SUCCEEDED", "SUCCEEDED"]
            with pytest.raises(Conflict, match="has to be stable in staging"):
                await to(otto, "other", "production", "3")
            carried = await ended(otto, (await to(otto, "other", "production", from_environment="staging")).name)
            assert (carried.version, status_of(carried)) == ("2", "SUCCEEDED")
