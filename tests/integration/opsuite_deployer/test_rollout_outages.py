"""Rollouts go on when what they stand on goes away for a while: the database, the edge, the engine, their deployer."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from deployer import a_pipeline, register
from docker import docker, docker_url, import_tiny_image  # noqa: F401  # a fixture
from fakes.fragile_postgres import FragilePostgres, a_fragile_postgres
from fakes.rollout_stage import REPLICAS, SOON, Play, RolloutStory, Stage, a_stage, promote
from fakes.warm_deployer import Nursery, WarmDeployer, a_nursery
from fakes.web_workload import status_of
from private_docker import private_engine

WAITING = {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}], **SOON}}
SLOW_CANARY = {"canary": {"steps": [{"setWeight": 50}, {"pause": {"duration": "1s"}}], **SOON}}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with a_nursery() as nursery:
        yield nursery


# ---- the database ---------------------------------------------------------------------------------------------------


@pytest.fixture
def fragile() -> Iterator[FragilePostgres]:
    with a_fragile_postgres() as database:
        yield database


async def test_a_rollout_outlives_crashes_of_the_database(nursery: Nursery, fragile: FragilePostgres) -> None:
    story = RolloutStory("canary", SLOW_CANARY)

    async def crash(play: Play) -> None:
        for reason in ("STARTED", "WEIGHT_SET", "PROMOTING"):
            assert await play.until_told(reason)
            await asyncio.to_thread(fragile.crash)

    async with a_stage(nursery, DEPLOYER_DATABASE_URL=fragile.url, DEPLOYER_LEASE="30") as stage:
        await stage.open(story)
        _, wrongs = await stage.play(story, crash)

    assert wrongs == []


# ---- the edge -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "story",
    [RolloutStory("rolling", {"rolling": {}}), RolloutStory("canary", SLOW_CANARY)],
    ids=lambda story: story.name,
)
async def test_an_edge_that_starts_again_in_the_middle_sends_nobody_astray(
    nursery: Nursery, story: RolloutStory
) -> None:
    async def restart(play: Play) -> None:
        for reason in ("REPLICAS_WANTED", "REPLICAS_AVAILABLE", "PROMOTED"):
            assert await play.until_told(reason)
            async with play.requests.held():
                await play.stage.edge.kill()
                await play.stage.edge.start()
                await play.stage.serves(play.stage.ports[story.name])

    async with a_stage(nursery) as stage:
        await stage.open(story)
        _, wrongs = await stage.play(story, restart)

    assert wrongs == []


# ---- containers -----------------------------------------------------------------------------------------------------


class DockerStage(Stage):
    """A stage whose workloads are containers; replicas are counted at the engine."""

    @property
    def url(self) -> str:
        """Address of the engine."""
        return self.deployer.settings["DEPLOYER_DOCKER_URL"]

    def pids(self, workload: str) -> dict[str, str]:
        """Version of each container that runs for a workload."""
        names = docker("ps", "--format", "{{.Names}}", "--filter", f"name=^opsuite-{workload}-", url=self.url).split()
        return {name: self.version_of(name) for name in names}

    def version_of(self, container: str) -> str:
        """What its environment says."""
        lines: list[str] = json.loads(docker("inspect", "--format", "{{json .Config.Env}}", container, url=self.url))
        return next(one[19:] for one in lines if one.startswith("DEPLOYMENT_VERSION="))

    def close(self) -> None:
        """End it, and remove what is left of its containers."""
        super().close()
        for workload in self.ports:
            left = docker("ps", "--all", "--quiet", "--filter", f"name=^opsuite-{workload}-", url=self.url).split()
            if left:
                docker("rm", "--force", *left, url=self.url)


def a_boxed_story(url: str) -> RolloutStory:
    """A canary in containers that answer with their version; its name is nobody else's on the engine."""
    tell = "mkdir -p /www; for f in alive index.html; do echo -n $DEPLOYMENT_VERSION > /www/$f; done"
    workload = {
        "platform": "WORKLOAD_PLATFORM_DOCKER",
        "image": import_tiny_image(url),
        "command": ["sh", "-c", f"{tell}; exec httpd -f -p ${{port}} -h /www"],
        "grace": "1s",
    }
    return RolloutStory(f"boxed-{uuid.uuid4().hex[:8]}", SLOW_CANARY, workload=workload)


