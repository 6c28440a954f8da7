"""What people read about a group, and the configuration that Alertmanager's client is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
import yaml
from fakes.clock import NOON
from fakes.healer_alerts import a_route, a_router, a_rule, at, minutes, seconds, told

from opsuite_healer.adapters.alerts.http.configuration import configuration, duration_text
from opsuite_healer.application.alerts.ports import Group
from opsuite_healer.application.alerts.writing import MOST_SHOWN, Writing
from opsuite_healer.domain.alerts.alert import Alert, pushed
from opsuite_healer.domain.alerts.grouping import Flush, FlushReason
from opsuite_notify.port import Message, Phase, Severity

GROUP = Group("g1", "root", {"alertname": "Down"}, NOON, NOON)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def alerts(*severities: str) -> Mapping[str, Alert]:
    """One for each, by fingerprint."""
    found = [pushed(told(severity=one, number=str(place)), NOON, minutes(5)) for place, one in enumerate(severities)]
    return {one.fingerprint: one for one in found}


def message(known: Mapping[str, Alert], *, firing: int, url: str = "", group: Group = GROUP) -> Message:
    """What is told when the first so many go on and the others are over."""
    names = tuple(known)
    found = Flush(
        is_told=True,
        reason=FlushReason.NEW_ALERTS,
        next_at=NOON,
        firing=names[:firing],
        resolved=names[firing:],
        quiet=("q",),
    )
    return Writing(url).message(group, found, known, at(60))


def test_a_message_is_as_severe_as_the_worst_alert_that_goes_on() -> None:
    found = message(alerts("info", "critical", "warning"), firing=3)

    assert (found.severity, found.phase, found.event) == (Severity.CRITICAL, Phase.TRIGGERED, "ALERTS_FIRING")
    assert found.title == "[FIRING:3] alertname=Down"
    assert found.text.splitlines()[0].startswith("FIRING alerts/")
    assert found.fields == {"reason": "new alerts", "route": "root", "alertname": "Down", "kept quiet": "1"}


def test_when_all_is_over_that_is_good_news() -> None:
    found = message(alerts("critical"), firing=0)

    assert (found.severity, found.phase, found.event) == (Severity.SUCCESS, Phase.RESOLVED, "ALERTS_RESOLVED")
    assert found.title == "[RESOLVED:1] alertname=Down"


def test_nobody_reads_a_thousand_lines() -> None:
    found = message(alerts(*["error"] * 1000), firing=1000)

    assert len(found.text.splitlines()) == MOST_SHOWN + 1
    assert found.text.endswith("FIRING: 980 more")


def test_a_message_has_a_link_and_the_trace_of_whoever_told() -> None:
    known = {name: replace(alert, traceparent=TRACE) for name, alert in alerts("error").items()}

    found = message(known, firing=1, url="https://ops.example.org/")

    assert found.url == "https://ops.example.org/alertGroups/g1"
    assert found.fields["trace"] == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_title_is_one_printable_line() -> None:
    found = message(alerts("error"), firing=1, group=replace(GROUP, labels={"a": "x\ny\a" + "z" * 500}))

    assert found.title.isprintable()
    assert len(found.title) == 200


def test_the_configuration_is_one_that_alertmanager_reads() -> None:
    router = a_router(
        a_route(
            'service=~"db.*"', group_wait=seconds(0), continues=True, routes=(a_route('a!="b"', receivers=("x", "y")),)
        ),
        rules=(a_rule('s="1"', 't="2"', "cluster"),),
        group_by=("...",),
    )

    found = yaml.safe_load(configuration(router))

    assert found["route"] == {
        "receiver": "duty",
        "group_by": ["..."],
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": "4h",
        "routes": [
            {
                "group_wait": "0s",
                "receiver": "duty",
                "matchers": ['service=~"db.*"'],
                "continue": True,
                "routes": [{"receiver": "x+y", "matchers": ['a!="b"'], "continue": False}],
            }
        ],
    }
    assert found["receivers"] == [{"name": "duty"}, {"name": "x+y"}]
    assert found["inhibit_rules"] == [
        {"source_matchers": ['s="1"'], "target_matchers": ['t="2"'], "equal": ["cluster"]}
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(hours=26), "26h"),
        (timedelta(milliseconds=1500), "1s500ms"),
    ],
)
def test_durations_are_written_as_by_prometheus(value: timedelta, text: str) -> None:
    assert duration_text(value) == text
