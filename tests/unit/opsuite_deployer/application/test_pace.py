"""How soon a rollout is looked at again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsuite_deployer.application.pace import LOOK_AGAIN, LOOK_EVERY, Pace
from opsuite_deployer.application.rollout_link import RolloutLink
from opsuite_deployer.domain.rollout_words import Want

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG = timedelta(minutes=4)


def wants(replicas: int) -> Want:
    return Want(replicas={"web-1": replicas})


def test_after_something_new_is_wanted_looks_follow_quickly_and_then_less_and_less_so() -> None:
    pace = Pace()
    pauses = []

    for want in [wants(1), *[wants(2)] * 6]:
        pace.wanted(want)
        pauses.append(pace.pause(NOON, None))

    assert pauses[:4] == [LOOK_AGAIN, LOOK_AGAIN, 2 * LOOK_AGAIN, 4 * LOOK_AGAIN]
    assert pauses[-1] == LOOK_EVERY


def test_who_is_out_of_reach_is_not_pressed() -> None:
    pace = Pace()

    pace.wanted(wants(1))
    pace.missed()

    assert pace.pause(NOON, None) == LOOK_EVERY


@pytest.mark.parametrize(
    ("wake_in", "pause"),
    [
        (timedelta(milliseconds=5), timedelta(milliseconds=5)),
        (timedelta(seconds=-1), timedelta(0)),
        (LONG, LOOK_EVERY),
    ],
)
def test_the_next_look_is_no_later_than_it_is_due(wake_in: timedelta, pause: timedelta) -> None:
    assert Pace().pause(NOON, NOON + wake_in) == pause


async def test_news_that_come_while_somebody_looks_end_the_wait_that_follows() -> None:
    seen: Any = None  # what was seen and what is wanted is only passed on
    link = RolloutLink(lambda _: link.answer(seen))

    link.wake()
    await link.report(seen)

    async with asyncio.timeout(30):
        await link.wait(LONG)


async def test_news_end_one_wait_only() -> None:
    link = RolloutLink(lambda _: None)

    link.wake()
    await link.wait(LONG)
    reported = link._news.is_set()

    assert not reported
