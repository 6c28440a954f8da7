"""Who is told of an incident, and when: tables of minutes after the opening, over what PreviewEscalation calls."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from fakes.clock import NOON
from fakes.escalation_table import POLICY, TABLE, Event, H, Row, rows, supposed
from fakes.healer_incidents import a_policy, after, minutes
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.incidents.escalation import (
    Level,
    Policy,
    Progress,
    Strategy,
    level_of,
    policy_for,
    receivers_of,
)
from opsuite_healer.domain.incidents.preview import Happening, Impossible, Preview, preview
from opsuite_healer.domain.trouble import Severity


def play(policy: Policy, *events: Event, days: float = 7) -> Preview:
    """What would happen of an incident that is opened at noon."""
    return preview(policy, NOON, supposed(*events), incident="01abc", horizon=timedelta(days=days))


@pytest.mark.parametrize(("policy", "events", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_an_incident_is_escalated_as_the_table_says(
    policy: Policy,
    events: Sequence[Event],
    expected: list[Row],
) -> None:
    found = play(policy, *events)

    assert rows(found) == expected
    assert not found.is_truncated


def test_what_comes_after_the_horizon_is_said_to_come() -> None:
    found = play(POLICY, days=10 / 1440)

    assert rows(found) == [(0, "opened"), (5, "escalated"), (5, "chat")]
    assert found.is_truncated


@pytest.mark.parametrize(
    ("events", "index"),
    [
        ([(1, H.REOPENED)], 0),
        ([(3, H.RESOLVED), (4, H.ACKNOWLEDGED)], 1),
        ([(4, H.ACKNOWLEDGED), (3, H.RESOLVED)], 0),
        ([(3, H.RESOLVED), (4, H.SNOOZED, 9)], 1),
        ([(3, H.SNOOZED, 3)], 0),
        ([(3, H.SNOOZED)], 0),
    ],
)
def test_what_cannot_happen_is_named(events: list[Event], index: int) -> None:
    with pytest.raises(Impossible) as told:
        play(POLICY, *events)

    assert told.value.index == index


# --- who


def test_a_round_robin_tells_one_and_another_one_in_the_next_loop() -> None:
    level = Level(("ann", "ben", "cyd"), strategy=Strategy.ROUND_ROBIN)

    told = [receivers_of(level, loop, "01abc") for loop in range(6)]

    assert all(len(one) == 1 for one in told)
    assert {one for (one,) in told[:3]} == {"ann", "ben", "cyd"}
    assert told[3:] == told[:3]


def test_a_round_robin_does_not_begin_with_the_same_one_for_every_incident() -> None:
    level = Level(("ann", "ben", "cyd"), strategy=Strategy.ROUND_ROBIN)

    first = [receivers_of(level, 0, f"incident-{number}")[0] for number in range(300)]

    assert all(70 <= first.count(one) <= 130 for one in level.receivers)


@pytest.mark.parametrize(
    ("labels", "severity", "expected"),
    [
        ({"team": "shop", "tier": "db"}, Severity.CRITICAL, "shop-critical"),
        ({"team": "shop"}, Severity.ERROR, "shop"),
        ({"team": "shop"}, Severity.INFO, "any"),
        ({"team": "pay"}, Severity.CRITICAL, "any"),
        ({}, Severity.INFO, "any"),
    ],
)
def test_the_policy_of_an_incident_is_the_first_that_covers_it(
    labels: dict[str, str], severity: Severity, expected: str
) -> None:
    policies = [
        a_policy("chat", id="any"),
        a_policy("chat", id="shop", match={"team": "shop"}, min_severity=Severity.WARNING, priority=50),
        a_policy("chat", id="shop-critical", match={"team": "shop"}, min_severity=Severity.CRITICAL, priority=10),
    ]

    found = policy_for(reversed(policies), labels, severity)

    assert found is not None
    assert found.id == expected


def test_among_equals_the_first_by_name_is_taken_and_none_where_none_covers() -> None:
    twins = [a_policy("chat", id="b"), a_policy("chat", id="a")]

    found = policy_for(twins, {}, Severity.INFO)
    assert found is not None
    assert found.id == "a"
    assert policy_for([a_policy("chat", match={"team": "shop"})], {}, Severity.CRITICAL) is None


# --- properties

durations = st.integers(1, 600).map(lambda number: timedelta(minutes=number))
policies = st.builds(
    lambda waits, loops, begin: Policy(
        "any",
        tuple(Level((f"r{index}",), wait) for index, wait in enumerate(waits)),
        num_loops=loops,
        begin_after=begin,
    ),
    st.lists(durations, min_size=1, max_size=5),
    st.integers(0, 4),
    st.integers(0, 600).map(lambda number: timedelta(minutes=number)),
)


@given(policies)
def test_left_alone_every_level_is_told_as_often_as_there_are_loops_and_then_it_is_exhausted(policy: Policy) -> None:
    found = play(policy, days=3650)

    told = [one for one in found.moments if one.turn]
    assert [one.turn.receivers[0] for one in told if one.turn] == [
        f"r{index}" for _ in range(policy.num_loops + 1) for index in range(len(policy.levels))
    ]
    assert [one.kind.value for one in found.moments].count("EXHAUSTED") == 1
    whole = sum((level.wait for level in policy.levels), timedelta()) * (policy.num_loops + 1)
    assert found.moments[-1].at == NOON + policy.begin_after + whole


@given(policies, st.integers(0, 5000))
def test_an_acknowledgement_silences_it_for_its_whole_timeout(policy: Policy, at: int) -> None:
    found = play(policy, (at, H.ACKNOWLEDGED), days=3650)

    quiet = [one for one in found.moments if after(at) < one.at < after(at) + minutes(30)]
    assert quiet == []


@given(policies, st.lists(st.tuples(st.integers(0, 2000), st.sampled_from([H.ESCALATED, H.GIVEN_UP])), max_size=5))
def test_moments_are_in_order_and_every_one_told_is_of_a_level(
    policy: Policy, events: list[tuple[int, Happening]]
) -> None:
    found = play(policy, *events, days=3650)

    assert [one.at for one in found.moments] == sorted(one.at for one in found.moments)
    assert all(one.turn.level in policy.levels for one in found.moments if one.turn)


@given(policies, st.integers(0, 30))
def test_turns_are_counted_through_levels_and_loops(policy: Policy, turn: int) -> None:
    loop, index, level = level_of(policy, turn)

    assert loop * len(policy.levels) + index == turn
    assert level is policy.levels[index]


def test_an_escalation_that_begins_anew_keeps_when_people_began_to_be_told() -> None:
    begun = Progress().begun(after(5)).told(POLICY.levels[0], after(5))

    assert begun.again(after(40)) == Progress(begun_at=after(5), turn=0, due_at=after(40))
    assert Progress().again(after(1)).turn == 0
