"""Which snapshots are meant."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from opsuite_kernel.errors import Conflict, InvalidInput, NotFound
from opsuite_repository.choosing import (
    ANY,
    GroupBy,
    GroupKey,
    Saved,
    SnapshotFilter,
    grouped,
    latest,
    newest_first,
    one,
    parse_group_by,
    parse_tags,
    some,
)
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.format.times import from_datetime


def saved(id_: str, day: int, host: str = "web", paths: tuple[str, ...] = ("/a",), tags: tuple[str, ...] = ()) -> Saved:
    time = from_datetime(datetime(2024, 1, day, tzinfo=UTC))
    return Saved(id_, Snapshot(time=time, tree=bytes(32), paths=paths, hostname=host, tags=tags))


OLD = saved("aa11", 1, tags=("x",))
MIDDLE = saved("aa22", 2, host="db", paths=("/a", "/b"))
NEW = saved("bb33", 3, paths=("/b",), tags=("y", "x"))
ALL = [MIDDLE, NEW, OLD]


def test_the_newest_comes_first_and_equal_times_in_the_order_of_ids() -> None:
    twin = saved("aa00", 2)

    assert newest_first([*ALL, twin]) == [NEW, twin, MIDDLE, OLD]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (ANY, [OLD, MIDDLE, NEW]),
        (SnapshotFilter(hosts=("web",)), [OLD, NEW]),
        (SnapshotFilter(hosts=("web", "db")), [OLD, MIDDLE, NEW]),
        (SnapshotFilter(paths=("/a",)), [OLD, MIDDLE]),
        (SnapshotFilter(paths=("/a", "/b")), [MIDDLE]),
        (SnapshotFilter(tags=(("x",),)), [OLD, NEW]),
        (SnapshotFilter(tags=(("x", "y"),)), [NEW]),
        (SnapshotFilter(tags=(("y",), ("",))), [MIDDLE, NEW]),
        (SnapshotFilter(until=datetime(2024, 1, 2, tzinfo=UTC)), [OLD, MIDDLE]),
        (SnapshotFilter(hosts=("web",), paths=("/b",)), [NEW]),
    ],
)
def test_conditions_choose(wanted: SnapshotFilter, found: list[Saved]) -> None:
    assert some(ALL, (), wanted) == found


def test_latest_is_the_newest_that_fits() -> None:
    assert latest(ALL) == NEW
    assert latest(ALL, SnapshotFilter(hosts=("db",))) == MIDDLE
    with pytest.raises(NotFound):
        latest(ALL, SnapshotFilter(hosts=("nobody",)))


def test_a_beginning_is_enough_when_it_is_one_of_one() -> None:
    assert one(ALL, "bb") == (NEW, b"")
    assert one(ALL, "aa1:/etc/x") == (OLD, b"/etc/x")
    assert one(ALL, "latest:/etc", SnapshotFilter(hosts=("db",))) == (MIDDLE, b"/etc")
    with pytest.raises(Conflict):
        one(ALL, "aa")
    for typed in ("cc", "", ":/etc"):
        with pytest.raises(NotFound):
            one(ALL, typed)


def test_named_ones_are_given_once_and_oldest_first() -> None:
    assert some(ALL, ("bb", "aa1", "bb33", "latest"), ANY) == [OLD, NEW]


@pytest.mark.parametrize("typed", [("aa1:/etc",), ("latest:/etc",)])
def test_folders_are_refused_where_whole_snapshots_are_meant(typed: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput):
        some(ALL, typed, ANY)


def test_conditions_without_effect_are_refused() -> None:
    with pytest.raises(InvalidInput):
        some(ALL, ("aa1",), SnapshotFilter(hosts=("db",)))


def test_groups_have_in_common_what_was_asked_for() -> None:
    turned = saved("cc44", 4, host="db", paths=("/b", "/a"))

    assert grouped([*ALL, turned], {GroupBy.HOST, GroupBy.PATHS}) == {
        GroupKey("db", ("/a", "/b")): [MIDDLE, turned],
        GroupKey("web", ("/a",)): [OLD],
        GroupKey("web", ("/b",)): [NEW],
    }
    assert list(grouped(ALL, {GroupBy.TAGS})) == [GroupKey(), GroupKey(tags=("x",)), GroupKey(tags=("x", "y"))]


def test_groups_are_written_with_commas() -> None:
    assert parse_group_by("host,paths") == parse_group_by("path,hosts") == {GroupBy.HOST, GroupBy.PATHS}
    assert parse_group_by("") == frozenset()
    with pytest.raises(InvalidInput):
        parse_group_by("host,colour")


def test_tags_are_written_with_commas() -> None:
    assert parse_tags(" a, b ") == ("a", "b")
    assert parse_tags("") == ("",)
