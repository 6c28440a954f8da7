from __future__ import annotations

import json
from typing import Any

import pytest
from fakes.alert_receivers import pagerduty_faults
from fakes.clock import NOON
from hypothesis import given
from hypothesis import strategies as st

from opsuite_notify.pagerduty import dedup_key, pagerduty_body
from opsuite_notify.port import Message, Phase, Severity

KEY = "0123456789abcdef0123456789abcdef"


def a_message(**changes: Any) -> Message:
    given_fields: dict[str, Any] = {
        "event": "INCIDENT_OPEN",
        "title": "[ERROR] checkout does not answer",
        "text": "open since noon",
        "time": NOON,
        "key": "k1",
        "severity": Severity.ERROR,
        "fields": {"acknowledge": "opsuite incident acknowledge 01abc"},
        "url": "https://ops.example.org/incidents/01abc",
        "source": "process/checkout",
    }
    return Message(**given_fields | changes)


def event(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(pagerduty_body(KEY, a_message(**changes)))
    return body


def test_an_event_triggers_an_alert_of_the_messages_key() -> None:
    assert event() == {
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": "k1",
        "payload": {
            "summary": "[ERROR] checkout does not answer",
            "source": "process/checkout",
            "severity": "error",
            "timestamp": "2026-06-01T12:00:00.000+00:00",
            "class": "INCIDENT_OPEN",
            "custom_details": {
                "text": "open since noon",
                "acknowledge": "opsuite incident acknowledge 01abc",
            },
        },
        "client": "opsuite",
        "client_url": "https://ops.example.org/incidents/01abc",
        "links": [{"href": "https://ops.example.org/incidents/01abc", "text": "Read more"}],
    }


@pytest.mark.parametrize(("phase", "action"), [(Phase.ACKNOWLEDGED, "acknowledge"), (Phase.RESOLVED, "resolve")])
def test_what_follows_goes_to_the_same_alert_without_a_payload(phase: Phase, action: str) -> None:
    assert event(phase=phase) == {"routing_key": KEY, "event_action": action, "dedup_key": "k1"}


@pytest.mark.parametrize(
    ("severity", "word"),
    [
        (Severity.INFO, "info"),
        (Severity.SUCCESS, "info"),
        (Severity.WARNING, "warning"),
        (Severity.ERROR, "error"),
        (Severity.CRITICAL, "critical"),
    ],
)
def test_severities_are_those_of_the_api(severity: Severity, word: str) -> None:
    assert event(severity=severity)["payload"]["severity"] == word


def test_a_key_that_is_too_long_becomes_a_digest_that_stays_the_same() -> None:
    assert dedup_key("x" * 255) == "x" * 255
    assert dedup_key("x" * 256) == dedup_key("x" * 256)
    assert dedup_key("x" * 256) != dedup_key("x" * 257)
    assert len(dedup_key("x" * 256)) == 64


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(
    title=st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=200),
    text=texts,
    key=st.text(min_size=1, max_size=400),
    fields=st.dictionaries(texts, texts, max_size=5),
    url=st.sampled_from(["", "https://ops.example.org/x"]),
    source=st.sampled_from(["", "process/checkout"]),
    phase=st.sampled_from(Phase),
    severity=st.sampled_from(Severity),
)
def test_every_message_becomes_an_event_that_the_api_takes(**changes: Any) -> None:
    assert pagerduty_faults(pagerduty_body(KEY, a_message(**changes))) == []


def test_the_largest_message_is_not_too_large() -> None:
    fields = {f"field {number}": "ü" * 100_000 for number in range(20)}

    assert pagerduty_faults(pagerduty_body(KEY, a_message(text="ü" * 100_000, fields=fields))) == []
