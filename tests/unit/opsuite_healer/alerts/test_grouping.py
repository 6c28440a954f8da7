"""When a group is told, and why: expected verdicts of Alertmanager's rules, and what always holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest
from fakes.clock import NOON
from fakes.healer_alerts import a_member, at, minutes, seconds
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.alerts.grouping import FlushReason, Member, Told, first_look, flush
from opsuite_healer.domain.alerts.routing import Way

WAY = Way(receivers=("duty",))
NEVER = None
KNOWN = Told.FIRING


@pytest.mark.parametrize(
    ("members", "notified", "reason"),
    [
        ([a_member("a")], NEVER, FlushReason.FIRST),
        ([a_member("a", "quiet")], NEVER, FlushReason.ALL_QUIET),
        ([a_member("a", "over")], NEVER, FlushReason.NEVER_TOLD),
        ([a_member("a", "firing", KNOWN)], at(-300), FlushReason.NOTHING_NEW),
        ([a_member("a", "firing", KNOWN), a_member("b")], at(-300), FlushReason.NEW_ALERTS),
        ([a_member("a", "firing", KNOWN), a_member("b", "quiet")], at(-300), FlushReason.NOTHING_NEW),
        ([a_member("a", "firing", KNOWN), a_member("b", "over", KNOWN)], at(-300), FlushReason.RESOLVED),
        ([a_member("a", "firing", KNOWN), a_member("b", "over")], at(-300), FlushReason.NOTHING_NEW),
        ([a_member("a", "over", KNOWN)], at(-300), FlushReason.RESOLVED),
        ([a_member("a", "over quiet", KNOWN)], at(-300), FlushReason.NOTHING_NEW),
        ([a_member("a", "firing", Told.QUIET)], at(-300), FlushReason.NO_LONGER_QUIET),
        ([a_member("a", "over", Told.QUIET)], at(-300), FlushReason.RESOLVED),
        ([a_member("a", "firing", KNOWN)], at(-4 * 3600 + 1), FlushReason.NOTHING_NEW),
        ([a_member("a", "firing", KNOWN)], at(-4 * 3600), FlushReason.REPEATED),
        ([a_member("a", "quiet", KNOWN)], at(-4 * 3600), FlushReason.ALL_QUIET),
    ],
)
def test_a_look_tells_for_a_reason_or_says_why_not(
    members: Sequence[Member], notified: datetime | None, reason: FlushReason
) -> None:
    assert flush(WAY, members, notified, NOON).reason is reason


def test_a_look_tells_what_goes_on_and_what_is_over() -> None:
    members = [a_member("a"), a_member("b", "over", KNOWN), a_member("c", "quiet", KNOWN), a_member("d", "over")]

    found = flush(WAY, members, at(-300), NOON)

    assert (found.firing, found.resolved, found.quiet) == (("a",), ("b",), ("c",))
    assert found.now_told == {"a": Told.FIRING, "c": Told.QUIET}
    assert found.gone == ("b", "d")
    assert found.next_at == NOON + minutes(5)


def test_a_group_of_which_nothing_goes_on_is_over() -> None:
    assert flush(WAY, [a_member("a", "over", KNOWN)], at(-300), NOON).next_at is None
    assert flush(WAY, [], at(-300), NOON).next_at is None


def test_a_route_may_keep_the_end_of_alerts_for_itself() -> None:
    found = flush(Way(receivers=("duty",), tells_resolved=False), [a_member("a", "over", KNOWN)], at(-300), NOON)

    assert (found.is_told, found.resolved, found.gone) == (False, (), ("a",))


def test_a_route_without_receivers_tells_nobody_and_remembers_that() -> None:
    members = [a_member("a"), a_member("b", "over", KNOWN)]

    found = flush(Way(), members, NEVER, NOON)

    assert (found.is_told, found.reason, found.now_told) == (False, FlushReason.NOBODY_TO_TELL, {})
    assert flush(WAY, members[:1], NEVER, NOON).reason is FlushReason.FIRST


@pytest.mark.parametrize(
    ("starts", "created", "looked"),
    [(0, 0, 30), (-10, 0, 30), (-29, 0, 30), (-31, 0, 0), (-3600, 0, 0), (60, 0, 30)],
)
def test_a_group_waits_for_more_unless_its_alert_is_older_than_that(starts: int, created: int, looked: int) -> None:
    assert first_look(WAY, at(starts), at(created)) == at(looked)


_MEMBERS = st.lists(
    st.builds(
        Member,
        st.uuids().map(lambda one: one.hex),
        st.booleans(),
        st.booleans(),
        st.sampled_from(list(Told)),
    ),
    max_size=8,
    unique_by=lambda one: one.fingerprint,
)


@given(_MEMBERS, st.one_of(st.none(), st.integers(-20_000, 0).map(at)))
def test_every_member_is_told_quiet_or_gone_and_nobody_hears_of_what_is_quiet(
    members: list[Member], notified: datetime | None
) -> None:
    found = flush(WAY, members, notified, NOON)
    names = {one.fingerprint for one in members}

    assert set(found.firing) | set(found.quiet) | set(found.gone) == names
    assert not set(found.firing) & set(found.quiet)
    hidden = {one.fingerprint for one in members if one.is_quiet}
    assert not hidden & (set(found.firing) | set(found.resolved))
    if found.is_told:
        assert found.firing or found.resolved


@given(_MEMBERS, st.one_of(st.none(), st.integers(-20_000, 0).map(at)))
def test_what_was_told_is_not_news_at_the_next_look(members: list[Member], notified: datetime | None) -> None:
    first = flush(WAY, members, notified, NOON)
    left = [
        Member(one.fingerprint, one.is_firing, one.is_quiet, first.now_told.get(one.fingerprint, one.told))
        for one in members
        if one.fingerprint not in first.gone
    ]

    again = flush(WAY, left, NOON if first.is_told else notified, NOON + seconds(300))

    if first.is_told:
        assert not again.is_told
