"""Pauses between tries."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.remediation.backoff import jittered, pause_after
from opsuite_healer.domain.remediation.policy import Backoff


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


@pytest.mark.parametrize(
    ("backoff", "pauses"),
    [
        (Backoff(), [10, 20, 40, 80, 160, 300, 300]),
        (Backoff(first=seconds(1), factor=3, longest=seconds(20)), [1, 3, 9, 20, 20]),
        (Backoff(first=seconds(5), factor=1, longest=seconds(60)), [5, 5, 5]),
        (Backoff(first=seconds(0), longest=seconds(0)), [0, 0, 0]),
        (Backoff(first=seconds(0), longest=seconds(60)), [0, 0, 0]),
    ],
)
def test_pauses_grow_up_to_the_longest(backoff: Backoff, pauses: list[float]) -> None:
    assert [pause_after(backoff, tries).total_seconds() for tries in range(1, len(pauses) + 1)] == pauses


def test_jitter_is_a_share_of_the_pause() -> None:
    backoff = Backoff(first=seconds(100), jitter=0.1)

    assert [jittered(backoff, 1, chance) for chance in (0.0, 0.5, 1.0)] == [seconds(90), seconds(100), seconds(110)]


@given(
    st.builds(
        Backoff,
        first=st.timedeltas(timedelta(0), timedelta(hours=1)),
        factor=st.floats(1, 100),
        longest=st.timedeltas(timedelta(hours=1), timedelta(days=1)),
    ),
    st.integers(1, 1000),
    st.floats(0, 1),
)
def test_pauses_never_shrink_and_are_never_longer_than_the_longest(backoff: Backoff, tries: int, chance: float) -> None:
    assert pause_after(backoff, tries) <= pause_after(backoff, tries + 1) <= backoff.longest
    assert timedelta(0) <= jittered(backoff, tries, chance) <= backoff.longest * (1 + backoff.jitter)
