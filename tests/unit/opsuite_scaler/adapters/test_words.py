"""Activities in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from fakes.clock import NOON

from opsuite_scaler.adapters.words import lines_of
from opsuite_scaler.application.records import Activity, Cause, Result
from opsuite_scaler.domain.decision import Decision, Step, Verdict


def an_activity(decision: Decision, **fields: object) -> Activity:
    """One that came to nothing, unless told otherwise."""
    activity = Activity("01", "shop", Cause.POLICY, Result.NONE, decision, NOON, NOON, 1)
    return replace(activity, **fields)  # type: ignore[arg-type]  # names and types of the fields are the caller's


def test_every_rule_has_a_line_with_what_it_changed() -> None:
    steps = (
        Step("metric_proposal", 1, 9, "AboveTarget", "cpu is 90 percent"),
        Step("max_replicas", 9, 5, "TooManyReplicas", "5 at most"),
        Step("cooldown", 5, 5, "Rested", ""),
    )
    decision = Decision(Verdict.SCALE, 1, 5, "TooManyReplicas", "5 at most")

    assert lines_of(an_activity(decision, steps=steps, result=Result.ACCEPTED)) == [
        "from 1 to 5 [TooManyReplicas] 5 at most",
        "1. metric_proposal: 1 -> 9 [AboveTarget] cpu is 90 percent",
        "2. max_replicas: 9 -> 5 [TooManyReplicas] 5 at most",
        "3. cooldown: stays 5 [Rested]",
        "done: the target has accepted it",
    ]


def test_what_waits_says_how_long() -> None:
    decision = Decision(Verdict.WAIT, 3, 1, "CoolingDown", "it rests", timedelta(seconds=90))

    assert lines_of(an_activity(decision))[0] == "stays at 3; 1 has to wait for 90 s [CoolingDown] it rests"


def test_what_was_decided_again_and_again_is_counted() -> None:
    decision = Decision(Verdict.NO_CHANGE, 3, 3, "WithinTolerance", "")

    assert lines_of(an_activity(decision, evaluations=7)) == [
        "stays at 3 [WithinTolerance]",
        "nothing was to be done",
        "decided 7 times in a row, last at 2026-06-01T12:00:00+00:00",
    ]


def test_people_and_others_are_named() -> None:
    decision = Decision(Verdict.SCALE, 3, 5, "ManualCapacity", "sale")
    by_hand = an_activity(decision, cause=Cause.MANUAL, actor="ada", result=Result.FAILED, error="the target is away")
    foreign = an_activity(replace(decision, reason="ForeignChange", message=""), cause=Cause.FOREIGN)

    assert lines_of(by_hand) == [
        "ada asked for 5 instead of 3 [ManualCapacity] sale",
        "failed: the target is away",
    ]
    assert lines_of(foreign)[0] == "3 became 5 by somebody else [ForeignChange]"
