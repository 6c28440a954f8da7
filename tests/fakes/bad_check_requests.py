"""Requests about checks that are wrong: for each RPC what is refused, and how.

There is a check "shop" of etag 1 that is paused, and was made with the request id USED.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fakes.bad_scaling_requests import ABORTED, LONG, MISSING, REFUSED, Row, bad, named

USED: Final = "7b0c9a52-6c1e-4d3a-9d4e-1f0a3b5c7d9e"
NOTHING_TO_REFUSE: Final[frozenset[str]] = frozenset()


def check(**fields: Any) -> dict[str, Any]:
    """A check that is right but for these fields."""
    form: dict[str, Any] = {
        "name": "healthChecks/other",
        "target": {"workload": "other"},
        "tcp": {"address": "127.0.0.1:1"},
        "paused": True,
    }
    return {name: value for name, value in (form | fields).items() if value is not None}


def probe(**fields: Any) -> dict[str, Any]:
    """A check that asks nothing but this."""
    return check(**({"tcp": None} | fields))


def shape(why: str, field: str, form: Mapping[str, Any]) -> Row:
    """A check whose shape is wrong in one field."""
    return bad(why, {"check": form}, f"check.{field}")


def rule(why: str, field: str, form: Mapping[str, Any]) -> Row:
    """A check that is against a rule in one field."""
    return bad(why, {"check": form}, f"check.{field}", reason="CHECK_INVALID")


SHAPES: Final[Sequence[Row]] = [
    bad("no check", {}, "check"),
    bad("nothing in it", {"check": {}}, "check.name", "check.target", "check.probe"),
    shape("a name of another kind", "name", check(name="pipelines/other")),
    shape("a name with capitals", "name", check(name="healthChecks/Other")),
    shape("a long name", "name", check(name="healthChecks/" + "x" * 64)),
    shape("no workload", "target.workload", check(target={})),
    shape("a workload with a slash", "target.workload", check(target={"workload": "a/b"})),
    shape("an unknown platform", "target.platform", check(target={"workload": "a", "platform": "vax"})),
    shape("a namespace with a dot", "target.namespace", check(target={"workload": "a", "namespace": "a.b"})),
    shape("no probe", "probe", probe()),
    shape("a long description", "description", check(description=LONG)),
    shape("a control character", "description", check(description="a\x1bb")),
    shape("a group with a space", "group", check(group="a b")),
    shape("no URL", "http.url", probe(http={})),
    shape("a long URL", "http.url", probe(http={"url": f"http://{LONG}"})),
    shape("a status of 99", "http.expected_status", probe(http={"url": "http://a/", "expectedStatus": 99})),
    shape("a long body", "http.body_contains", probe(http={"url": "http://a/", "bodyContains": LONG})),
    shape("no address", "tcp.address", probe(tcp={})),
    shape("a long service", "grpc.service", probe(grpc={"address": "a:1", "service": "x" * 256})),
    shape("no command", "command.command", probe(command={})),
    shape("too many arguments", "command.args", probe(command={"command": "true", "args": ["x"] * 257})),
    shape("no restarts at all", "state.restart_limit", probe(state={"restartLimit": 0})),
    shape("no query", "prometheus.query", probe(prometheus={"levels": {"raise": 1}})),
    shape("no levels", "prometheus.levels", probe(prometheus={"query": "up"})),
    shape("a Prometheus of no URL", "prometheus.url", probe(prometheus={"query": "up", "levels": {}, "url": "no"})),
    shape("no PostgreSQL", "postgresql.url", probe(postgresql={})),
    shape("a password nowhere", "redis.password.source", probe(redis={"url": "redis://a", "password": {}})),
    shape("no certificate", "certificate.address", probe(certificate={})),
    shape("a relative path", "disk.path", probe(disk={"path": "srv"})),
    shape("more than all of a disk", "disk.raise_percent", probe(disk={"path": "/", "raisePercent": 101})),
    shape("no interval", "interval", check(interval="0s")),
    shape("a negative interval", "interval", check(interval="-5s")),
    shape("an interval of two days", "interval", check(interval="172800s")),
    shape("no time to answer", "timeout", check(timeout="0s")),
    shape("a threshold of 0", "success_threshold", check(successThreshold=0)),
    shape("a negative threshold", "failure_threshold", check(failureThreshold=-1)),
    shape("a grace of two days", "startup_grace", check(startupGrace="172800s")),
    shape("an unknown severity", "severity", check(severity=99)),
    shape("an issue in small letters", "issue", check(issue="down")),
    shape("too many labels", "labels", check(labels={f"l{number}": "x" for number in range(33)})),
    shape("a label with a dash", 'labels["a-b"]', check(labels={"a-b": "x"})),
    shape("a long label", 'labels["a"]', check(labels={"a": "x" * 256})),
    shape("more than all", "flapping.high_percent", check(flapping={"highPercent": 101})),
]
RULES: Final[Sequence[Row]] = [
    rule("no such URL", "http.url", probe(http={"url": "gopher://a/"})),
    rule("a host alone", "tcp.address", probe(tcp={"address": "localhost"})),
    rule("no such port", "grpc.address", probe(grpc={"address": "a:0"})),
    rule("a template nobody fills", "target.platform", probe(tcp={"address": "127.0.0.1:${port}"})),
    rule("a state nobody knows", "target.platform", probe(state={})),
    rule("a command that is not allowed", "command.command", probe(command={"command": "rm"})),
    rule("a shell in an argument", "command.args[0]", probe(command={"command": "git", "args": ["$(id)"]})),
    rule("a path out of the roots", "command.args[0]", probe(command={"command": "make", "args": ["/etc/passwd"]})),
    rule("MySQL", "postgresql.url", probe(postgresql={"url": "mysql://a/b"})),
    rule("a password in a URL", "redis.url", probe(redis={"url": "redis://:hunter2@a"})),
    rule(
        "a clear above the raise", "disk.clear_percent", probe(disk={"path": "/", "raisePercent": 5, "clearPercent": 6})
    ),
    rule(
        "a clear above the raise",
        "prometheus.levels.clear",
        probe(prometheus={"query": "up", "levels": {"raise": 1, "clear": 2}}),
    ),
    rule("infinity", "prometheus.levels.raise", probe(prometheus={"query": "up", "levels": {"raise": "Infinity"}})),
    rule("a timeout beyond the interval", "timeout", check(interval="1s", timeout="2s")),
    rule("a label of ours", 'labels["workload"]', check(labels={"workload": "x"})),
    rule("a low above the high", "flapping.low_percent", check(flapping={"highPercent": 10, "lowPercent": 11})),
    bad(
        "everything at once",
        {"check": check(target={"workload": "a", "namespace": "b"}, timeout="60s", labels={"check": "x"})},
        "check.target.namespace",
        "check.timeout",
        'check.labels["check"]',
        reason="CHECK_INVALID",
    ),
]
WRITTEN: Final = [*SHAPES, *RULES]
SHOP: Final = check(name="healthChecks/shop", target={"workload": "shop"})

CHECK_TABLES: Final[Mapping[str, Sequence[Row]]] = {
    "CreateCheck": [
        *WRITTEN,
        *(
            Row(f"{row.why}, only validated", {**row.form, "validateOnly": True}, row.code, row.reason, row.fields)
            for row in RULES
        ),
        bad("no UUID", {"requestId": "1", "check": check()}, "request_id"),
        Row("a name that is taken", {"check": SHOP}, REFUSED, "CHECK_EXISTS"),
        Row("the same, only validated", {"check": SHOP, "validateOnly": True}, REFUSED, "CHECK_EXISTS"),
        bad(
            "an id of another request", {"requestId": USED, "check": check()}, "request_id", reason="REQUEST_ID_REUSED"
        ),
    ],
    "GetCheck": named("healthChecks"),
    "ListChecks": [
        bad("a negative size", {"pageSize": -1}, "page_size"),
        bad("a token of nobody", {"pageToken": "abc"}, "page_token"),
        bad("a long token", {"pageToken": LONG}, "page_token"),
        bad("a filter over nothing", {"filter": "colour = 1"}, "filter"),
        bad("half a filter", {"filter": "group ="}, "filter"),
        bad("a long filter", {"filter": LONG}, "filter"),
    ],
    "UpdateCheck": [
        *SHAPES,
        *(
            Row(row.why, {"check": {**row.form["check"], "name": SHOP["name"]}}, row.code, row.reason, row.fields)
            for row in RULES
            if "target" not in row.form["check"] or row.form["check"]["target"] == {"workload": "other"}
            if "platform" not in "".join(row.fields)
        ),
        Row("it does not exist", {"check": check(name="healthChecks/nobody")}, MISSING, "NOT_FOUND"),
        Row("an etag of the past", {"check": SHOP | {"etag": "77"}}, ABORTED, "ETAG_MISMATCH"),
        bad("a mask of nothing", {"check": SHOP, "updateMask": "colour"}, "update_mask"),
        bad("another name", {"check": SHOP, "updateMask": "name"}, "update_mask"),
        bad("another target", {"check": SHOP, "updateMask": "target"}, "update_mask"),
        bad("a part of a part", {"check": SHOP, "updateMask": "tcp.address"}, "update_mask"),
        bad("no UUID", {"requestId": "1", "check": SHOP}, "request_id"),
        bad("a long etag", {"check": SHOP | {"etag": "7" * 65}}, "check.etag"),
    ],
    "DeleteCheck": [
        *named("healthChecks"),
        Row("an etag of the past", {"name": "healthChecks/shop", "etag": "77"}, ABORTED, "ETAG_MISMATCH"),
        bad("no UUID", {"requestId": "1", "name": "healthChecks/shop"}, "request_id"),
        bad("a long etag", {"name": "healthChecks/shop", "etag": "7" * 65}, "etag"),
    ],
    "CheckAll": [
        bad("no UUID", {"requestId": "1"}, "request_id"),
        bad("a group with a space", {"group": "a b"}, "group"),
    ],
    "CheckTarget": [
        bad("no target", {}, "target"),
        bad("no workload", {"target": {}}, "target.workload"),
        bad("an unknown platform", {"target": {"workload": "a", "platform": "vax"}}, "target.platform"),
        bad("no UUID", {"requestId": "1", "target": {"workload": "shop"}}, "request_id"),
        Row("nobody checks it", {"target": {"workload": "nobody"}}, MISSING, "NOT_FOUND"),
        Row("nobody checks that replica", {"target": {"workload": "shop", "replica": "shop-9"}}, MISSING, "NOT_FOUND"),
    ],
    "WatchHealth": [
        *named("healthChecks"),
        bad("no such token", {"name": "healthChecks/shop", "resumeToken": "abc"}, "resume_token"),
        bad("a long token", {"name": "healthChecks/-", "resumeToken": "x" * 257}, "resume_token"),
        bad("no heartbeat", {"name": "healthChecks/-", "heartbeat": "0s"}, "heartbeat"),
        bad("a heartbeat of an hour", {"name": "healthChecks/-", "heartbeat": "3600s"}, "heartbeat"),
        bad("no batch", {"name": "healthChecks/-", "maxBatch": 0}, "max_batch"),
    ],
    "GetFlapState": [
        *named("healthChecks"),
        bad("a long replica", {"name": "healthChecks/shop", "replica": "x" * 254}, "replica"),
    ],
    "EvaluateFlapping": [
        bad("no answers", {}, "answers"),
        bad("too many answers", {"answers": [1] * 10_001}, "answers"),
        bad("an answer of no meaning", {"answers": [1, 0]}, "answers[1]"),
        bad("an answer that nobody knows", {"answers": [9]}, "answers[0]"),
        bad("a threshold of 0", {"answers": [1], "failureThreshold": 0}, "failure_threshold"),
        bad("more than all", {"answers": [1], "flapping": {"highPercent": 101}}, "flapping.high_percent"),
        bad(
            "a low above the high",
            {"answers": [1], "flapping": {"highPercent": 10, "lowPercent": 11}},
            "flapping.low_percent",
        ),
    ],
}
