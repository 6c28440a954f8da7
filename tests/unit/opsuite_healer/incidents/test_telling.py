"""What people are told of an incident."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.healer_incidents import after, an_incident
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.application.incidents.telling import Wording, one_line, trace_id
from opsuite_healer.domain.incidents import lifecycle
from opsuite_healer.domain.incidents.incident import Resolver
from opsuite_healer.domain.trouble import Severity
from opsuite_notify.port import TITLE_LIMIT, Phase
from opsuite_notify.port import Severity as Attention

TRACE = "0af7651916cd43dd8448eb211c80319c"
WORDING = Wording("https://ops.example.org/")


def test_a_call_holds_link_trace_and_the_exact_commands_for_what_comes_next() -> None:
    incident = an_incident(
        traceparent=f"00-{TRACE}-b7ad6b7169203331-01",
        annotations={"deployment": "pipelines/shop/environments/live/deployments/01deploy"},
    )

    message = WORDING.escalation(incident, "open since noon", after(5))

    assert message.title == "[ERROR] checkout does not answer"
    assert message.url == "https://ops.example.org/incidents/01incident"
    assert dict(message.fields) == {
        "incident": "incidents/01incident",
        "issue": "UNHEALTHY",
        "target": "process/checkout",
        "severity": "ERROR",
        "since": "2026-06-01T12:00:00+00:00",
        "trace": TRACE,
        "acknowledge": "opsuite incident acknowledge 01incident",
        "rollback": "opsuite rollback 01deploy",
    }
    assert (message.key, message.phase, message.severity) == ("k1", Phase.TRIGGERED, Attention.ERROR)


def test_without_a_public_url_there_is_no_link() -> None:
    assert Wording().escalation(an_incident(), "", after(5)).url == ""


def test_what_became_of_it_closes_the_same_alert_and_asks_for_nothing() -> None:
    changed = lifecycle.resolved(an_incident(), Resolver.ACTION, "healer", "restarted, healthy for 60 s", after(9))

    message = WORDING.news(changed.incident, changed.entries[0])

    assert (message.event, message.phase, message.severity) == ("INCIDENT_RESOLVED", Phase.RESOLVED, Attention.SUCCESS)
    assert message.title == "[RESOLVED] checkout does not answer"
    assert message.text == "healer: restarted, healthy for 60 s"
    assert "acknowledge" not in message.fields


def test_an_acknowledgement_says_by_whom() -> None:
    changed = lifecycle.acknowledged(an_incident(), "ann", "on it", after(9))

    message = WORDING.news(changed.incident, changed.entries[0])

    assert (message.event, message.phase, message.text) == ("INCIDENT_ACKNOWLEDGED", Phase.ACKNOWLEDGED, "ann: on it")


@pytest.mark.parametrize(
    ("traceparent", "found"), [(f"00-{TRACE}-b7ad6b7169203331-01", TRACE), ("", ""), ("nonsense", ""), ("00-1-2-3", "")]
)
def test_a_trace_is_named_where_there_is_one(traceparent: str, found: str) -> None:
    assert trace_id(traceparent) == found


@given(st.text(max_size=500), st.sampled_from(Severity))
def test_whatever_a_summary_holds_people_can_be_told(summary: str, severity: Severity) -> None:
    incident = replace(an_incident(), summary=summary, severity=severity)

    assert WORDING.escalation(incident, summary, after(1)).title
    assert WORDING.exhausted(incident, summary, after(1)).title
    assert len(one_line(summary)) <= TITLE_LIMIT
