"""What a mode lets through, and until when."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.clock import NOON
from fakes.scaling import FAILED, HOUR, SECOND, a_policy, decision, one, queue, rules_of, seen

from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import State, Verdict
from opsuite_scaler.domain.modes import mode_at
from opsuite_scaler.domain.policy import Cooldown, Mode, ModeSetting, ScalingPolicy

UP, DOWN, SAME, TOO_MANY, TOO_FEW = (5, 90), (5, 20), (5, 50), (25, 90), (1, 50)
"""Size, and the length of the queue; the bounds are 2 and 20."""
S, N = Verdict.SCALE, Verdict.NO_CHANGE


def in_mode(mode: Mode, **fields: object) -> ScalingPolicy:
    setting = ModeSetting(mode, **fields)  # type: ignore[arg-type]  # any field
    return a_policy(queue(10), min_replicas=2, max_replicas=20, mode=setting)


@pytest.mark.parametrize(
    ("mode", "situation", "verdict", "desired", "withheld"),
    [
        (Mode.ACTIVE, UP, S, 9, None),
        (Mode.ACTIVE, DOWN, S, 2, None),
        (Mode.ACTIVE, TOO_MANY, S, 20, None),
        (Mode.PAUSED, UP, N, 5, 9),
        (Mode.PAUSED, DOWN, N, 5, 2),
        (Mode.PAUSED, SAME, N, 5, 5),
        (Mode.PAUSED, TOO_MANY, N, 25, 20),
        (Mode.PAUSED, TOO_FEW, N, 1, 2),
        (Mode.SCALE_UP_ONLY, UP, S, 9, None),
        (Mode.SCALE_UP_ONLY, DOWN, N, 5, 2),
        (Mode.SCALE_UP_ONLY, SAME, N, 5, None),
        (Mode.SCALE_UP_ONLY, TOO_MANY, N, 25, 20),
        (Mode.SCALE_UP_ONLY, TOO_FEW, S, 2, None),
        (Mode.SCALE_DOWN_ONLY, UP, N, 5, 9),
        (Mode.SCALE_DOWN_ONLY, DOWN, S, 2, None),
        (Mode.SCALE_DOWN_ONLY, TOO_MANY, S, 20, None),
        (Mode.SCALE_DOWN_ONLY, TOO_FEW, N, 1, 2),
        (Mode.DRY_RUN, UP, S, 9, None),
        (Mode.DRY_RUN, DOWN, S, 2, None),
        (Mode.DRY_RUN, SAME, N, 5, None),
        (Mode.DRY_RUN, TOO_MANY, S, 20, None),
    ],
)
def test_each_mode_lets_its_changes_through(
    mode: Mode, situation: tuple[int, float], verdict: Verdict, desired: int, withheld: int | None
) -> None:
    size, length = situation

    found = decision(in_mode(mode), seen(size, queue=one(length)))

    assert (found.verdict, found.desired, found.withheld) == (verdict, desired, withheld)
    assert found.is_dry_run is (mode is Mode.DRY_RUN)
    assert found.is_to_be_done is (verdict is S and mode is not Mode.DRY_RUN)


@pytest.mark.parametrize(
    ("mode", "situation", "reason"),
    [
        (Mode.PAUSED, UP, "Paused"),
        (Mode.PAUSED, SAME, "Paused"),
        (Mode.SCALE_UP_ONLY, DOWN, "ScaleUpOnly"),
        (Mode.SCALE_UP_ONLY, SAME, "MatchesSize"),
        (Mode.SCALE_DOWN_ONLY, UP, "ScaleDownOnly"),
        (Mode.DRY_RUN, UP, "AboveTarget"),
    ],
)
def test_what_a_mode_withholds_is_its_reason(mode: Mode, situation: tuple[int, float], reason: str) -> None:
    size, length = situation

    assert decision(in_mode(mode), seen(size, queue=one(length))).reason == reason


def test_a_mode_ends_at_its_time() -> None:
    for_an_hour = ModeSetting(Mode.PAUSED, until=NOON + HOUR)

    assert mode_at(for_an_hour, NOON) is Mode.PAUSED
    assert mode_at(for_an_hour, NOON + HOUR - SECOND) is Mode.PAUSED
    assert mode_at(for_an_hour, NOON + HOUR) is Mode.ACTIVE
    assert mode_at(ModeSetting(Mode.PAUSED), NOON + 9999 * HOUR) is Mode.PAUSED


@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.SCALE_DOWN_ONLY, Mode.DRY_RUN])
def test_after_its_time_a_policy_is_active(mode: Mode) -> None:
    policy = in_mode(mode, until=NOON)

    assert decision(policy, seen(5, queue=one(90))).is_to_be_done
    assert not decision(in_mode(mode, until=NOON + SECOND), seen(5, queue=one(90))).is_to_be_done


def test_who_set_a_mode_until_when_and_why_is_told() -> None:
    policy = in_mode(Mode.PAUSED, until=NOON + HOUR, author="ana", reason="migration")

    message = decision(policy, seen(5, queue=one(90))).message

    assert decide(policy, seen(5, queue=one(90)), State()).steps[-1].inputs == {}
    for told in ("ana", "2026-06-01T13:00:00+00:00", "migration", "9 wanted"):
        assert told in message


def test_a_dry_run_explains_itself_like_the_real_thing_and_says_that_it_is_none() -> None:
    active = decide(in_mode(Mode.ACTIVE), seen(5, queue=one(90)), State())
    dry = decide(in_mode(Mode.DRY_RUN), seen(5, queue=one(90)), State())

    assert dry.steps[:-1] == active.steps
    assert dry.steps[-1].rule == "dry_run"
    assert rules_of(decide(in_mode(Mode.DRY_RUN), seen(5, queue=one(50)), State())) == ["metric_proposal"]
    assert dry.state == active.state
    assert rules_of(decide(in_mode(Mode.DRY_RUN), seen(25, queue=one(90)), State())) == ["max_replicas", "dry_run"]


def test_a_paused_policy_goes_on_looking() -> None:
    after = decide(in_mode(Mode.PAUSED), seen(5, queue=one(90)), State()).state
    failed = decide(in_mode(Mode.PAUSED), seen(5, queue=FAILED), State()).state

    assert after == decide(in_mode(Mode.ACTIVE), seen(5, queue=one(90)), State()).state
    assert failed.metrics["queue"].failures == 1


def test_a_target_switched_off_at_zero_is_so_in_every_mode() -> None:
    outcome = decide(in_mode(Mode.PAUSED), seen(0, queue=one(90)), State())

    assert rules_of(outcome) == ["gate"]


def test_what_has_to_wait_waits_in_a_dry_run_too() -> None:
    policy = replace(in_mode(Mode.DRY_RUN), cooldown=Cooldown(HOUR))

    found = decision(policy, seen(5, queue=one(90)), State(last_up=NOON))

    assert (found.verdict, found.is_dry_run) == (Verdict.WAIT, True)
