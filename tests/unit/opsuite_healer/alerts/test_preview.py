"""Stories and what people would hear, minute by minute; and what holds for every story."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from fakes.healer_alerts import a_route, a_router, a_rule, a_silence, at, minutes, seconds
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.alerts import preview
from opsuite_healer.domain.alerts.inhibition import Scope
from opsuite_healer.domain.alerts.preview import Look, Played, play
from opsuite_healer.domain.alerts.routing import Router
from opsuite_healer.domain.alerts.silences import Silence

DAY = timedelta(days=1)


def an_alert(start: float, end: float | None = None, name: str = "Down", **labels: str) -> Played:
    return Played({"alertname": name, **labels}, at(start), None if end is None else at(end))


def heard(
    alerts: Sequence[Played],
    silences: Sequence[Silence] = (),
    router: Router | None = None,
    duration: timedelta = timedelta(hours=1),
) -> list[tuple[int, str, int, int]]:
    """When people hear, why, and of how many that go on and that are over."""
    looks, _ = play(router or a_router(), alerts, silences, duration)
    return [
        (
            round((look.at - at(0)).total_seconds()),
            look.flush.reason.value,
            len(look.flush.firing),
            len(look.flush.resolved),
        )
        for look in looks
        if look.flush.is_told
    ]


@pytest.mark.parametrize(
    ("alerts", "told"),
    [
        # one alert: after group_wait
        ([an_alert(0)], [(30, "first", 1, 0)]),
        # more within group_wait are told with it, later ones at the next look
        (
            [an_alert(0, job="a"), an_alert(20, job="b"), an_alert(40, job="c")],
            [(30, "first", 2, 0), (330, "new alerts", 3, 0)],
        ),
        # its end is told at the look after it
        ([an_alert(0, 100)], [(30, "first", 1, 0), (330, "resolved", 0, 1)]),
        # one that is over within group_wait is never told
        ([an_alert(0, 20)], []),
        # it comes back before its end was told: nobody heard that it was gone
        ([an_alert(0, 100), an_alert(200)], [(30, "first", 1, 0)]),
        # it comes back after that: it is news
        ([an_alert(0, 100), an_alert(400)], [(30, "first", 1, 0), (330, "resolved", 0, 1), (430, "first", 1, 0)]),
        # two groups, each by itself
        ([an_alert(0), an_alert(10, name="Slow")], [(30, "first", 1, 0), (40, "first", 1, 0)]),
    ],
)
def test_people_hear_at_the_times_of_alertmanager(
    alerts: Sequence[Played], told: list[tuple[int, str, int, int]]
) -> None:
    assert heard(alerts) == told


def test_what_does_not_change_is_told_again_every_four_hours() -> None:
    assert heard([an_alert(0)], duration=DAY)[:3] == [
        (30, "first", 1, 0),
        (30 + 4 * 3600, "repeated", 1, 0),
        (30 + 8 * 3600, "repeated", 1, 0),
    ]


def test_repeating_is_rounded_up_to_the_next_look() -> None:
    router = a_router(group_interval=minutes(5), repeat_interval=minutes(7))

    assert heard([an_alert(0)], router=router, duration=minutes(22)) == [
        (30, "first", 1, 0),
        (630, "repeated", 1, 0),
        (1230, "repeated", 1, 0),
    ]


@pytest.mark.parametrize(
    ("silences", "told"),
    [
        ([a_silence(end=600)], [(600, "first", 1, 0)]),  # at once when it ends
        ([a_silence(start=-100, end=20)], [(30, "first", 1, 0)]),
        ([a_silence(start=100, end=700)], [(30, "first", 1, 0), (700, "no longer quiet", 1, 0)]),
        ([a_silence('alertname="Other"', end=600)], [(30, "first", 1, 0)]),
        ([a_silence(end=600, scope=Scope.ACTIONS)], [(30, "first", 1, 0)]),
    ],
)
def test_silences_keep_people_from_hearing_until_they_end(
    silences: Sequence[Silence], told: list[tuple[int, str, int, int]]
) -> None:
    assert heard([an_alert(0)], silences) == told


def test_the_end_of_what_was_never_told_is_not_told() -> None:
    assert heard([an_alert(0, 400)], [a_silence(end=3000)]) == []


def test_an_alert_that_explains_keeps_the_explained_one_quiet_until_it_is_over() -> None:
    router = a_router(rules=(a_rule('alertname="Fire"', 'alertname="Down"', "site"),))
    fire, down = an_alert(0, 900, name="Fire", site="x"), an_alert(5, site="x")

    assert heard([fire, down], router=router) == [
        (30, "first", 1, 0),  # the fire
        (930, "resolved", 0, 1),
        (935, "first", 1, 0),  # and now the shop
    ]


def test_routes_have_times_of_their_own() -> None:
    router = a_router(a_route('severity="critical"', group_wait=seconds(0), group_interval=seconds(10)))

    assert heard([an_alert(0, 15, severity="critical")], router=router) == [
        (0, "first", 1, 0),
        (20, "resolved", 0, 1),
    ]


def test_a_story_that_is_too_long_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "MOST", 5)
    looks, is_cut = play(a_router(group_interval=seconds(1)), [an_alert(0)], [], DAY)

    assert (len(looks), is_cut) == (5, True)


_ALERTS = st.lists(
    st.builds(
        lambda start, length, job, name: an_alert(start, start + length, name=name, job=job),
        st.integers(0, 2000),
        st.integers(1, 2000),
        st.sampled_from("abc"),
        st.sampled_from(["Down", "Slow"]),
    ),
    min_size=1,
    max_size=6,
)
_SILENCES = st.lists(
    st.builds(
        lambda start, length, job: a_silence(f'job="{job}"', start=start, end=start + length),
        st.integers(0, 2000),
        st.integers(1, 1500),
        st.sampled_from("abc"),
    ),
    max_size=3,
)


@given(_ALERTS, _SILENCES)
def test_nobody_hears_of_what_a_silence_covers(alerts: list[Played], silences: list[Silence]) -> None:
    looks, _ = play(a_router(group_by=("...",)), alerts, silences, DAY)

    for look in looks:
        if look.flush.is_told:
            assert not any(one.is_active(look.at) and one.covers(look.group_labels) for one in silences)


@given(_ALERTS)
def test_the_end_is_told_just_for_what_was_told(alerts: list[Played]) -> None:
    looks, _ = play(a_router(), alerts, [], DAY)
    known: set[tuple[str, str]] = set()

    for look in looks:
        group = _group(look)
        for name in look.flush.resolved:
            assert (group, name) in known
            known.discard((group, name))
        if look.flush.is_told:
            known |= {(group, name) for name in look.flush.firing}
    assert not known  # all of the stories end


@given(_ALERTS)
def test_looks_at_a_group_are_an_interval_apart(alerts: list[Played]) -> None:
    looks, _ = play(a_router(), alerts, [], DAY)
    last: dict[str, datetime] = {}

    for look in looks:
        group = _group(look)
        if group in last:
            assert look.at - last[group] >= minutes(5)
        if look.flush.next_at is None:
            last.pop(group, None)
        else:
            last[group] = look.at


def _group(look: Look) -> str:
    return look.way.group_id(look.group_labels)
