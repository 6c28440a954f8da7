"""Requests about alerts and silences that are wrong: for each RPC what is refused, and how.

There is an alert that goes on, a silence in force ($SILENCE), one that is over ($OVER), a routing of etag 2, and a
silence that was made with the request id USED.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fakes.bad_scaling_requests import ABORTED, LONG, MISSING, PAST, REFUSED, Row, bad

SILENCE: Final = "$SILENCE"
OVER: Final = "$OVER"
SOON: Final = "$SOON"
USED: Final = "7b0c9a52-6c1e-4d3a-9d4e-1f0a3b5c7d9e"
NOBODY: Final = "silences/01hzzzzzzzzzzzzzzzzzzzzzzz"
FAR: Final = "2999-01-01T00:00:00Z"
BAD_PATTERN: Final = {"label": "a", "operator": "MATCH_OPERATOR_MATCHES", "value": "("}
NOTHING_TO_REFUSE: Final = {"GetRouting"}


def alert(**fields: Any) -> dict[str, Any]:
    """An alert that is right but for these fields."""
    return {"labels": {"alertname": "Other"}} | fields


def pushed(why: str, field: str, **fields: Any) -> Row:
    """An alert that is wrong in one field."""
    return bad(why, {"alerts": [alert(), alert(**fields)]}, f"alerts[1].{field}")


def silence(**fields: Any) -> dict[str, Any]:
    """A silence that is right but for these fields."""
    form: dict[str, Any] = {"matchers": [{"label": "a", "value": "b"}], "endTime": SOON, "comment": "why"}
    return {name: value for name, value in (form | fields).items() if value is not None}


def root(**fields: Any) -> dict[str, Any]:
    """A routing whose first route has these fields."""
    return {"routing": {"root": fields}}


def paged(**more: Any) -> list[Row]:
    """What every request for a page is refused for."""
    return [
        bad("a negative size", {"pageSize": -1} | more, "page_size"),
        bad("a token of nobody", {"pageToken": "abc"} | more, "page_token"),
        bad("a long token", {"pageToken": LONG} | more, "page_token"),
    ]


def named(kind: str, missing: str, **more: Any) -> list[Row]:
    """What every request that names one thing is refused for."""
    return [
        bad("no name", more, "name"),
        bad("a name of another kind", {"name": "incidents/1"} | more, "name"),
        bad("an id of another shape", {"name": f"{kind}/A"} | more, "name"),
        Row("it does not exist", {"name": missing} | more, MISSING, "NOT_FOUND"),
    ]


ROUTING_ROWS: Final[Sequence[Row]] = [
    bad("nothing", {}, "routing"),
    bad("no root", {"routing": {}}, "routing.root"),
    bad("an id that is no label", root(id="My Route"), "routing.root.id"),
    bad("a root with matchers", root(matchers=[{"label": "a", "value": "b"}]), "routing.root.matchers"),
    bad(
        "bad expressions, everywhere",
        {
            "routing": {
                "root": {"routes": [{"matchers": [BAD_PATTERN], "routes": [{"matchers": [BAD_PATTERN]}]}]},
                "inhibitRules": [{"name": "r", "sourceMatchers": [BAD_PATTERN], "targetMatchers": [BAD_PATTERN]}],
            }
        },
        "routing.root.routes[0].matchers[0].value",
        "routing.root.routes[0].routes[0].matchers[0].value",
        "routing.inhibit_rules[0].source_matchers[0].value",
        "routing.inhibit_rules[0].target_matchers[0].value",
    ),
    bad("two routes of one id", root(routes=[{"id": "a"}, {"id": "a"}]), "routing.root.routes[1].id"),
    bad("a label that is none", root(groupBy={"labels": ["a-b"]}), "routing.root.group_by.labels[0]"),
    bad("all labels and one", root(groupBy={"labels": ["...", "a"]}), "routing.root.group_by.labels"),
    bad("a receiver twice", root(receivers=["a", "a"]), "routing.root.receivers[1]"),
    bad("an interval of nothing", root(groupInterval="0s"), "routing.root.group_interval"),
    bad("a negative wait", root(groupWait="-1s"), "routing.root.group_wait"),
    bad("a repetition once a year", root(repeatInterval="31536000s"), "routing.root.repeat_interval"),
    bad(
        "rules without sides or of one name",
        {"routing": {"root": {}, "inhibitRules": [{"name": "r"}, {"name": "r"}]}},
        "routing.inhibit_rules[0].source_matchers",
        "routing.inhibit_rules[0].target_matchers",
        "routing.inhibit_rules[1].source_matchers",
        "routing.inhibit_rules[1].target_matchers",
        "routing.inhibit_rules[1].name",
    ),
    bad(
        "an unknown scope",
        {
            "routing": {
                "root": {},
                "inhibitRules": [
                    {
                        "name": "r",
                        "sourceMatchers": [{"label": "a"}],
                        "targetMatchers": [{"label": "b"}],
                        "scope": 77,
                    }
                ],
            }
        },
        "routing.inhibit_rules[0].scope",
    ),
    bad("a timeout of nothing", {"routing": {"root": {}, "resolveTimeout": "0s"}}, "routing.resolve_timeout"),
]

SILENCE_ROWS: Final[Sequence[Row]] = [
    bad("no silence", {}, "silence"),
    bad("nothing in it", {"silence": {}}, "silence.comment", "silence.matchers", "silence.end_time"),
    bad("a label that is none", {"silence": silence(matchers=[{"label": "a-b"}])}, "silence.matchers[0].label"),
    bad("a bad expression", {"silence": silence(matchers=[BAD_PATTERN])}, "silence.matchers[0].value"),
    bad("everything", {"silence": silence(matchers=[{"label": "a", "value": ""}])}, "silence.matchers"),
    bad("an end in the past", {"silence": silence(endTime=PAST)}, "silence.end_time"),
    bad("an end in a thousand years", {"silence": silence(endTime=FAR)}, "silence.end_time"),
    bad("a comment that never ends", {"silence": silence(comment=LONG)}, "silence.comment"),
    bad("an author with a bell", {"silence": silence(author="\a")}, "silence.author"),
    bad(
        "times that never come, in no zone",
        {"silence": silence(recurrence={"cron": "never", "duration": "3600s", "timeZone": "Mars/Base"})},
        "silence.recurrence.cron",
        "silence.recurrence.time_zone",
    ),
    bad(
        "times of no length",
        {"silence": silence(recurrence={"cron": "0 2 * * 1"})},
        "silence.recurrence.duration",
    ),
    bad("forgotten at once", {"silence": silence(endWhenUnmatchedFor="1s")}, "silence.end_when_unmatched_for"),
    Row(
        "a start that no calendar holds",
        {"silence": silence(startTime=PAST)},
        fields=frozenset({"silence.start_time"}),
        beyond="silence.start_time",
    ),
]

ALERT_TABLES: Final[Mapping[str, Sequence[Row]]] = {
    "PushAlerts": [
        bad("nothing", {}, "alerts"),
        bad("no labels", {"alerts": [{}]}, "alerts[0].labels"),
        pushed("labels that say nothing", "labels", labels={"a": ""}),
        pushed("a label that is none", 'labels["a-b"]', labels={"a-b": "x"}),
        pushed("a long value", 'labels["a"]', labels={"a": LONG}),
        pushed("an annotation that is none", 'annotations["a b"]', annotations={"a b": "x"}),
        pushed("an end before its start", "end_time", startTime="2026-06-01T12:00:00Z", endTime=PAST),
        pushed("a long URL", "generator_url", generatorUrl=LONG),
        bad("no UUID", {"alerts": [alert()], "requestId": "1"}, "request_id"),
        bad("too many", {"alerts": [alert()] * 5001}, "alerts"),
        Row(
            "a start that no calendar holds",
            {"alerts": [alert(startTime=PAST)]},
            fields=frozenset({"alerts[0].start_time"}),
            beyond="alerts.0.start_time",
        ),
    ],
    "GetAlert": named("alerts", "alerts/0123456789abcdef"),
    "ListAlerts": [
        *paged(),
        bad("a bad expression", {"matchers": [BAD_PATTERN]}, "matchers[0].value"),
        bad("no label", {"matchers": [{"value": "x"}]}, "matchers[0].label"),
    ],
    "ListGroups": paged(),
    "GetRouting": [],
    "SetRouting": [
        *ROUTING_ROWS,
        bad("no UUID", root() | {"requestId": "1"}, "request_id"),
        Row("an etag of the past", {"routing": {"root": {}, "etag": "77"}}, ABORTED, "ETAG_MISMATCH"),
    ],
    "TestRoute": [
        bad("no labels", {}, "labels"),
        bad("a label that is none", {"labels": {"a-b": "x"}}, 'labels["a-b"]'),
        *[Row(row.why, {"labels": {"a": "b"}, **row.form}, fields=row.fields) for row in ROUTING_ROWS[1:]],
    ],
    "PreviewGrouping": [
        bad("nothing", {}, "alerts"),
        bad("no start", {"alerts": [alert()]}, "alerts[0].start_time"),
        bad("an end before its start", {"alerts": [alert(startTime=SOON, endTime=PAST)]}, "alerts[0].end_time"),
        bad("a story of no length", {"alerts": [alert(startTime=PAST)], "duration": "0s"}, "duration"),
        bad(
            "silences without a start, or that end before it",
            {"alerts": [alert(startTime=PAST)], "silences": [silence(), silence(startTime=SOON, endTime=PAST)]},
            "silences[0].start_time",
            "silences[1].end_time",
        ),
        *[Row(row.why, {"alerts": [alert(startTime=PAST)], **row.form}, fields=row.fields) for row in ROUTING_ROWS[1:]],
    ],
}

SILENCE_TABLES: Final[Mapping[str, Sequence[Row]]] = {
    "CreateSilence": [
        *SILENCE_ROWS,
        bad("no UUID", {"silence": silence(), "requestId": "1"}, "request_id"),
        bad(
            "the id of another request",
            {"silence": silence(), "requestId": USED},
            "request_id",
            reason="REQUEST_ID_REUSED",
        ),
    ],
    "GetSilence": named("silences", NOBODY),
    "ListSilences": paged(),
    "UpdateSilence": [
        bad("no silence", {}, "silence"),
        bad("no name", {"silence": silence()}, "silence.name"),
        bad(
            "no name, and a field that never changes",
            {"silence": silence(), "updateMask": "state"},
            "silence.name",
            "update_mask",
        ),
        *[
            Row(row.why, {"silence": {"name": SILENCE} | row.form["silence"]}, fields=row.fields, beyond=row.beyond)
            for row in SILENCE_ROWS[1:]
        ],
        Row("an etag of the past", {"silence": silence(name=SILENCE, etag="77")}, ABORTED, "ETAG_MISMATCH"),
        Row("it is over", {"silence": silence(name=OVER)}, REFUSED, "SILENCE_EXPIRED"),
        Row("it does not exist", {"silence": silence(name=NOBODY)}, MISSING, "NOT_FOUND"),
    ],
    "ExpireSilence": [
        *named("silences", NOBODY),
        bad("no UUID", {"name": SILENCE, "requestId": "1"}, "request_id"),
        bad("a reason with a bell", {"name": SILENCE, "reason": "\a"}, "reason"),
        Row("an etag of the past", {"name": SILENCE, "etag": "77"}, ABORTED, "ETAG_MISMATCH"),
    ],
}
