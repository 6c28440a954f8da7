"""When silences are in force, by tables: once, again and again, and across a change of the clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fakes.clock import NOON
from fakes.healer_alerts import a_silence, at, minutes

from opsuite_healer.domain.alerts.inhibition import Scope
from opsuite_healer.domain.alerts.matching import Matcher, Operator
from opsuite_healer.domain.alerts.silences import Recurrence, Silence, SilenceState

YEAR = 365 * 86400


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (-1, SilenceState.PENDING),
        (0, SilenceState.ACTIVE),
        (3599, SilenceState.ACTIVE),
        (3600, SilenceState.EXPIRED),
    ],
)
def test_a_silence_is_in_force_from_its_start_to_before_its_end(now: float, state: SilenceState) -> None:
    assert a_silence().state(at(now)) is state


BERLIN = Recurrence("0 2 * * 1", timedelta(hours=1), "Europe/Berlin")  # Mondays at two


@pytest.mark.parametrize(
    ("now", "is_active"),
    [
        (datetime(2026, 6, 8, 0, 0, tzinfo=UTC), True),  # two in summer is midnight in UTC
        (datetime(2026, 6, 8, 0, 59, 59, tzinfo=UTC), True),
        (datetime(2026, 6, 8, 1, 0, tzinfo=UTC), False),
        (datetime(2026, 6, 9, 0, 30, tzinfo=UTC), False),  # a Tuesday
        (datetime(2026, 11, 2, 0, 30, tzinfo=UTC), False),
        (datetime(2026, 11, 2, 1, 30, tzinfo=UTC), True),  # and one in winter
        (datetime(2026, 6, 1, 0, 30, tzinfo=UTC), False),  # before it begins
        (datetime(2027, 6, 7, 0, 30, tzinfo=UTC), False),  # after its end
    ],
)
def test_a_maintenance_window_follows_the_clock_on_the_wall(now: datetime, *, is_active: bool) -> None:
    assert a_silence(end=YEAR - 86400, recurrence=BERLIN).is_active(now) is is_active


def test_outside_of_its_times_a_window_is_pending() -> None:
    assert a_silence(end=YEAR, recurrence=BERLIN).state(at(1)) is SilenceState.PENDING


@pytest.mark.parametrize(
    ("silence", "fields"),
    [
        (a_silence(), []),
        (a_silence('job=~".*"'), ["matchers"]),
        (replace(a_silence(), matchers=(Matcher("a", Operator.MATCHES, "("),)), ["matchers[0].value"]),
        (a_silence(end=0), ["end_time"]),
        (a_silence(start=-7200, end=-3600), ["end_time"]),
        (a_silence(end=400 * 86400), ["end_time"]),
        (a_silence(end=400 * 86400, recurrence=BERLIN), []),
        (a_silence(end=5000 * 86400, recurrence=BERLIN), ["end_time"]),
        (
            a_silence(recurrence=Recurrence("never", minutes(5), "Mars/Base")),
            ["recurrence.time_zone", "recurrence.cron"],
        ),
    ],
)
def test_all_that_is_wrong_with_a_silence_is_told(silence: Silence, fields: list[str]) -> None:
    assert [problem.field for problem in silence.problems(NOON)] == fields


@pytest.mark.parametrize(
    ("matched", "now", "is_forgotten"),
    [
        (None, 599, False),
        (None, 600, True),
        (300, 899, False),
        (300, 900, True),
        (None, -10, False),  # it has not begun
        (None, 4000, False),  # it is over anyway
    ],
)
def test_a_silence_that_nothing_matches_ends_by_itself(
    matched: float | None, now: float, *, is_forgotten: bool
) -> None:
    silence = a_silence(unmatched_for=minutes(10), matched_at=None if matched is None else at(matched))

    assert silence.is_forgotten(at(now)) is is_forgotten


def test_a_silence_without_that_wish_never_ends_by_itself() -> None:
    assert not a_silence().is_forgotten(at(3000))


@pytest.mark.parametrize(
    ("scope", "notifications", "actions"),
    [(Scope.BOTH, True, True), (Scope.NOTIFICATIONS, True, False), (Scope.ACTIONS, False, True)],
)
def test_a_scope_says_what_is_kept_quiet(scope: Scope, *, notifications: bool, actions: bool) -> None:
    assert (scope.covers_notifications, scope.covers_actions) == (notifications, actions)


def test_a_silence_covers_what_all_its_matchers_match() -> None:
    silence = a_silence('alertname="Down"', 'job!="api"')

    assert silence.covers({"alertname": "Down"})
    assert silence.covers({"issue": "Down"})
    assert not silence.covers({"alertname": "Down", "job": "api"})
