"""Which snapshots policies keep. What restic says of thousands of histories is compared in the integration tests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from opsuite_kernel.errors import InvalidInput
from opsuite_repository.choosing import GroupBy, GroupKey, Saved
from opsuite_repository.forgetting import NothingKept, plan_groups
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.format.times import from_datetime
from opsuite_repository.periods import Span
from opsuite_repository.retention import UNLIMITED, Policy, plan

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


def a_snapshot(
    time: datetime, *, host: str = "web", paths: tuple[str, ...] = ("/srv",), tags: tuple[str, ...] = ()
) -> Saved:
    snapshot = Snapshot(time=from_datetime(time), tree=bytes(32), paths=paths, hostname=host, tags=tags)
    return Saved(f"{time:%Y%m%d%H%M%S}{host}", snapshot)


def every(step: timedelta, count: int) -> list[Saved]:
    """So many snapshots, the newest an hour ago."""
    return [a_snapshot(NOW - timedelta(hours=1) - number * step) for number in range(count)]


def kept(snapshots: Iterable[Saved], policy: Policy) -> dict[str, tuple[str, ...]]:
    return {
        f"{verdict.saved.snapshot.time.to_datetime():%m-%d %H}": verdict.reasons
        for verdict in plan(snapshots, policy, now=NOW)
        if verdict.keep
    }


def test_verdicts_come_newest_first_whatever_the_order_was() -> None:
    snapshots = every(timedelta(hours=7), 9)

    verdicts = plan(snapshots[::2] + snapshots[1::2], Policy(last=1), now=NOW)

    assert [verdict.saved for verdict in verdicts] == snapshots
    assert [verdict.keep for verdict in verdicts] == [True] + [False] * 8


def test_the_newest_of_each_day_stays_and_the_oldest_of_all_while_days_are_left() -> None:
    found = kept(every(timedelta(hours=9), 6), Policy(daily=5))

    assert found == {
        "06-01 11": ("daily snapshot",),
        "05-31 17": ("daily snapshot",),
        "05-30 23": ("daily snapshot",),
        "05-30 14": ("oldest daily snapshot",),
    }


def test_what_is_full_keeps_no_oldest() -> None:
    assert list(kept(every(timedelta(hours=9), 6), Policy(daily=2))) == ["06-01 11", "05-31 17"]


def test_unlimited_keeps_one_of_each_period_for_ever() -> None:
    verdicts = plan(every(timedelta(days=1), 400), Policy(monthly=UNLIMITED), now=NOW)

    assert sum(verdict.keep for verdict in verdicts) == 16  # 15 months, and the oldest


def test_a_span_ends_just_before_its_moment() -> None:
    snapshots = every(timedelta(days=1), 4)

    assert list(kept(snapshots, Policy(within=Span(days=2)))) == ["06-01 11", "05-31 11"]


def test_spans_count_from_the_newest_that_is_not_in_the_future() -> None:
    future, *past = [a_snapshot(NOW + timedelta(days=300)), *every(timedelta(days=10), 3)]

    found = plan([future, *past], Policy(within=Span(days=11)), now=NOW)

    assert [verdict.keep for verdict in found] == [True, True, True, False]


def test_a_host_that_has_been_off_for_years_loses_nothing() -> None:
    old = [a_snapshot(datetime(2001, 1, day, tzinfo=UTC)) for day in (1, 2)]

    assert len(kept(old, Policy(within=Span(days=30)))) == 2


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((("a",),), ["06-01 11", "05-31 11"]),
        ((("a", "b"),), ["05-31 11"]),
        ((("b",), ("c",)), ["05-31 11", "05-30 11"]),
        ((("",),), ["05-29 11"]),
    ],
)
def test_tags_keep_what_has_all_of_one_list(wanted: tuple[tuple[str, ...], ...], expected: list[str]) -> None:
    tags = [("a",), ("a", "b"), ("c",), ()]
    snapshots = [a_snapshot(NOW - timedelta(hours=1, days=days), tags=each) for days, each in enumerate(tags)]

    assert list(kept(snapshots, Policy(tags=wanted))) == expected


def test_reasons_are_those_of_every_rule() -> None:
    found = kept(every(timedelta(hours=1), 1), Policy(last=1, yearly=1, within=Span(1), within_weekly=Span(months=2)))

    assert list(found.values()) == [("within 1y", "last snapshot", "yearly snapshot", "weekly within 2m")]


@pytest.mark.parametrize("policy", [{"last": -2}, {"yearly": -7}, {"within_daily": Span(days=-1)}])
def test_numbers_below_unlimited_are_refused(policy: dict[str, int]) -> None:
    with pytest.raises(InvalidInput):
        Policy(**policy)  # type: ignore[arg-type]  # wrong on purpose


def test_an_empty_policy_is_none() -> None:
    assert not Policy()
    assert Policy(last=1)
    assert Policy(tags=(("a",),))


def test_each_host_and_set_of_paths_is_judged_by_itself() -> None:
    snapshots = [
        a_snapshot(NOW - timedelta(days=days), host=host, paths=paths)
        for days in range(1, 4)
        for host, paths in (("web", ("/b", "/a")), ("web", ("/a",)), ("db", ("/a",)))
    ]

    plans = plan_groups(snapshots, Policy(last=1), now=NOW)

    assert [each.key for each in plans] == [
        GroupKey("db", ("/a",)), GroupKey("web", ("/a",)), GroupKey("web", ("/a", "/b")),
    ]  # fmt: skip
    assert [(len(each.kept), len(each.removed)) for each in plans] == [(1, 2)] * 3
    (together,) = plan_groups(snapshots, Policy(last=1), now=NOW, by=())
    assert (len(together.kept), str(together.key)) == (1, "all snapshots")


def test_a_policy_that_would_leave_nothing_of_a_group_is_refused() -> None:
    snapshots = [*every(timedelta(days=1), 3), a_snapshot(NOW - timedelta(days=1), host="db", tags=("keep",))]

    with pytest.raises(NothingKept) as refused:
        plan_groups(snapshots, Policy(tags=(("keep",),)), now=NOW, by={GroupBy.HOST})

    assert refused.value.key == GroupKey("web")
    assert all(not each.kept for each in plan_groups(snapshots, Policy(), now=NOW))
