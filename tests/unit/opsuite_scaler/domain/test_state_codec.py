from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from fakes.clock import NOON
from hypothesis import given
from hypothesis import strategies as st

from opsuite_scaler.domain.decision import MetricMemory, Recommendation, SizeEvent, State
from opsuite_scaler.domain.state_codec import decoded, encoded

TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
SIZES = st.integers(0, 2**31 - 1)
STATES = st.builds(
    State,
    recommendations=st.lists(st.builds(Recommendation, TIMES, SIZES), max_size=4).map(tuple),
    ups=st.lists(st.builds(SizeEvent, TIMES, SIZES), max_size=4).map(tuple),
    downs=st.lists(st.builds(SizeEvent, TIMES, SIZES), max_size=4).map(tuple),
    metrics=st.dictionaries(
        st.text(max_size=5),
        st.builds(
            MetricMemory,
            st.integers(0, 99),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            st.none() | TIMES,
            st.booleans(),
            st.none() | TIMES,
        ),
        max_size=3,
    ),
    scaled_to_zero=st.booleans(),
    last_up=st.none() | TIMES,
    last_down=st.none() | TIMES,
    last_active=st.none() | TIMES,
    reversals=st.lists(TIMES, max_size=4).map(tuple),
    last_direction=st.sampled_from(["", "up", "down"]),
)


@given(STATES)
def test_a_state_comes_back_from_json_as_it_was(state: State) -> None:
    assert decoded(json.loads(json.dumps(encoded(state)))) == state


def test_what_is_not_told_is_at_its_default() -> None:
    assert encoded(State()) == {}
    assert decoded({}) == State()


def test_a_value_of_zero_is_told_from_none() -> None:
    state = State(metrics={"a": MetricMemory(last_value=0.0), "b": MetricMemory()})

    assert decoded(encoded(state)) == state


def test_times_keep_their_microseconds_and_come_back_aware() -> None:
    state = State(last_up=NOON + timedelta(microseconds=1))

    assert decoded(encoded(state)).last_up == state.last_up
    with pytest.raises(ValueError, match="no time zone"):
        decoded({"last_up": "2026-06-01T12:00:00"})
