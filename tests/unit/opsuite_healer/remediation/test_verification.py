"""Whether an action has helped."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from fakes.clock import NOON
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.remediation.policy import Verification
from opsuite_healer.domain.remediation.verification import Proof, Signs, judge

RULES = Verification()
"""Healthy for 60 s; 120 s from the end of a grace of 60 s."""
SICK = Signs(is_healthy=False, is_checked=True)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def healthy(since: float, *, told: float | None = None, clear: bool = False) -> Signs:
    return Signs(True, True, at(since), is_clear=clear, told_at=None if told is None else at(told))


@pytest.mark.parametrize(
    ("signs", "now", "proof"),
    [
        (SICK, 0, Proof.PENDING),
        (SICK, 179, Proof.PENDING),
        (SICK, 180, Proof.NO_HELP),
        (healthy(-500), 59, Proof.PENDING),  # it counts from the action
        (healthy(-500), 60, Proof.PROVED),
        (healthy(30), 89, Proof.PENDING),
        (healthy(30), 90, Proof.PROVED),
        (healthy(170), 200, Proof.PENDING),  # healthy in time, so it gets its whole delay
        (healthy(170), 230, Proof.PROVED),
        (healthy(200), 239, Proof.PENDING),
        (healthy(200), 240, Proof.NO_HELP),  # one that comes and goes does not prolong its time for ever
        (healthy(-500, told=20), 79, Proof.PENDING),  # the trouble was told again after the action
        (healthy(-500, told=20), 80, Proof.PROVED),
        (healthy(-500, told=20, clear=True), 60, Proof.PROVED),
        (healthy(-500, told=-20), 60, Proof.PROVED),
        (Signs(False, False, is_clear=False), 60, Proof.PENDING),  # nothing checks it, and the trouble goes on
    ],
)
def test_what_is_known_of_an_action(signs: Signs, now: float, proof: Proof) -> None:
    assert judge(RULES, NOON, signs, None, at(now))[0] is proof


def test_without_checks_the_end_of_the_trouble_counts_from_when_it_was_seen_first() -> None:
    clear = Signs(False, False, is_clear=True)

    proof, since = judge(RULES, NOON, clear, None, at(100))
    assert (proof, since) == (Proof.PENDING, at(100))

    assert judge(RULES, NOON, clear, since, at(159))[0] is Proof.PENDING
    assert judge(RULES, NOON, clear, since, at(160)) == (Proof.PROVED, at(100))


def test_the_end_of_a_trouble_does_not_outweigh_checks_that_fail() -> None:
    assert judge(RULES, NOON, Signs(False, True, is_clear=True), None, at(100))[1] is None


@given(
    st.integers(0, 600),
    st.one_of(st.none(), st.integers(-600, 600)),
    st.one_of(st.none(), st.integers(-600, 600)),
    st.booleans(),
)
def test_nothing_is_proved_before_it_stayed_healthy_for_the_delay_and_everything_ends(
    now: int, since: int | None, told: int | None, clear: bool
) -> None:
    signs = (
        SICK if since is None else healthy(min(since, now), told=None if told is None else min(told, now), clear=clear)
    )

    proof, good = judge(RULES, NOON, signs, None, at(now))

    if proof is Proof.PROVED:
        assert good is not None
        assert at(now) - good >= RULES.healthy_delay
        assert good >= NOON
    assert proof is not Proof.PENDING or now < 240
