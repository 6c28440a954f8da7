"""What matchers ask of labels, and how they are written."""

from __future__ import annotations

import pytest
from fakes.healer_alerts import matchers
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.alerts.labels import asked_of, fingerprint, severity_of, target_in
from opsuite_healer.domain.alerts.matching import (
    Matcher,
    Operator,
    all_match,
    matches_nothing_absent,
    parse,
    problems,
)
from opsuite_healer.domain.targets import TargetRef
from opsuite_healer.domain.trouble import Severity

LABELS = {"alertname": "Down", "job": "api", "severity": "critical"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ('job="api"', True),
        ('job="ap"', False),
        ('job!="web"', True),
        ('job!="api"', False),
        ('job=~"a.*"', True),
        ('job=~"p"', False),  # the whole value
        ('job=~"api|web"', True),
        ('job!~"web.*"', True),
        ('job!~"a.."', False),
        ('absent=""', True),
        ('absent!=""', False),
        ('absent=~".*"', True),
        ('absent!~".+"', True),
        ('issue="Down"', True),  # alertname and issue are one
    ],
)
def test_matchers_ask_of_one_label(text: str, *, matches: bool) -> None:
    assert parse(text).matches(asked_of(LABELS)) is matches


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ("job=api", Matcher("job", Operator.EQUAL, "api")),
        (' job =~ "a|b" ', Matcher("job", Operator.MATCHES, "a|b")),
        ('{job!="x"}', Matcher("job", Operator.NOT_EQUAL, "x")),
        ('job!~"x"', Matcher("job", Operator.NOT_MATCHES, "x")),
        (r'path="say \"hi\""', Matcher("path", Operator.EQUAL, 'say "hi"')),
        ("job=", Matcher("job", Operator.EQUAL, "")),
    ],
)
def test_matchers_are_read_as_clients_of_alertmanager_write_them(text: str, matcher: Matcher) -> None:
    assert parse(text) == matcher


@pytest.mark.parametrize("text", ["", "job", "1job=a", 'job="a', 'job=~"("', "a b=c"])
def test_what_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@given(st.sampled_from(list(Operator)), st.text(max_size=20))
def test_a_matcher_that_was_written_is_read_again(operator: Operator, value: str) -> None:
    matcher = Matcher("job", operator, value)
    if not matcher.problem():
        assert parse(str(matcher)) == matcher


def test_all_matchers_have_to_match_and_none_ask_for_nothing() -> None:
    assert all_match(matchers('job="api"', 'severity=~"crit.*"'), LABELS)
    assert not all_match(matchers('job="api"', 'severity="info"'), LABELS)
    assert all_match((), LABELS)


def test_matchers_that_match_what_is_absent_match_everything() -> None:
    assert not matches_nothing_absent(matchers('job=~".*"', 'team=""'))
    assert matches_nothing_absent(matchers('job=~".*"', 'job=~".+"'))


def test_every_bad_expression_is_told_by_its_place() -> None:
    wrong = (
        Matcher("a", Operator.MATCHES, "("),
        Matcher("b", Operator.EQUAL, "("),
        Matcher("c", Operator.MATCHES, "*"),
    )

    assert [problem.field for problem in problems(wrong, "matchers")] == ["matchers[0].value", "matchers[2].value"]


# What Alertmanager 0.25 shows for these labels; test_alerts_alertmanager.py asks it for more.
@pytest.mark.parametrize(
    ("labels", "shown"),
    [({}, "cbf29ce484222325"), ({"alertname": "X"}, "d2aeefc389ca7746")],
)
def test_a_fingerprint_is_the_one_of_alertmanager(labels: dict[str, str], shown: str) -> None:
    assert fingerprint(labels) == shown


@given(st.dictionaries(st.sampled_from("abcdef"), st.text(max_size=5)))
def test_a_fingerprint_does_not_depend_on_the_order_of_labels(labels: dict[str, str]) -> None:
    assert fingerprint(labels) == fingerprint(dict(reversed(labels.items())))


@pytest.mark.parametrize(
    ("label", "severity"),
    [
        ("critical", Severity.CRITICAL),
        ("page", Severity.CRITICAL),
        ("Warning", Severity.WARNING),
        ("none", Severity.INFO),
        ("", Severity.ERROR),
        ("purple", Severity.ERROR),
    ],
)
def test_severities_have_many_names(label: str, severity: Severity) -> None:
    assert severity_of({"severity": label}) == severity


@pytest.mark.parametrize(
    ("labels", "target"),
    [
        ({"job": "api"}, None),
        ({"workload": "api"}, TargetRef("", "api")),
        (
            {"workload": "api", "platform": "kubernetes", "namespace": "shop", "replica": "api-1"},
            TargetRef("kubernetes", "api", "api-1", "shop"),
        ),
        ({"workload": "api", "platform": "vax"}, None),
    ],
)
def test_labels_name_a_target_or_none(labels: dict[str, str], target: TargetRef | None) -> None:
    assert target_in(labels) == target
