"""Rollouts behind a real Envoy, under requests, with a deployer that is killed wherever it may be."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from fakes.rollout_stage import STORIES, RolloutStory, a_stage, points_hit
from fakes.warm_deployer import Nursery, a_nursery
from fakes.worlds import Fault

SEED = 7402
POINTS = ("rollout.want_recorded", "rollout.replicas_asked", "rollout.route_asked", "rollout.want_realised")


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with a_nursery() as nursery:
        yield nursery


@pytest.fixture(params=STORIES, ids=lambda story: story.name)
def story(request: pytest.FixtureRequest) -> RolloutStory:
    told: RolloutStory = request.param
    return told


def sampled(hits: list[Fault], story: RolloutStory, count: int) -> list[Fault]:
    """Some hits of the rollout's own points; the same on every run, others for each story."""
    chance = random.Random(f"{SEED} {story.name}")
    return chance.sample([hit for hit in hits if hit.point in POINTS], count)


async def died_at(nursery: Nursery, story: RolloutStory, count: int | None) -> list[str]:
    """Play a story once for each hit, or for some; everything that was wrong in any."""
    found = []
    async with a_stage(nursery) as stage:
        await stage.open(story)
        hits = await points_hit(stage, story)
        assert set(POINTS) <= {hit.point for hit in hits}
        deaths = 0
        for hit in hits if count is None else sampled(hits, story, count):
            told, wrongs = await stage.die(story, hit)
            deaths += told.deaths
            found += [f"{hit}: {wrong}" for wrong in wrongs]
        assert deaths, "nobody died"
    return found


async def test_wherever_a_deployer_dies_its_rollout_ends_right_and_no_request_is_lost(
    nursery: Nursery, story: RolloutStory
) -> None:
    assert await died_at(nursery, story, 2) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_no_hit_of_any_fault_point_harms_a_rollout(nursery: Nursery, story: RolloutStory) -> None:
    assert await died_at(nursery, story, None) == []
