"""Metrics that are handed in, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from fakes.clock import NOON

from opsuite_kernel.errors import Unavailable
from opsuite_scaler.adapters.points import NewPoint, Points
from opsuite_scaler.adapters.sources.pushed import Point
from opsuite_scaler.composition import MIGRATIONS
from opsuite_storage.migrations import migrate
from opsuite_storage.store import Store

SECOND = timedelta(seconds=1)


@pytest.fixture
async def points(store: Store) -> Points:
    await migrate(store, MIGRATIONS)
    return Points(store)


def a_point(value: float, *, metric: str = "jobs", member: str = "", age: timedelta = timedelta(0)) -> NewPoint:
    return NewPoint(metric, member, value, NOON - age)


async def test_the_newest_point_of_a_series_is_kept_whatever_the_order(points: Points) -> None:
    assert await points.put([a_point(1, age=2 * SECOND), a_point(3), a_point(2, age=SECOND)]) == 1
    assert await points.put([a_point(4, age=SECOND)]) == 0

    assert await points.latest("jobs") == [Point("", 3, NOON)]


async def test_each_member_is_a_series_of_its_own(points: Points) -> None:
    assert await points.put([a_point(1, member="a"), a_point(2, member="b"), a_point(9, metric="other")]) == 3

    assert await points.latest("jobs") == [Point("a", 1, NOON), Point("b", 2, NOON)]


async def test_what_was_never_handed_in_has_no_points(points: Points) -> None:
    assert list(await points.latest("nothing")) == []


async def test_questions_that_come_together_are_one_question_to_the_database(
    points: Points, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    await points.put([a_point(1, metric="one"), a_point(2, metric="two")])
    asked = 0
    read = store.read

    async def counting(*given: object, **named: object) -> object:
        nonlocal asked
        asked += 1
        return await read(*given, **named)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(store, "read", counting)
    found: Sequence[Sequence[Point]] = await asyncio.gather(*(points.latest(name) for name in ("one", "two", "one")))

    assert [[point.value for point in each] for each in found] == [[1], [2], [1]]
    assert asked == 1


async def test_all_who_asked_hear_that_the_database_is_away(
    points: Points, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    async def away(*_: object, **__: object) -> object:
        raise Unavailable("away")

    monkeypatch.setattr(store, "read", away)
    answers = await asyncio.gather(points.latest("one"), points.latest("two"), return_exceptions=True)

    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]


async def test_series_that_nobody_hands_in_any_more_are_forgotten(points: Points) -> None:
    await points.put([a_point(1, metric="old", age=timedelta(days=2)), a_point(2, metric="new")])

    assert await points.forget_before(NOON - timedelta(days=1)) == 1
    assert list(await points.latest("old")) == []
    assert list(await points.latest("new")) == [Point("", 2, NOON)]
