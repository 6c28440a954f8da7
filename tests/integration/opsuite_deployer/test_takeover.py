"""Two replicas on one PostgreSQL: whatever becomes of one of them, the other goes on, and nothing is done twice."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from deployer import Client, deploy, ended, events_of, register
from fakes.fragile_postgres import FragilePostgres, a_fragile_postgres
from fakes.pipelines import a_pipeline, a_stage, a_wait
from fakes.replicas import LOOK_AGAIN_SECONDS, Team, all_gone, until
from fakes.warm_deployer import Nursery, WarmDeployer, a_nursery
from fakes.worlds import World, an_effect

from opsuite.deployer.v1 import deployment_pb2 as messages
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite.deployer.v1 import pipeline_pb2
from opsuite_kernel.errors import TimedOut, Unavailable

KIND = messages.DeploymentEventKind.Name
STATUS = messages.DeploymentStatus.Name

TELL_WHO_WRITES = """
    CREATE TABLE written (who text, what text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO written VALUES (session_user, TG_OP || ' ' || TG_TABLE_NAME); RETURN NULL;
    END $$;
    CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON deployments FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON parts FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON log_lines FOR EACH ROW EXECUTE FUNCTION note();
"""
SWALLOW_NOTIFICATIONS = """
    CREATE SCHEMA quiet;
    CREATE FUNCTION quiet.pg_notify(text, text) RETURNS void LANGUAGE sql AS '';
    ALTER DATABASE {} SET search_path = quiet, public, pg_catalog;
"""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with a_nursery() as nursery:
        yield nursery


@pytest.fixture
def team(nursery: Nursery, postgres_url: str) -> Iterator[Team]:
    directory = Path(tempfile.mkdtemp(prefix="opsuite-"))
    team = Team(World(nursery, directory), postgres_url)
    yield team
    team.close()
    shutil.rmtree(directory)


def a_long_one(name: str = "long", **fields: Any) -> pipeline_pb2.Pipeline:
    """A pipeline whose first step is held until the test lets it go."""
    return a_pipeline(name, a_stage("work", an_effect("long", "hold", **fields), an_effect("after")))


async def kinds_of(client: Client, name: str) -> list[str]:
    return [KIND(event.kind)[22:] for event in await events_of(client, name)]


async def test_what_a_killed_replica_was_doing_is_done_by_another(team: Team) -> None:
    one, other = team.replica(), team.replica()
    async with one.client() as client, other.client() as at_the_other:
        await register(client, a_long_one(idempotent=True))
        name = (await deploy(client, "long")).name
        await team.begun("long")
        orphans = team.programs()

        one.kill()
        await all_gone(orphans)
        await team.begun("long", times=2)
        team.let_go()
        deployment = await ended(at_the_other, name)

    assert STATUS(deployment.status) == "DEPLOYMENT_STATUS_SUCCEEDED"
    assert team.told("begin") == {"long": 2, "after": 1}
    assert team.told("end") == {"long": 1, "after": 1}
    assert team.query("SELECT epoch FROM deployments") == [(2,)]


async def test_what_may_not_run_twice_waits_for_a_person_at_the_other_replica(team: Team) -> None:
    one, other = team.replica(), team.replica()
    async with one.client() as client, other.client() as at_the_other:
        await register(client, a_long_one())
        name = (await deploy(client, "long")).name
        await team.begun("long")

        one.kill()
        team.let_go()
        await until(lambda: team.query("SELECT 1 FROM deployments WHERE pause_reason = 'INTERRUPTED'"))
        assert team.told("begin") == {"long": 1}
        request = pb.RetryStepRequest(name=name, stage="work", step="long")
        await at_the_other.deployments.RetryStep(request)
        deployment = await ended(at_the_other, name)

    assert STATUS(deployment.status) == "DEPLOYMENT_STATUS_SUCCEEDED"
    assert team.told("begin") == {"long": 2, "after": 1}


async def test_a_wait_goes_on_where_it_was(team: Team) -> None:
    one, other = team.replica(), team.replica()
    async with one.client() as client, other.client() as at_the_other:
        await register(client, a_pipeline("rest", a_stage("work", a_wait("rest", 2.5), an_effect("after"))))
        name = (await deploy(client, "rest")).name
        watching = asyncio.create_task(events_of(at_the_other, name))

        one.kill()
        events = await watching

    rest = [KIND(event.kind)[22:] for event in events if event.step == "rest"]
    assert rest.count("STEP_ENDED") == 1
    assert events[-1].status == messages.DEPLOYMENT_STATUS_SUCCEEDED
    assert all(event.attempt == 1 for event in events if event.step)


@pytest.mark.parametrize("left", ["ended meanwhile", "still running"])
async def test_a_replica_that_slept_through_its_lease_writes_nothing_and_starts_nothing(team: Team, left: str) -> None:
    team.query("DO $$ BEGIN CREATE ROLE sleeper SUPERUSER LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    sleeper, other = team.replica(user="sleeper"), team.replica()
    async with sleeper.client() as client, other.client() as at_the_other:
        await register(client, a_long_one(idempotent=True))
        name = (await deploy(client, "long")).name
        await team.begun("long")
        of_the_sleeper = team.programs()

        os.kill(sleeper.pid, signal.SIGSTOP)
        team.query(TELL_WHO_WRITES)
        await team.begun("long", times=2)  # the other has taken it over
        if left == "ended meanwhile":
            team.let_go()
            await ended(at_the_other, name)
        os.kill(sleeper.pid, signal.SIGCONT)
        await all_gone(of_the_sleeper)
        team.let_go()
        deployment = await ended(at_the_other, name)

    assert sleeper.terminate() == 0, sleeper.log()  # whatever it still had to do is done
    assert STATUS(deployment.status) == "DEPLOYMENT_STATUS_SUCCEEDED"
    assert team.query("SELECT what FROM written WHERE who = 'sleeper'") == []
    assert team.query("SELECT count(*) > 0 FROM written WHERE who = 'opsuite'") == [(True,)]
    assert team.told("begin") == {"long": 2, "after": 1}
    assert team.told("end")["long"] == (2 if left == "ended meanwhile" else 1)


async def test_a_replica_that_falls_asleep_inside_a_transaction_does_not_stop_the_others(team: Team) -> None:
    sleeper, other = team.replica(), team.replica(DEPLOYER_POLL_EVERY="60")
    async with sleeper.client() as client, other.client() as at_the_other:
        await register(client, a_long_one(idempotent=True))
        name = (await deploy(client, "long")).name
        await team.begun("long")

        with psycopg.connect(team.url) as holder:
            holder.execute("SELECT pg_advisory_xact_lock(7401)")
            await until(lambda: team.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
            os.kill(sleeper.pid, signal.SIGSTOP)  # and now the lock is handed to it
        other.terminate()
        other.start(DEPLOYER_POLL_EVERY="0.3")
        team.let_go()
        deployment = await ended(at_the_other, name)

    assert STATUS(deployment.status) == "DEPLOYMENT_STATUS_SUCCEEDED"
    assert team.told("begin") == {"long": 2, "after": 1}


async def test_a_program_that_goes_on_beyond_the_grace_is_stopped_and_started_elsewhere(team: Team) -> None:
    one, other = team.replica(DEPLOYER_DRAIN_GRACE="0.3", DEPLOYER_COMMAND_GRACE="0.1"), team.replica()
    async with one.client() as client, other.client() as at_the_other:
        await register(client, a_long_one(idempotent=True))
        name = (await deploy(client, "long")).name
        await team.begun("long")
        stopped = team.programs()

        assert one.terminate() == 0
        await all_gone(stopped)
        await team.begun("long", times=2)
        team.let_go()
        deployment = await ended(at_the_other, name)

    assert STATUS(deployment.status) == "DEPLOYMENT_STATUS_SUCCEEDED"
    assert team.told("begin") == {"long": 2, "after": 1}
    assert team.told("end")["long"] == 1


async def test_replicas_that_are_told_the_same_never_touch_the_same_deployment(team: Team) -> None:
    replicas = [team.replica(DEPLOYER_LEASE="15"), team.replica(DEPLOYER_LEASE="15")]
    environments = [f"e{number}" for number in range(12)]
    async with replicas[0].client() as one, replicas[1].client() as other:
        pipeline = a_pipeline("same", a_stage("work", an_effect("a"), an_effect("b")), environments=environments)
        await register(one, pipeline)
        deployments = await asyncio.gather(
            *(deploy((one, other)[n % 2], "same", environment=place) for n, place in enumerate(environments))
        )
        ends = await asyncio.gather(*(ended(one, deployment.name) for deployment in deployments))

    assert {STATUS(deployment.status) for deployment in ends} == {"DEPLOYMENT_STATUS_SUCCEEDED"}
    assert team.query("SELECT max(epoch) FROM deployments") == [(1,)]
    assert team.told("begin") == {"a": 12, "b": 12}


async def test_when_notifications_are_lost_the_poll_finds_what_they_told_of(team: Team) -> None:
    one = team.replica(DEPLOYER_LEASE="15")
    team.query(SWALLOW_NOTIFICATIONS.format(team.url.rpartition("/")[2]))
    one.terminate()
    one.start()
    other = team.replica()
    async with one.client() as client, other.client() as at_the_other:
        await register(client, a_pipeline("rest", a_stage("work", a_wait("rest", 3600))))
        name = (await deploy(client, "rest")).name
        watching = asyncio.create_task(events_of(at_the_other, name))
        await at_the_other.deployments.CancelDeployment(pb.CancelDeploymentRequest(name=name))
        events = await watching

    assert events[-1].status == messages.DEPLOYMENT_STATUS_CANCELLED
    assert team.query("SELECT max(epoch) FROM deployments") == [(1,)]  # its owner heard of it, nobody took it over


async def test_a_killed_owner_does_not_keep_the_only_slot(team: Team) -> None:
    one, other = (team.replica(DEPLOYER_MAX_CONCURRENT_DEPLOYMENTS="1") for _ in range(2))
    async with one.client() as client, other.client() as at_the_other:
        await register(client, a_long_one("first", idempotent=True))
        await register(client, a_pipeline("second", a_stage("work", an_effect("second"))))
        first = (await deploy(client, "first")).name
        second = await deploy(client, "second")
        assert second.status == messages.DEPLOYMENT_STATUS_QUEUED
        await team.begun("long")

        one.kill()
        team.let_go()
        ends = [await ended(at_the_other, name) for name in (first, second.name)]

    assert {STATUS(deployment.status) for deployment in ends} == {"DEPLOYMENT_STATUS_SUCCEEDED"}
    assert team.told("begin")["second"] == 1


async def test_a_replica_that_is_told_to_stop_hands_its_work_over(team: Team) -> None:
    one, other = (team.replica(DEPLOYER_LEASE="15") for _ in range(2))
    async with one.client() as client, other.client() as at_the_other:
        await register(client, a_long_one())
        await register(client, a_pipeline("rest", a_stage("work", a_wait("rest", 1.5), an_effect("rested"))))
        names = [(await deploy(client, pipeline)).name for pipeline in ("long", "rest")]
        watching = [asyncio.create_task(events_of(at_the_other, name)) for name in names]
        await team.begun("long")

        stopping = asyncio.create_task(asyncio.to_thread(one.terminate))
        await until(lambda: team.query("SELECT 1 FROM deployments WHERE pipeline = 'rest' AND epoch = 2"))
        assert not stopping.done()  # a running program is allowed to end
        team.let_go()
        long, rest = [await one for one in watching]
        assert await stopping == 0

    assert {events[-1].status for events in (long, rest)} == {messages.DEPLOYMENT_STATUS_SUCCEEDED}
    assert team.told("begin") == {"long": 1, "after": 1, "rested": 1}
    assert all(event.attempt == 1 for event in [*long, *rest] if event.step)
    assert team.query("SELECT max(takeovers) FROM deployments") == [(0,)]


# ---- a database that goes away --------------------------------------------------------------------------------------


async def insist(replica: WarmDeployer, call: Callable[[Client], Awaitable[Any]]) -> Any:
    """Call until it is answered, whatever the database does meanwhile."""
    while True:
        try:
            async with replica.client() as client:
                return await call(client)
        except (Unavailable, TimedOut):
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def end_under_restarts(team: Team, database: FragilePostgres, *, runs: int, restarts: int) -> None:
    """Deploy at two replicas while the database crashes again and again; everything ends, nothing is done twice."""
    environments = [f"e{number}" for number in range(runs)]
    steps = [an_effect(f"s{number}") for number in range(4)]
    replicas = [team.replica(DEPLOYER_LEASE="30"), team.replica(DEPLOYER_LEASE="30")]
    await insist(
        replicas[0],
        lambda client: register(client, a_pipeline("many", a_stage("work", *steps), environments=environments)),
    )

    async def one(number: int) -> str:
        request = pb.DeployRequest(
            request_id=str(uuid.uuid4()),
            pipeline="pipelines/many",
            version="1.0.0",
            environment=environments[number],
        )
        replica = replicas[number % 2]
        answer = await insist(replica, lambda client: client.deployments.Deploy(request))
        end = await insist(replica, lambda client: ended(client, answer.deployment.name))
        return STATUS(end.status)

    def worked(steps_ended: int) -> bool:
        return team.told("end").total() >= steps_ended

    async def crash() -> None:
        """Let some work be done between two crashes."""
        for number in range(1, restarts + 1):
            await asyncio.to_thread(database.crash)
            await until(partial(worked, number * runs * len(steps) // (restarts + 1)))

    ends, _ = await asyncio.gather(asyncio.gather(*(one(number) for number in range(runs))), crash())
    assert Counter(ends) == {"DEPLOYMENT_STATUS_SUCCEEDED": runs}
    assert team.told("begin") == {f"s{number}": runs for number in range(4)}
    assert team.query("SELECT count(*) FROM deployments") == [(runs,)]


@pytest.fixture
def fragile() -> Iterator[FragilePostgres]:
    with a_fragile_postgres() as database:
        yield database


@pytest.fixture
def fragile_team(nursery: Nursery, fragile: FragilePostgres) -> Iterator[Team]:
    directory = Path(tempfile.mkdtemp(prefix="opsuite-"))
    team = Team(World(nursery, directory), fragile.url)
    yield team
    team.close()
    shutil.rmtree(directory)


async def test_deployments_outlive_crashes_of_the_database(fragile_team: Team, fragile: FragilePostgres) -> None:
    await end_under_restarts(fragile_team, fragile, runs=10, restarts=3)


@pytest.mark.long
async def test_fifty_deployments_outlive_twenty_crashes(fragile_team: Team, fragile: FragilePostgres) -> None:
    await end_under_restarts(fragile_team, fragile, runs=50, restarts=20)


# ---- a step that ends its deployer ----------------------------------------------------------------------------------


async def test_a_step_that_its_deployers_die_of_is_given_up_and_named(nursery: Nursery) -> None:
    directory = Path(tempfile.mkdtemp(prefix="opsuite-"))
    world = World(nursery, directory)
    team = Team(world, "")
    deployer = world.new(directory / "data", DEPLOYER_ROOTS=f"{team.work},{world.tools}")
    deployer.start()
    try:
        async with deployer.client() as client:
            await register(client, a_long_one(idempotent=True))
            name = (await deploy(client, "long")).name
            for deaths in range(1, 6):
                await team.begun("long", times=deaths)
                deployer.kill()
                await asyncio.to_thread(deployer.start)
            deployment = await ended(client, name)
            begun = team.told("begin")
    finally:
        deployer.kill()
        shutil.rmtree(directory)

    assert STATUS(deployment.status) == "DEPLOYMENT_STATUS_FAILED"
    assert (deployment.failure.reason, deployment.failure.step) == ("TAKEN_OVER_TOO_OFTEN", "long")
    assert begun == {"long": 5}
