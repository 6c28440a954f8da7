"""A deployer that is killed at every place where something has just been recorded, or is about to be."""

from __future__ import annotations

import random
import shutil
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import docker_url, tiny_image  # noqa: F401  # fixtures
from fakes.pipelines import a_gate, a_pipeline, a_stage, a_wait
from fakes.promises import die_at, points_hit
from fakes.warm_deployer import Nursery, a_nursery
from fakes.worlds import Fault, Story, World, a_boxed_effect, an_effect
from postgres import Cluster

import opsuite_deployer.composition  # noqa: F401 - declares its fault points
from opsuite_runs import faults

SEED = 7401


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with a_nursery() as nursery:
        yield nursery


@pytest.fixture(scope="module")
def world(nursery: Nursery) -> Iterator[World]:
    """Deployers on SQLite."""
    directory = Path(tempfile.mkdtemp(prefix="opsuite-"))
    yield World(nursery, directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def world_of_postgres(nursery: Nursery, postgres_cluster: Cluster) -> Iterator[World]:
    """Deployers on PostgreSQL, where who comes next has to wait for the lease to run out."""
    directory = Path(tempfile.mkdtemp(prefix="opsuite-"))
    yield World(nursery, directory, postgres_cluster)
    shutil.rmtree(directory)


def ten_steps(*, idempotent: bool = False) -> Story:
    """Ten steps, one after the other, in three stages."""
    steps = [an_effect(f"step-{number}", idempotent=idempotent) for number in range(10)]
    stages = (a_stage("one", *steps[:3]), a_stage("two", *steps[3:7]), a_stage("three", *steps[7:]))
    return Story(a_pipeline("ten", *stages), {"2.0.0": "SUCCEEDED"})


STORIES = {
    "ten steps": ten_steps(),
    "ten steps that may run twice": ten_steps(idempotent=True),
    "a rollback": Story(
        a_pipeline(
            "back",
            a_stage("work", an_effect("copy", idempotent=True), an_effect("switch", "fail", "2.0.0", idempotent=True)),
        ),
        {"1.0.0": "SUCCEEDED", "2.0.0": "ROLLED_BACK"},
        before=("1.0.0",),
    ),
    "a rollback that fails": Story(
        a_pipeline(
            "spoilt",
            a_stage("work", an_effect("copy", idempotent=True), an_effect("switch", "spoil", "2.0.0", idempotent=True)),
        ),
        {"1.0.0": "FAILED", "2.0.0": "ROLLBACK_FAILED"},
        before=("1.0.0",),
    ),
    "a rollback that may not run twice": Story(
        a_pipeline("once", a_stage("work", an_effect("copy"), an_effect("switch", "fail", "2.0.0"))),
        {"1.0.0": "SUCCEEDED", "2.0.0": "ROLLED_BACK"},
        before=("1.0.0",),
    ),
    "steps at once": Story(
        a_pipeline(
            "wide",
            a_stage("work", *(an_effect(f"part-{n}", idempotent=n < 2) for n in range(4)), parallel=True),
            a_stage("last", an_effect("sum")),
        ),
        {"2.0.0": "SUCCEEDED"},
        is_racy=True,
    ),
    "a cancel": Story(
        a_pipeline("stopped", a_stage("work", an_effect("first"), an_effect("long", "hold"), an_effect("never"))),
        {"2.0.0": "CANCELLED"},
        cancel_at="long",
        is_racy=True,
    ),
    "a queue": Story(
        a_pipeline("queue", a_stage("work", an_effect("only"))),
        {"2.0.0": "SUCCEEDED", "3.0.0": "SUCCEEDED"},
        versions=("2.0.0", "3.0.0"),
    ),
}


class Hello(socketserver.BaseRequestHandler):
    """Answers whoever connects by hanging up."""

    def handle(self) -> None:
        pass


@pytest.fixture(scope="module")
def checked() -> Iterator[Story]:
    """Waits and health checks, which anybody may ask again."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        check = {"name": "answers", "tcp": {"address": f"127.0.0.1:{server.server_address[1]}"}, "interval": "0.02s"}
        steps = [a_wait("rest", 0.1), {"name": "ask", "healthCheck": check}, an_effect("go", idempotent=True)]
        stage = a_stage("work", *steps, gates=[a_gate("well", check)])
        yield Story(a_pipeline("checked", stage), {"2.0.0": "SUCCEEDED"})
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def boxed(docker_url: str, tiny_image: str) -> Story:  # noqa: F811 - the fixtures
    """Containers, which run on while the deployer is dead."""
    steps = [
        a_boxed_effect("box", tiny_image),
        an_effect("between", idempotent=True),
        a_boxed_effect("last", tiny_image),
    ]
    return Story(
        a_pipeline("boxed", a_stage("work", *steps)),
        {"2.0.0": "SUCCEEDED"},
        is_racy=True,
        settings={"DEPLOYER_DOCKER_URL": docker_url},
    )


MADE: dict[str, str] = {"waits and checks": "checked", "containers": "boxed"}
"""Stories that need something to be there first, by the fixture that tells them."""


@pytest.fixture(params=[*STORIES, *MADE])
def story(request: pytest.FixtureRequest) -> Story:
    """Each story."""
    told: Story = STORIES.get(request.param) or request.getfixturevalue(MADE[request.param])
    return told


def sampled(hits: list[Fault], count: int) -> list[Fault]:
    """Some hits, of as many points as there are; the same on every run."""
    chance = random.Random(SEED)
    by_point = {point: [hit for hit in hits if hit.point == point] for point in sorted({hit.point for hit in hits})}
    one_each = [chance.choice(some) for some in by_point.values()]
    chance.shuffle(one_each)
    more = chance.sample(hits, len(hits))
    return [*one_each, *more][:count]


def sampled_pairs(hits: list[Fault], count: int) -> list[tuple[Fault, Fault]]:
    """A death and another soon after the start that follows it."""
    chance = random.Random(SEED)
    soon = [hit for hit in hits if hit.hit <= 5]
    return [(chance.choice(hits), chance.choice(soon)) for _ in range(count)]


SAMPLED = {"ten steps": 10, "a rollback": 8}


async def test_every_fault_point_of_the_deployer_lies_on_the_way_of_ten_steps(world: World) -> None:
    hits = await points_hit(world, STORIES["ten steps"])

    assert {hit.point for hit in hits} == {name for name in faults.declared() if name.startswith("deployer.")}


async def test_whatever_a_deployer_dies_of_its_deployments_end_or_wait_for_a_person(
    world: World, story: Story, request: pytest.FixtureRequest
) -> None:
    hits = sampled(await points_hit(world, story), SAMPLED.get(request.node.callspec.params["story"], 3))

    assert await die_at(world, story, [[hit] for hit in hits]) == []


@pytest.mark.parametrize("name", ["ten steps", "a rollback"])
async def test_so_it_is_when_it_dies_again_while_it_recovers(world: World, name: str) -> None:
    story = STORIES[name]
    hits = await points_hit(world, story)

    assert await die_at(world, story, sampled_pairs(hits, 4)) == []


@pytest.mark.parametrize("name", ["ten steps", "a rollback"])
async def test_so_it_is_on_postgresql(world_of_postgres: World, name: str) -> None:
    story = STORIES[name]
    hits = sampled(await points_hit(world_of_postgres, story), 6)

    assert await die_at(world_of_postgres, story, [[hit] for hit in hits], at_once=6) == []


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_no_hit_of_any_fault_point_loses_or_repeats_anything(world: World, story: Story) -> None:
    hits = await points_hit(world, story)

    assert await die_at(world, story, [[hit] for hit in hits]) == []


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_no_two_deaths_in_a_row_lose_or_repeat_anything(world: World, story: Story) -> None:
    hits = await points_hit(world, story)

    assert await die_at(world, story, sampled_pairs(hits, 40)) == []


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_no_hit_loses_or_repeats_anything_on_postgresql(world_of_postgres: World, story: Story) -> None:
    hits = await points_hit(world_of_postgres, story)

    assert await die_at(world_of_postgres, story, [[hit] for hit in hits], at_once=6) == []
