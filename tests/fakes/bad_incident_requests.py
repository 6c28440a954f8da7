"""Requests about incidents and escalation that are wrong: for each RPC what is refused, and how.

There is an incident that is open ($OPEN) and one that is resolved ($RESOLVED), another one that is open for the trouble
of the latter, the receiver "hook", the policy "default" that names it, and a request with the id USED.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fakes.bad_scaling_requests import ABORTED, LONG, MISSING, PAST, REFUSED, Row, bad
from fakes.healer_incident_stage import policy_form

OPEN: Final = "$OPEN"
RESOLVED: Final = "$RESOLVED"
USED: Final = "2f1c9a52-6c1e-4d3a-9d4e-1f0a3b5c7d9e"
NOBODY: Final = "incidents/01hzzzzzzzzzzzzzzzzzzzzzzz"
FAR: Final = "2999-01-01T00:00:00Z"
SOON: Final = "$SOON"
"""A time that a snooze may last until."""


def gone(form: Mapping[str, Any]) -> Row:
    """What it names does not exist."""
    return Row("it does not exist", form, MISSING, "NOT_FOUND")


def named(**more: Any) -> list[Row]:
    """What every request that names an incident is refused for."""
    return [
        bad("no name", more, "name"),
        bad("a name of another kind", {"name": "alerts/1"} | more, "name"),
        bad("an id that no incident has", {"name": "incidents/1"} | more, "name"),
        gone({"name": NOBODY} | more),
    ]


def steered(**more: Any) -> list[Row]:
    """What every request that changes an incident is refused for."""
    return [
        *named(**more),
        bad("no UUID", {"name": OPEN, "requestId": "1"} | more, "request_id"),
        bad("a reason that never ends", {"name": OPEN, "reason": LONG} | more, "reason"),
        bad("a reason with a bell", {"name": OPEN, "reason": "\a"} | more, "reason"),
        bad("no name, and a bad etag", {"etag": LONG} | more, "name", "etag"),
        Row("an etag of the past", {"name": OPEN, "etag": "77"} | more, ABORTED, "ETAG_MISMATCH"),
    ]


def over(**more: Any) -> Row:
    """It is resolved."""
    return Row("it is resolved", {"name": RESOLVED} | more, REFUSED, "WRONG_STATUS")


def paged(**more: Any) -> list[Row]:
    """What every request for a page is refused for."""
    return [
        bad("a negative size", {"pageSize": -1} | more, "page_size"),
        bad("a token of nobody", {"pageToken": "abc"} | more, "page_token"),
    ]


def trouble(**fields: Any) -> dict[str, Any]:
    """A trigger that is right but for these fields."""
    return {"issue": "UNHEALTHY", "summary": "it is down"} | fields


HOOK: Final = {"url": "http://127.0.0.1:1/hook"}


def receiver(**fields: Any) -> dict[str, Any]:
    """A receiver that is right but for these fields."""
    form: dict[str, Any] = {"name": "receivers/other", "webhook": HOOK} | fields
    return {name: value for name, value in form.items() if value is not None}


def policy(**fields: Any) -> dict[str, Any]:
    """A policy that is right but for these fields."""
    return policy_form(["hook"]) | {"name": "escalationPolicies/other"} | fields


def level(**fields: Any) -> dict[str, Any]:
    """A level that is right but for these fields."""
    return {"receivers": ["receivers/hook"]} | fields


RECEIVER_ROWS: Final[Sequence[Row]] = [
    bad("no receiver", {}, "receiver"),
    bad("nothing in it", {"receiver": {}}, "receiver.name", "receiver.channel"),
    bad("a name of another kind", {"receiver": receiver(name="channels/a")}, "receiver.name"),
    bad("no URL", {"receiver": receiver(webhook={})}, "receiver.webhook.url"),
    bad("a URL of another kind", {"receiver": receiver(webhook={"url": "file:///etc"})}, "receiver.webhook.url"),
    bad(
        "a secret that is none",
        {"receiver": receiver(webhook=None, slack={"url": {}})},
        "receiver.slack.url.source",
    ),
    bad("an empty e-mail", {"receiver": receiver(webhook=None, email={})}, "receiver.email.to"),
    bad(
        "two addresses in one",
        {"receiver": receiver(webhook=None, email={"to": ["a@example.org,b@example.org"]})},
        "receiver.email.to[0]",
    ),
    bad("no key", {"receiver": receiver(webhook=None, pagerduty={})}, "receiver.pagerduty.routing_key"),
    bad(
        "a variable that none can be",
        {"receiver": receiver(webhook=None, pagerduty={"routingKey": {"env": "A B"}})},
        "receiver.pagerduty.routing_key.env",
    ),
    bad("a long story", {"receiver": receiver(description=LONG)}, "receiver.description"),
]

POLICY_ROWS: Final[Sequence[Row]] = [
    bad("no policy", {}, "policy"),
    bad("nothing in it", {"policy": {}}, "policy.name", "policy.levels"),
    bad("a name of another kind", {"policy": policy(name="policies/a")}, "policy.name"),
    bad("a level of nobody", {"policy": policy(levels=[{}])}, "policy.levels[0].receivers"),
    bad(
        "a receiver that is none",
        {"policy": policy(levels=[level(receivers=["hook"])])},
        "policy.levels[0].receivers[0]",
    ),
    bad(
        "the same receiver twice",
        {"policy": policy(levels=[level(receivers=["receivers/hook"] * 2)])},
        "policy.levels[0].receivers[1]",
    ),
    bad(
        "eleven receivers",
        {"policy": policy(levels=[level(receivers=[f"receivers/r{index}" for index in range(11)])])},
        "policy.levels[0].receivers",
    ),
    bad("no time to answer", {"policy": policy(levels=[level(wait="0.5s")])}, "policy.levels[0].wait"),
    bad("a level that waits for weeks", {"policy": policy(levels=[level(wait="999999s")])}, "policy.levels[0].wait"),
    bad("ten loops", {"policy": policy(numLoops=10)}, "policy.num_loops"),
    bad("less than none", {"policy": policy(numLoops=-1)}, "policy.num_loops"),
    bad("a beginning in the past", {"policy": policy(beginAfter="-1s")}, "policy.begin_after"),
    bad("an acknowledgement of weeks", {"policy": policy(ackTimeout="999999s")}, "policy.ack_timeout"),
    bad("a resolution after weeks", {"policy": policy(resolveTimeout="999999s")}, "policy.resolve_timeout"),
    bad("an unknown strategy", {"policy": policy(levels=[level(strategy=9)])}, "policy.levels[0].strategy"),
    bad("an unknown severity", {"policy": policy(minSeverity=9)}, "policy.min_severity"),
    bad("a negative priority", {"policy": policy(priority=-1)}, "policy.priority"),
    bad("a label without a name", {"policy": policy(match={"": "a"})}, 'policy.match[""]'),
    bad(
        "receivers that do not exist",
        {"policy": policy(levels=[level(), level(receivers=["receivers/hook", "receivers/nobody"])])},
        "policy.levels[1].receivers[1]",
    ),
]

INCIDENT_TABLES: Final[Mapping[str, Sequence[Row]]] = {
    "TriggerIncident": [
        bad("nothing in it", {}, "issue", "summary"),
        bad("no UUID", trouble(requestId="1"), "request_id"),
        Row(
            "an id of another request",
            trouble(requestId=USED),
            reason="REQUEST_ID_REUSED",
            fields=frozenset({"request_id"}),
        ),
        bad("a key that is too long", trouble(key="k" * 256), "key"),
        bad("an issue with a bell", trouble(issue="\a"), "issue"),
        bad("a long story", trouble(summary=LONG), "summary"),
        bad("an unknown severity", trouble(severity=9), "severity"),
        bad("an unknown platform", trouble(target={"platform": "vax", "workload": "a"}), "target.platform"),
        bad("a target without a name", trouble(target={}), "target.workload"),
        bad("too many labels", trouble(labels={f"l{index}": "" for index in range(65)}), "labels"),
        bad("a label without a name", trouble(labels={"": "a"}), 'labels[""]'),
        bad("an annotation of a book", trouble(annotations={"a": LONG}), 'annotations["a"]'),
    ],
    "GetIncident": named(),
    "ListIncidents": [
        *paged(),
        bad("an unknown field", {"filter": "colour = red"}, "filter"),
        bad("an unknown status", {"filter": "status = ASLEEP"}, "filter"),
        bad("no end", {"filter": "status ="}, "filter"),
    ],
    "AcknowledgeIncident": [*steered(), over()],
    "ResolveIncident": [*steered(), over()],
    "ReopenIncident": [
        *steered(),
        Row("it is open", {"name": OPEN}, REFUSED, "WRONG_STATUS"),
        Row("another one is open for its trouble", {"name": RESOLVED}, REFUSED, "KEY_TAKEN"),
    ],
    "EscalateIncident": [*steered(), over()],
    "ReassignIncident": [
        *steered(receivers=["receivers/hook"]),
        over(receivers=["receivers/hook"]),
        bad("to nobody", {"name": OPEN}, "policy"),
        bad(
            "to both",
            {"name": OPEN, "policy": "escalationPolicies/default", "receivers": ["receivers/hook"]},
            "policy",
        ),
        bad("to a policy of another kind", {"name": OPEN, "policy": "default"}, "policy"),
        bad("to the same one twice", {"name": OPEN, "receivers": ["receivers/hook"] * 2}, "receivers[1]"),
        gone({"name": OPEN, "policy": "escalationPolicies/none"}),
        gone({"name": OPEN, "receivers": ["receivers/none"]}),
    ],
    "SnoozeIncident": [
        *steered(until=SOON),
        bad("no end", {"name": OPEN}, "until"),
        bad("an end in the past", {"name": OPEN, "until": PAST}, "until"),
        bad("an end that nobody lives to see", {"name": OPEN, "until": FAR}, "until"),
        bad("no name and no end", {}, "name", "until"),
        over(until=SOON),
        Row("a moment that no calendar holds", {"name": OPEN}, fields=frozenset({"until"}), beyond="until"),
    ],
    "AddIncidentNote": [
        *named(text="a"),
        bad("no UUID", {"name": OPEN, "text": "a", "requestId": "1"}, "request_id"),
        bad("nothing to say", {"name": OPEN}, "text"),
        bad("a book", {"name": OPEN, "text": LONG * 2}, "text"),
    ],
    "MergeIncidents": [
        *steered(sources=[RESOLVED]),
        bad("with nobody", {"name": OPEN}, "sources"),
        bad("with the same one twice", {"name": OPEN, "sources": [RESOLVED, RESOLVED]}, "sources[1]"),
        bad("with another kind", {"name": OPEN, "sources": ["alerts/1"]}, "sources[0]"),
        gone({"name": OPEN, "sources": [NOBODY]}),
        Row("with itself", {"name": OPEN, "sources": [OPEN]}, REFUSED, "MERGE_WITH_ITSELF"),
        Row("with one that is resolved", {"name": OPEN, "sources": [RESOLVED]}, REFUSED, "WRONG_STATUS"),
        over(sources=[OPEN]),
    ],
    "WatchIncidents": [
        *named(),
        bad("a token of nobody", {"name": OPEN, "resumeToken": "abc"}, "resume_token"),
        bad("a heart that races", {"name": OPEN, "heartbeat": "0.01s"}, "heartbeat"),
        bad("a heart that stops", {"name": OPEN, "heartbeat": "61s"}, "heartbeat"),
        bad("batches of nothing", {"name": OPEN, "maxBatch": 0}, "max_batch"),
    ],
    "GetTimeline": [*named(), *paged(name=OPEN)],
    "ListMessages": [
        bad("no parent", {}, "parent"),
        bad("a parent of another kind", {"parent": "alerts/1"}, "parent"),
        *paged(parent=OPEN),
    ],
    "GetIncidentStatistics": [
        bad("an end before its begin", {"startTime": FAR, "endTime": PAST}, "end_time"),
        bad("an unknown field", {"filter": "colour = red"}, "filter"),
        Row("a moment that no calendar holds", {}, fields=frozenset({"start_time"}), beyond="start_time"),
        Row("an end that no calendar holds", {}, fields=frozenset({"end_time"}), beyond="end_time"),
    ],
}

ESCALATION_TABLES: Final[Mapping[str, Sequence[Row]]] = {
    "CreateReceiver": [
        *RECEIVER_ROWS,
        bad("no UUID", {"requestId": "1", "receiver": receiver()}, "request_id"),
        Row("the name is taken", {"receiver": receiver(name="receivers/hook")}, REFUSED, "RECEIVER_EXISTS"),
    ],
    "GetReceiver": [bad("no name", {}, "name"), gone({"name": "receivers/none"})],
    "ListReceivers": paged(),
    "UpdateReceiver": [
        *RECEIVER_ROWS,
        gone({"receiver": receiver()}),
        bad("no such field", {"receiver": receiver(name="receivers/hook"), "updateMask": "colour"}, "update_mask"),
        bad("never the name", {"receiver": receiver(name="receivers/hook"), "updateMask": "name"}, "update_mask"),
        bad(
            "a channel that it does not give",
            {"receiver": receiver(name="receivers/hook"), "updateMask": "slack"},
            "update_mask",
        ),
        Row(
            "an etag of the past",
            {"receiver": receiver(name="receivers/hook", etag="77")},
            ABORTED,
            "ETAG_MISMATCH",
        ),
    ],
    "DeleteReceiver": [
        bad("no name", {}, "name"),
        gone({"name": "receivers/none"}),
        Row("an etag of the past", {"name": "receivers/hook", "etag": "77"}, ABORTED, "ETAG_MISMATCH"),
        Row("a policy names it", {"name": "receivers/hook"}, REFUSED, "RECEIVER_IN_USE"),
    ],
    "TestNotify": [
        bad("no name", {}, "name"),
        bad("a book", {"name": "receivers/hook", "text": LONG}, "text"),
        gone({"name": "receivers/none"}),
    ],
    "CreateEscalationPolicy": [
        *POLICY_ROWS,
        bad("no UUID", {"requestId": "1", "policy": policy()}, "request_id"),
        Row(
            "the name is taken",
            {"policy": policy(name="escalationPolicies/default")},
            REFUSED,
            "ESCALATION_POLICY_EXISTS",
        ),
    ],
    "GetEscalationPolicy": [bad("no name", {}, "name"), gone({"name": "escalationPolicies/none"})],
    "ListEscalationPolicies": paged(),
    "UpdateEscalationPolicy": [
        *[row for row in POLICY_ROWS if row.why != "receivers that do not exist"],
        gone({"policy": policy()}),
        bad(
            "receivers that do not exist",
            {"policy": policy(name="escalationPolicies/default", levels=[level(receivers=["receivers/nobody"])])},
            "policy.levels[0].receivers[0]",
        ),
        bad("no such field", {"policy": policy(), "updateMask": "colour"}, "update_mask"),
        Row(
            "an etag of the past",
            {"policy": policy(name="escalationPolicies/default", etag="77")},
            ABORTED,
            "ETAG_MISMATCH",
        ),
    ],
    "DeleteEscalationPolicy": [
        bad("no name", {}, "name"),
        gone({"name": "escalationPolicies/none"}),
        Row("an etag of the past", {"name": "escalationPolicies/default", "etag": "77"}, ABORTED, "ETAG_MISMATCH"),
    ],
    "PreviewEscalation": [
        bad("of nothing", {}, "policy"),
        bad("of both", {"policy": policy(), "policyName": "escalationPolicies/default"}, "policy"),
        bad("of a policy without levels", {"policy": {"name": "escalationPolicies/a"}}, "policy.levels"),
        gone({"policyName": "escalationPolicies/none"}),
        bad("no time at all", {"policyName": "escalationPolicies/default", "horizon": "0s"}, "horizon"),
        bad("for years", {"policyName": "escalationPolicies/default", "horizon": "9999999s"}, "horizon"),
        bad(
            "what is nothing",
            {"policyName": "escalationPolicies/default", "events": [{}]},
            "events[0].kind",
            "events[0].time",
        ),
        bad(
            "what cannot happen",
            {
                "policyName": "escalationPolicies/default",
                "events": [{"kind": "PREVIEW_EVENT_KIND_REOPENED", "time": FAR}],
                "openTime": FAR,
            },
            "events[0]",
        ),
        bad(
            "a snooze without an end",
            {
                "policyName": "escalationPolicies/default",
                "events": [{"kind": "PREVIEW_EVENT_KIND_SNOOZED", "time": FAR}],
                "openTime": FAR,
            },
            "events[0]",
        ),
        Row(
            "a moment that no calendar holds",
            {"policyName": "escalationPolicies/default"},
            fields=frozenset({"open_time"}),
            beyond="open_time",
        ),
        bad(
            "the end of time",
            {"policyName": "escalationPolicies/default", "openTime": "9999-12-31T23:59:59Z"},
            "open_time",
        ),
    ],
}
