"""What one look makes of what was known, and when it has to be written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from fakes.clock import NOON

from opsuite_healer.application.checks.looks import Known, judge
from opsuite_healer.application.checks.records import CheckRecord
from opsuite_healer.application.checks.telling import trouble_of
from opsuite_healer.domain.checks.answers import Answer, Sight
from opsuite_healer.domain.checks.check import CheckSpec, StateProbe
from opsuite_healer.domain.checks.subject import Subject, Told
from opsuite_healer.domain.targets import TargetRef
from opsuite_healer.domain.trouble import Severity, dedup_key
from opsuite_probes.hysteresis import Thresholds
from opsuite_probes.port import Outcome

GOOD, BAD, NOTHING = Outcome.HEALTHY, Outcome.UNHEALTHY, Outcome.UNKNOWN
SPEC = CheckSpec("state", TargetRef("process", "shop"), StateProbe(), thresholds=Thresholds(1, 1))


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def a_sight(seconds: float = 0, **outcomes: Outcome) -> Sight:
    return Sight({name: Answer(outcome, "said", at(seconds), is_crash=True) for name, outcome in outcomes.items()})


def known_after(*sights: Sight, grace_until: datetime | None = None) -> Known:
    known = Known(CheckRecord(SPEC, b"", 1, NOON, NOON, "local", grace_until=grace_until), {})
    for sight in sights:
        known = next_known(known, sight)
    return known


def next_known(known: Known, sight: Sight) -> Known:
    steps = judge(known, sight, max(one.at for one in sight.answers.values())).steps
    return replace(known, subjects={step.subject.replica: step.subject for step in steps})


def gone(known: Known, sight: Sight, now: float) -> Sequence[str]:
    return [one.replica for one in judge(known, sight, at(now)).gone]


def test_the_same_again_is_not_written_down() -> None:
    known = known_after(*(a_sight(30 * number, one=GOOD) for number in range(21)))

    assert not judge(known, a_sight(630, one=GOOD), at(630)).changes(known)


def test_what_is_seen_first_what_changes_and_what_counts_is_written_down() -> None:
    nothing = known_after()
    known = known_after(*(a_sight(30 * number, one=GOOD) for number in range(21)))

    assert judge(nothing, a_sight(0, one=NOTHING), NOON).changes(nothing)
    assert judge(known, a_sight(630, one=BAD), at(630)).changes(known)
    assert judge(known, a_sight(630, one=GOOD, two=GOOD), at(630)).changes(known)
    assert judge(known, a_sight(630, two=GOOD), at(630)).changes(known)


def test_what_is_not_there_any_more_is_forgotten() -> None:
    known = known_after(a_sight(0, one=GOOD, two=GOOD))

    assert gone(known, a_sight(30, two=GOOD), 30) == ["one"]


def test_while_nobody_can_tell_what_there_is_nothing_is_forgotten() -> None:
    known = known_after(a_sight(0, one=GOOD, two=BAD))

    judged = judge(known, Sight(is_complete=False, why_not="cannot be asked: away"), at(30))

    assert judged.gone == []
    assert [(step.subject.replica, step.subject.outcome) for step in judged.steps] == [("one", GOOD), ("two", BAD)]
    assert {step.subject.last.message for step in judged.steps if step.subject.last} == {"cannot be asked: away"}


def test_what_was_never_seen_is_shown_as_unknown() -> None:
    known = known_after()

    steps = judge(known, Sight(is_complete=False, why_not="cannot be asked: away"), NOON).steps

    assert [(step.subject.replica, step.subject.outcome) for step in steps] == [("", NOTHING)]


def test_the_grace_of_a_check_is_that_of_what_comes_in_place_of_what_was_there() -> None:
    known = known_after(grace_until=at(60))

    assert judge(known, a_sight(30, new=BAD), at(30)).steps[0].subject.outcome is NOTHING
    assert judge(known, a_sight(60, new=BAD), at(60)).steps[0].subject.outcome is BAD


def test_trouble_names_the_replica_and_keeps_its_key() -> None:
    spec = replace(SPEC, labels={"team": "shop"}, group="fleet", severity=Severity.CRITICAL)
    last = Answer(BAD, "exited", NOON)
    subject = Subject("shop-1", first_seen_at=NOON, told=Told("CRASHED", NOON, "00-trace"), last=last)

    trouble = trouble_of(spec, subject, "CRASHED", at(30))

    target = TargetRef("process", "shop", "shop-1")
    assert (trouble.issue, trouble.target, trouble.severity) == ("CRASHED", target, Severity.CRITICAL)
    assert trouble.labels == {
        "team": "shop",
        "platform": "process",
        "workload": "shop",
        "replica": "shop-1",
        "issue": "CRASHED",
        "severity": "critical",
        "check": "state",
        "group": "fleet",
    }
    assert trouble.key == dedup_key("CRASHED", target, "healthChecks/state")
    assert (trouble.summary, trouble.traceparent) == ("process/shop#shop-1 is CRASHED: exited", "00-trace")
