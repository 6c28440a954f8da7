"""Rollouts while others want something too: people with other wishes, hands on what it moves, more deployments."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deployer import python_directories
from fakes.rollout_stage import SOON, Play, RolloutStory, Stage, a_stage, promote, requests
from fakes.warm_deployer import Nursery, a_nursery
from fakes.web_workload import status_of

from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite_deployer.adapters.route_store import SqlRouteStore
from opsuite_kernel.errors import Conflict
from opsuite_platforms.supervisord import Supervisord
from opsuite_storage.store import open_store

WAITING = RolloutStory("waiting", {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}], **SOON}}, is_promoted=True)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with a_nursery() as nursery:
        yield nursery


@pytest.fixture
async def stage(nursery: Nursery) -> AsyncIterator[Stage]:
    async with a_stage(nursery) as stage:
        yield stage


# ---- hands on replicas ----------------------------------------------------------------------------------------------


async def test_what_runs_is_not_replaced_because_the_settings_of_the_deployer_changed(stage: Stage) -> None:
    story = RolloutStory("settled", {"rolling": {}})
    await stage.open(story)
    before = stage.pids("settled")

    await stage.begin_life(DEPLOYER_TRUSTED_DIRECTORIES=f"/usr/sbin,{python_directories()}")
    async with requests(stage.ports["settled"]) as made:
        again = await stage.ended(await stage.deploy("settled", stage.standing["settled"]))

    assert status_of(again) == "SUCCEEDED", again.message
    assert set(made.answers) == {stage.standing["settled"]}
    assert stage.pids("settled") == before


async def test_a_replica_of_the_old_version_that_somebody_stops_is_started_again(stage: Stage) -> None:
    await stage.open(WAITING)
    group = f"{stage.revision('waiting', stage.standing['waiting'])}-0"

    async def stop(play: Play) -> None:
        assert await play.until_told("PAUSED")
        async with play.requests.held():
            stop_group(stage, group)
            while not is_running(stage, group):  # noqa: ASYNC110  # supervisord is asked
                await asyncio.sleep(0.02)
        told = await play.until_told("DRIFT_CORRECTED")
        assert told is not None
        assert f"somebody stopped {group}" in told.message
        await promote(play)

    _, wrongs = await stage.play(replace(WAITING, is_promoted=False), stop)

    expected = ("got 503", "DRIFT_CORRECTED was told")  # until it is up again its share is lost
    assert [wrong for wrong in wrongs if not any(words in wrong for words in expected)] == []


async def test_a_new_version_whose_last_replica_somebody_stops_is_not_promoted(stage: Stage) -> None:
    await stage.open(WAITING)

    async def stop(play: Play) -> None:
        assert await play.until_told("PAUSED")
        stop_group(stage, f"{stage.revision('waiting', play.told.version)}-0")

    _, wrongs = await stage.play(replace(WAITING, is_promoted=False, ends="ROLLED_BACK"), stop)

    assert [wrong for wrong in wrongs if "got 503" not in wrong] == []


def stop_group(stage: Stage, group: str) -> None:
    """As `supervisorctl stop` does it."""
    with Supervisord(stage.deployer.data_dir / "supervisor").calls() as supervisor:
        supervisor.stopProcessGroup(group, True)


def is_running(stage: Stage, group: str) -> bool:
    """What `supervisorctl status` says."""
    with Supervisord(stage.deployer.data_dir / "supervisor").calls() as supervisor:
        return any(
            info["group"] == group and info["statename"] in {"STARTING", "RUNNING"}
            for info in supervisor.getAllProcessInfo()
        )


# ---- hands on routes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deleted", pytest.param("changed", marks=pytest.mark.long)])
async def test_a_route_that_somebody_changes_is_put_back_and_told(
    nursery: Nursery, postgres_url: str, tmp_path: Path, how: str
) -> None:
    async with a_stage(nursery, DEPLOYER_DATABASE_URL=postgres_url) as stage:
        await stage.open(WAITING)
        somebody = open_store(postgres_url, data_dir=tmp_path, name="somebody")
        routes = SqlRouteStore(somebody)

        async def change(play: Play) -> None:
            assert await play.until_told("PAUSED")
            async with play.requests.held():
                stored = (await routes.routes()).get("waiting")
                assert stored is not None
                if how == "deleted":
                    await routes.delete_route("waiting")
                else:
                    await routes.put_route(replace(stored.route, tracks=stored.route.tracks[1:]), epoch=stored.epoch)
                assert await play.until_told("DRIFT_CORRECTED")
                while (await routes.routes()).get("waiting") is None:  # noqa: ASYNC110  # the store is asked
                    await asyncio.sleep(0.02)
                await stage.serves(stage.ports["waiting"])
            await promote(play)

        _, wrongs = await stage.play(replace(WAITING, is_promoted=False), change)
        await somebody.close()

    assert wrongs
    assert [wrong for wrong in wrongs if not wrong.startswith("DRIFT_CORRECTED was told")] == []


# ---- other wishes ---------------------------------------------------------------------------------------------------


PREVIEW = RolloutStory(
    "race",
    {"blueGreen": {"autoPromotionEnabled": False, "scaleDownDelay": "0.5s", "abortScaleDownDelay": "0.2s"}},
)


@pytest.mark.parametrize(
    "moment",
    [
        "PAUSED",
        pytest.param("PROMOTE_FULL", marks=pytest.mark.long),
        pytest.param("PROMOTING", marks=pytest.mark.long),
        pytest.param("PROMOTED", marks=pytest.mark.long),
    ],
)
async def test_whoever_aborts_what_somebody_promotes_either_brings_the_old_version_back_or_is_refused(
    stage: Stage, moment: str
) -> None:
    """At PAUSED both wish at once; later the promotion was first."""
    await stage.open(PREVIEW)
    accepted: list[str] = []

    async def race(play: Play) -> None:
        assert await play.until_told("PAUSED")
        promotion = pb.PromoteDeploymentRequest(
            request_id=str(uuid.uuid4()), name=play.told.name, scope=pb.PROMOTION_SCOPE_FULL
        )
        wishes: dict[str, Callable[[Any], Awaitable[object]]] = {
            "promote": lambda client: client.deployments.PromoteDeployment(promotion),
            "abort": lambda client: client.deployments.AbortDeployment(
                pb.AbortDeploymentRequest(request_id=str(uuid.uuid4()), name=play.told.name)
            ),
        }

        async def wish(name: str) -> None:
            with suppress(Conflict):
                await stage.insist(wishes[name])
                accepted.append(name)

        if moment == "PAUSED":
            await asyncio.gather(wish("promote"), wish("abort"))
        else:
            await wish("promote")
            await play.until_told(moment)
            await wish("abort")

    for _ in range(3 if moment == "PAUSED" else 1):
        accepted.clear()
        told, wrongs = await stage.play(PREVIEW, race)
        assert [wrong for wrong in wrongs if not wrong.startswith("it ended")] == [], accepted
        possible = {"promote": {"SUCCEEDED"}, "abort": {"ABORTED"}, "both": {"SUCCEEDED", "ABORTED"}}
        assert told.end in possible["both" if len(accepted) == 2 else accepted[0]]  # an abort may come too late


# ---- more deployments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "ends"),
    [
        ("QUEUE", ["SUCCEEDED", "SUCCEEDED", "SUCCEEDED"]),
        pytest.param("REPLACE", ["SUCCEEDED", "SUPERSEDED", "SUCCEEDED"], marks=pytest.mark.long),
        ("CANCEL_RUNNING", ["CANCELLED", "SUPERSEDED", "SUCCEEDED"]),
        ("REJECT", ["SUCCEEDED"]),
    ],
)
async def test_deployments_that_arrive_during_a_rollout_do_what_the_policy_says_and_lose_no_request(
    stage: Stage, policy: str, ends: list[str]
) -> None:
    name = f"more-{policy.lower().replace('_', '-')}"
    story = replace(WAITING, name=name, concurrency=f"CONCURRENCY_POLICY_{policy}")
    await stage.open(story)
    versions = [stage.next_version() for _ in range(3)]
    async with requests(stage.ports[name]) as made:
        names = [await stage.deploy(name, versions[0])]
        await stage.until(names[0], lambda found: status_of(found) == "PAUSED")
        for version in versions[1:]:
            with suppress(Conflict):
                names.append(await stage.deploy(name, version))
        helpers = [asyncio.create_task(stage.help(story, one)) for one in names]
        done = [await stage.ended(one) for one in names]
        for helper in helpers:
            helper.cancel()

    last = versions[len(names) - 1] if policy != "REJECT" else versions[0]
    assert [status_of(one) for one in done] == ends
    assert set(made.answers) <= {stage.standing[name], *versions}
    assert await stage.settled(name, last) == Counter({last: 2})
    assert list(stage.wrong_records(name, last)) == []
    assert set(await stage.asked(stage.ports[name], 10)) == {last}


@pytest.mark.parametrize("moment", ["STEP_STARTED", "PROMOTED"])
async def test_a_rollout_that_is_cancelled_leaves_a_record_of_what_holds(stage: Stage, moment: str) -> None:
    name = f"left-{moment.lower().replace('_', '-')}"
    canary = {"steps": [{"setWeight": 50}, {"pause": {"duration": "0.1s"}}], **SOON, "scaleDownDelay": "3600s"}
    if moment == "STEP_STARTED":
        canary["steps"][1] = {"pause": {"duration": "3600s"}}
    await stage.open(RolloutStory(name, {"canary": canary}))
    version = stage.next_version()
    async with requests(stage.ports[name]) as made:
        deployment = await stage.deploy(name, version)
        while moment not in {one.reason for one in stage.events() if one.deployment == deployment}:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await stage.insist(
            lambda client: client.deployments.CancelDeployment(pb.CancelDeploymentRequest(name=deployment))
        )
        done = await stage.ended(deployment)

    assert status_of(done) == "CANCELLED"
    assert set(made.answers) <= {stage.standing[name], version}
    ((stable, under_way),) = stage.query(f"SELECT stable, rollout_of FROM workloads WHERE id = '{name}'")
    assert under_way == ""
    assert stable == stage.revision(name, version if moment == "PROMOTED" else stage.standing[name])