def a_partner(nursery: Nursery, stage: Stage) -> WarmDeployer:
    """Another replica of the stage's deployer, which sees the same containers."""
    partner = WarmDeployer(stage.deployer.data_dir.with_name("partner"), stage.deployer.settings, nursery=nursery)
    partner.data_dir.mkdir()
    for shared in ("docker", "work", "token"):
        (partner.data_dir / shared).symlink_to(stage.deployer.data_dir / shared)
    partner.workload_ports = stage.deployer.workload_ports
    return partner


@pytest.mark.parametrize(
    "reason",
    [
        pytest.param("REPLICAS_WANTED", marks=pytest.mark.long),
        "WEIGHT_SET",
        pytest.param("PROMOTED", marks=pytest.mark.long),
    ],
)
async def test_another_replica_ends_what_a_killed_one_was_rolling_out(
    nursery: Nursery,
    postgres_url: str,
    docker_url: str,  # noqa: F811  # the fixture
    reason: str,
) -> None:
    story = a_boxed_story(docker_url)
    settings = {"DEPLOYER_DATABASE_URL": postgres_url, "DEPLOYER_LEASE": "2", "DEPLOYER_POLL_EVERY": "0.3"}
    async with a_stage(nursery, DockerStage, DEPLOYER_DOCKER_URL=docker_url, **settings) as stage:
        owner, partner = stage.deployer, a_partner(nursery, stage)
        await asyncio.to_thread(partner.start)
        await stage.edge.kill()
        stage.edge = stage.new_edge(partner)  # the one that lives on
        await stage.edge.start()
        await stage.open(story)

        async def kill(play: Play) -> None:
            assert await play.until_told(reason)
            owner.kill()
            stage.deployer = partner

        try:
            _, wrongs = await stage.play(story, kill)
        finally:
            partner.kill()
            partner.close()  # its supervisord outlives it
            stage.deployer = owner

    assert wrongs == []


async def test_a_container_that_somebody_removes_is_there_again(
    nursery: Nursery,
    docker_url: str,  # noqa: F811  # the fixture
) -> None:
    story = replace(a_boxed_story(docker_url), strategy=WAITING)
    async with a_stage(nursery, DockerStage, DEPLOYER_DOCKER_URL=docker_url) as stage:
        await stage.open(story)

        async def remove(play: Play) -> None:
            old = stage.standing[story.name]
            assert await play.until_told("PAUSED")
            async with play.requests.held():
                docker("rm", "--force", next(name for name, one in stage.pids(story.name).items() if one == old))
                while stage.replicas(story.name)[old] < REPLICAS:  # noqa: ASYNC110  # the engine is asked
                    await asyncio.sleep(0.05)
            await promote(play)

        _, wrongs = await stage.play(story, remove)

    expected = ("got 503", "DRIFT_CORRECTED was told")  # until it is up again its share is lost
    assert [wrong for wrong in wrongs if not any(words in wrong for words in expected)] == []


# ---- the engine -----------------------------------------------------------------------------------------------------


@pytest.mark.needs("docker")
@pytest.mark.parametrize("live_restore", [True, False], ids=["containers run on", "containers end"])
async def test_a_rollout_goes_on_when_the_engine_has_started_again(nursery: Nursery, live_restore: bool) -> None:
    with private_engine(live_restore=live_restore) as engine:
        image = import_tiny_image(engine.url)
        async with a_stage(nursery, DockerStage, DEPLOYER_DOCKER_URL=engine.url) as stage:
            boxed = {"platform": "WORKLOAD_PLATFORM_DOCKER", "image": image, "command": ["sleep", "1000"]}
            rollout = {"workload": {"workload": "boxed", "replicas": REPLICAS, "grace": "1s", **boxed}, **WAITING}
            step = {"name": "roll", "rollout": {**rollout, "minHealthyTime": "0.1s"}}
            await stage.insist(lambda client: register(client, a_pipeline("boxed", step)))
            first = await stage.ended(await stage.deploy("boxed", "1.0"))
            assert status_of(first) == "SUCCEEDED", first.message

            name = await stage.deploy("boxed", "1.1")
            await stage.until(name, lambda found: status_of(found) == "PAUSED")
            await asyncio.to_thread(engine.restart)
            helper = asyncio.create_task(stage.help(RolloutStory("boxed", WAITING, is_promoted=True), name))
            done = await stage.ended(name)
            helper.cancel()

            # Where its replicas ended with the engine, it depends on who looks first whether the new version has died.
            right = {"SUCCEEDED": "1.1"} if live_restore else {"SUCCEEDED": "1.1", "ROLLED_BACK": "1.0"}
            assert status_of(done) in right, done.message
            assert await stage.settled("boxed", right[status_of(done)]) == {right[status_of(done)]: REPLICAS}
