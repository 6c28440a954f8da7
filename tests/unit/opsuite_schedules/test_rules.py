from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from opsuite_schedules.cron import Cron
from opsuite_schedules.rules import Effect, Rule, Ruling, decide
from opsuite_schedules.windows import Window

MINUTE = timedelta(minutes=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def a_rule(name: str, effect: Effect, expression: str, hours: float) -> Rule:
    return Rule(name, effect, Window(Cron.parse(expression), timedelta(hours=hours)))


WORK = a_rule("work", Effect.ALLOW, "0 9 * * 1-5", 8)
LUNCH = a_rule("lunch", Effect.DENY, "0 12 * * *", 1)
FRIDAY = a_rule("friday", Effect.DENY, "0 0 * * 5", 24)
FREEZE = Rule("release-freeze", Effect.DENY)
MONDAY_TEN = utc("2026-06-01T10:00")


def test_without_rules_it_is_allowed() -> None:
    assert decide([], MONDAY_TEN) == Ruling(True, "no rule denies it", MONDAY_TEN)


def test_inside_an_allow_window_it_is_allowed() -> None:
    assert decide([WORK], MONDAY_TEN) == Ruling(True, "allowed by work", MONDAY_TEN)


def test_outside_of_every_allow_window_it_waits_for_the_next_one() -> None:
    saturday = utc("2026-06-06T10:00")

    assert decide([WORK], saturday) == Ruling(False, "outside of work", utc("2026-06-08T09:00"))


def test_one_of_several_allow_windows_is_enough() -> None:
    night = a_rule("night", Effect.ALLOW, "0 22 * * *", 2)

    assert decide([WORK, night], utc("2026-06-06T22:30")).reason == "allowed by night"
    assert decide([WORK, night], utc("2026-06-06T10:00")).allowed_from == utc("2026-06-06T22:00")


def test_outside_of_every_deny_window_it_is_allowed() -> None:
    assert decide([LUNCH], MONDAY_TEN).is_allowed


def test_deny_beats_allow() -> None:
    noon = utc("2026-06-01T12:30")

    assert decide([WORK, LUNCH], noon) == Ruling(False, "denied by lunch", utc("2026-06-01T13:00"))


def test_the_next_allowed_moment_passes_every_obstacle() -> None:
    thursday_evening = utc("2026-06-04T18:00")

    assert decide([WORK, FRIDAY], thursday_evening).allowed_from == utc("2026-06-08T09:00")


def test_a_freeze_holds_without_end_and_is_named() -> None:
    assert decide([WORK, FREEZE], MONDAY_TEN) == Ruling(False, "denied by release-freeze", None)


def test_a_deny_window_that_never_closes_has_no_next_moment() -> None:
    always = a_rule("always", Effect.DENY, "0 * * * *", 1)

    assert decide([always], MONDAY_TEN).allowed_from is None


def test_windows_that_deny_all_that_another_allows_have_no_next_moment() -> None:
    nine = a_rule("nine", Effect.ALLOW, "0 9 * * *", 1)
    morning = a_rule("morning", Effect.DENY, "0 8 * * *", 4)

    assert decide([nine, morning], MONDAY_TEN).allowed_from is None


rules = st.builds(
    a_rule,
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(Effect),
    st.builds("{} {} * * *".format, st.sampled_from([0, 30]), st.integers(0, 23)),
    st.sampled_from([0.5, 1, 5, 20]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(rules, max_size=4), st.integers(0, 24 * 60 - 1))
def test_the_ruling_equals_a_reading_minute_by_minute(some: list[Rule], minute: int) -> None:
    def is_allowed(instant: datetime) -> bool:
        allow = [rule for rule in some if rule.effect is Effect.ALLOW]
        deny = [rule for rule in some if rule.effect is Effect.DENY]
        inside = not allow or any(rule.is_active(instant) for rule in allow)
        return inside and not any(rule.is_active(instant) for rule in deny)

    now = utc("2026-06-01T00:00") + minute * MINUTE
    ahead = (now + number * MINUTE for number in range(24 * 60))

    ruling = decide(some, now)

    assert ruling.is_allowed == is_allowed(now)
    assert ruling.allowed_from == next((instant for instant in ahead if is_allowed(instant)), None)
