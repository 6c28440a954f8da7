"""HPA's classes of pods, with CPU initialisation of 300 s and a readiness delay of 30 s."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fakes.clock import NOON
from fakes.scaling import a_member, ago, of_members

from opsuite_scaler.domain.members import classify, serving
from opsuite_scaler.domain.policy import Timing
from opsuite_scaler.domain.snapshot import MemberPhase

OLD, YOUNG = 301, 299
"""Seconds since the start: past the CPU initialisation, or within."""


def class_of(
    *, is_cpu: bool = True, sample: float | None = 1, reading: dict[str, Any] | None = None, **fields: Any
) -> str:
    classes = classify([a_member(**fields)], of_members(sample, **(reading or {})), Timing(), NOON, is_cpu=is_cpu)
    found = {"ready": classes.ready, "unready": classes.unready, "missing": classes.missing}
    return next((name for name, members in found.items() if members), "ignored")


@pytest.mark.parametrize("phase", [MemberPhase.DELETING, MemberPhase.FAILED])
@pytest.mark.parametrize("sample", [1, None])
def test_what_goes_away_or_failed_is_ignored_with_and_without_a_sample(
    phase: MemberPhase, sample: float | None
) -> None:
    assert class_of(phase=phase, sample=sample) == "ignored"
    assert class_of(phase=phase, sample=sample, is_cpu=False) == "ignored"


@pytest.mark.parametrize("sample", [1, None])
@pytest.mark.parametrize("is_cpu", [True, False])
def test_what_has_not_begun_is_unready_even_without_a_sample(sample: float | None, is_cpu: bool) -> None:
    assert class_of(phase=MemberPhase.PENDING, sample=sample, is_cpu=is_cpu) == "unready"


@pytest.mark.parametrize("is_cpu", [True, False])
def test_what_runs_without_a_sample_is_missing_however_unready_it_is(is_cpu: bool) -> None:
    assert class_of(sample=None, ready=False, is_cpu=is_cpu) == "missing"


def test_a_member_that_does_not_say_whether_it_is_ready_or_when_it_began_is_unready() -> None:
    assert class_of(ready=None) == "unready"
    assert class_of(ready=None, ready_changed_at=ago(1)) == "unready"
    assert class_of(started_at=None) == "unready"


@pytest.mark.parametrize("fields", [{"ready": None}, {"started_at": None}, {"ready": False, "started_at": ago(1)}])
def test_only_cpu_looks_at_readiness(fields: dict[str, Any]) -> None:
    assert class_of(is_cpu=False, **fields) == "ready"
    assert class_of(is_cpu=True, **fields) == "unready"


@pytest.mark.parametrize(
    ("age", "ready", "changed", "sampled", "expected"),
    [
        # within the initialisation: the sample's whole window has to lie after the last change of readiness
        pytest.param(YOUNG, True, 100, 0, "ready", id="young, ready, sampled long after"),
        pytest.param(YOUNG, True, 60, 0, "ready", id="young, ready, sampled exactly one window after"),
        pytest.param(YOUNG, True, 59, 0, "unready", id="young, ready, sampled less than one window after"),
        pytest.param(YOUNG, True, 90, 30, "ready", id="young, ready, an older sample exactly one window after"),
        pytest.param(YOUNG, True, 89, 30, "unready", id="young, ready, an older sample of less than one window after"),
        pytest.param(YOUNG, False, 100, 0, "unready", id="young, unready"),
        # exactly at its end it is over
        pytest.param(300, True, 1, 0, "ready", id="at the end of the initialisation"),
        pytest.param(OLD, True, 1, 0, "ready", id="old, ready since a moment ago"),
        pytest.param(OLD, True, OLD - 5, 0, "ready", id="old, ready since soon after its start"),
        # afterwards: only what has never been ready within the delay after its start
        pytest.param(OLD, False, OLD - 29, 0, "unready", id="old, never ready"),
        pytest.param(OLD, False, OLD - 30, 0, "ready", id="old, lost its readiness exactly at the delay: strict"),
        pytest.param(OLD, False, 10, 0, "ready", id="old, lost its readiness lately"),
    ],
)
def test_cpu_of_a_start_is_told_from_cpu_of_load(
    age: float, ready: bool, changed: float, sampled: float, expected: str
) -> None:
    reading = {"at": ago(sampled), "window": timedelta(seconds=60)}
    assert class_of(started_at=ago(age), ready=ready, ready_changed_at=ago(changed), reading=reading) == expected


def test_without_the_time_of_the_last_change_readiness_was_always_as_it_is() -> None:
    assert class_of(started_at=ago(YOUNG), ready_changed_at=None) == "ready"
    assert class_of(started_at=ago(YOUNG), ready=False, ready_changed_at=None) == "unready"
    assert class_of(started_at=ago(OLD), ready=False, ready_changed_at=None) == "unready"


def test_a_sample_without_a_time_is_of_now() -> None:
    reading = {"at": None, "window": timedelta(seconds=60)}
    assert class_of(started_at=ago(YOUNG), ready_changed_at=ago(60), reading=reading) == "ready"
    assert class_of(started_at=ago(YOUNG), ready_changed_at=ago(59), reading=reading) == "unready"


def test_those_serve_that_run_and_say_that_they_are_ready() -> None:
    members = [
        a_member(0),
        a_member(1, ready=False),
        a_member(2, ready=None),
        a_member(3, phase=MemberPhase.PENDING),
        a_member(4, phase=MemberPhase.FAILED),
        a_member(5),
    ]
    assert serving(members) == 2
