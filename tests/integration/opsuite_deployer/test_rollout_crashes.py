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
MOST_LOOKS = 2
"""How often a life looks at its rollout at most: four such lives are shorter than any of the stories."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with a_nursery() as nursery:
        yield nursery


@pytest.fixture(params=STORIES, ids=lambda story: story.name)
def story(request: pytest.FixtureRequest) -> RolloutStory:
    told: RolloutStory = request.param
    return told


async def test_wherever_a_deployer_dies_its_rollout_ends_right_and_no_request_is_lost(
    nursery: Nursery, story: RolloutStory
) -> None:
    """One rollout, in which a deployer dies at each of the rollout's own points, the one after the other."""
    async with a_stage(nursery) as stage:
        await stage.open(story)
        told, wrongs = await stage.die(story, *sampled(story))

    assert wrongs == []
    assert told.deaths >= len(POINTS) - 1  # on a slow machine one look sees more, and it may be over before the last


def sampled(story: RolloutStory) -> list[Fault]:
    """An early hit of each point; the same on every run, others for each story."""
    chance = random.Random(f"{SEED} {story.name}")
    return [Fault(point, chance.randint(1, MOST_LOOKS)) for point in chance.sample(POINTS, len(POINTS))]


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_no_hit_of_any_fault_point_harms_a_rollout(nursery: Nursery, story: RolloutStory) -> None:
    """One rollout for each hit."""
    found = []
    deaths = 0
    async with a_stage(nursery) as stage:
        await stage.open(story)
        hits = await points_hit(stage, story)
        assert set(POINTS) <= {hit.point for hit in hits}
        for hit in hits:
            told, wrongs = await stage.die(story, hit)
            deaths += told.deaths
            found += [f"{hit}: {wrong}" for wrong in wrongs]

    assert found == []
    assert deaths > len(hits) / 2  # how often a rollout is looked at differs, so some hits never come
