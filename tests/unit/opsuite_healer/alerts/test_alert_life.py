"""An alert begins, is told again, and ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from fakes.clock import NOON
from fakes.healer_alerts import at, minutes, told
from fakes.healer_incidents import trouble

from opsuite_healer.domain.alerts.alert import Alert, Pushed, merged, of_trouble, pushed, summary_of, trouble_of
from opsuite_healer.domain.trouble import Severity, dedup_key

TIMEOUT = minutes(5)


def an_alert(start: float, end: float | None, *, guessed: bool = False, when: float = 0) -> Alert:
    known = pushed(told(), NOON, TIMEOUT)
    ends_at = None if end is None else at(end)
    return replace(known, starts_at=at(start), ends_at=ends_at, is_timeout=guessed, updated_at=at(when))


@pytest.mark.parametrize(
    ("start", "end", "begins", "ends", "guessed"),
    [
        (None, None, at(0), at(300), True),
        (at(-60), None, at(-60), at(300), True),
        (at(-60), at(60), at(-60), at(60), False),
        (None, at(-10), at(-10), at(-10), False),
        (None, at(60), at(0), at(60), False),
    ],
)
def test_what_a_push_leaves_open_is_filled_in(
    start: datetime | None, end: datetime | None, begins: datetime, ends: datetime, *, guessed: bool
) -> None:
    alert = pushed(Pushed({"alertname": "Down"}, starts_at=start, ends_at=end), NOON, TIMEOUT)

    assert (alert.starts_at, alert.ends_at, alert.is_timeout) == (begins, ends, guessed)


@pytest.mark.parametrize(
    ("known", "again", "begins", "ends", "guessed"),
    [
        # told again before its guessed end: it goes on, from its first start
        (an_alert(0, 300, guessed=True), an_alert(60, 360, guessed=True, when=60), at(0), at(360), True),
        # an end that was said beats one that is guessed, while it is later
        (an_alert(0, 900), an_alert(60, 360, guessed=True, when=60), at(0), at(900), False),
        (an_alert(0, 200), an_alert(60, 360, guessed=True, when=60), at(0), at(360), True),
        # it is told to be over: that end counts
        (an_alert(0, 300, guessed=True), an_alert(0, 60, when=60), at(0), at(60), False),
        # of two ends in the past the later one counts
        (an_alert(0, 50), an_alert(0, 40, when=60), at(0), at(50), False),
        # after its end it is another life
        (an_alert(0, 60), an_alert(90, 390, guessed=True, when=90), at(90), at(390), True),
        # one of a check has no end until its finder says so
        (an_alert(0, None), an_alert(60, None, when=60), at(0), None, False),
        (an_alert(0, 30), an_alert(60, None, when=60), at(60), None, False),
    ],
)
def test_tellings_are_merged_as_by_alertmanager(
    known: Alert, again: Alert, begins: datetime, ends: datetime | None, *, guessed: bool
) -> None:
    found = merged(known, again)

    assert (found.starts_at, found.ends_at, found.is_timeout) == (begins, ends, guessed)


def test_annotations_of_the_last_telling_count() -> None:
    again = replace(an_alert(0, 360, when=60), annotations={"summary": "worse"})

    assert merged(an_alert(0, 300), again).annotations == {"summary": "worse"}


def test_empty_labels_are_none() -> None:
    assert pushed(told(job="", team="a"), NOON, TIMEOUT).labels == {"alertname": "Down", "team": "a"}


@pytest.mark.parametrize(
    ("alert", "fields"),
    [
        (Pushed({"alertname": ""}), ["labels"]),
        (Pushed({"a": "b"}, starts_at=at(10), ends_at=at(5)), ["end_time"]),
        (Pushed({"a": "b"}, starts_at=at(5), ends_at=at(5)), []),
    ],
)
def test_what_says_nothing_or_ends_before_its_start_is_wrong(alert: Pushed, fields: list[str]) -> None:
    assert [problem.field for problem in alert.problems()] == fields


def test_a_trouble_becomes_an_alert_that_goes_on_until_its_finder_says_otherwise() -> None:
    found = trouble("k1", severity=Severity.CRITICAL)

    alert = of_trouble(found, at(1))

    assert (alert.key, alert.ends_at, alert.source) == ("k1", None, "healthChecks/checkout")
    assert alert.labels == {
        "alertname": "UNHEALTHY",
        "issue": "UNHEALTHY",
        "severity": "critical",
        "source": "healthChecks/checkout",
        "platform": "process",
        "workload": "checkout",
    }
    assert alert.severity is Severity.CRITICAL
    assert trouble_of(alert).target == found.target


def test_a_trouble_without_a_key_gets_the_one_of_what_it_is() -> None:
    found = trouble("")

    assert of_trouble(found, NOON).key == dedup_key("UNHEALTHY", found.target, found.source)


def test_two_checks_of_one_target_have_two_alerts() -> None:
    one, other = trouble("a", source="healthChecks/a"), trouble("b", source="healthChecks/b")

    assert of_trouble(one, NOON).fingerprint != of_trouble(other, NOON).fingerprint


def test_a_summary_is_one_line_from_the_first_annotation_that_has_one() -> None:
    alert = pushed(Pushed({"alertname": "Down"}, {"description": "a\nb  c", "message": "m"}), NOON, TIMEOUT)

    assert summary_of(alert) == "m"
    assert summary_of(replace(alert, annotations={"description": "a\nb  c"})) == "a b c"
    assert summary_of(replace(alert, annotations={})) == "Down"
