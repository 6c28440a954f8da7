"""Requests about forecasts and backtests that are wrong, as `bad_scaling_requests` has them for the rest of the scaler.

The policy "shop" has no forecast; "tide" has one, and no history. There is a trace "kept", which came with the request
id `USED`, and there are backtests that have ended: the test puts their names in the place of `SUCCEEDED` (it kept no
series) and `CANCELLED`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fakes.bad_scaling_requests import INVALID, LONG, MISSING, REFUSED, Row, bad, gone, metric, named, policy

SUCCEEDED: Final = "backtests/0000succeeded"
CANCELLED: Final = "backtests/0000cancelled"
USED: Final = "6f1c1f3e-52a5-4d0e-8b8f-2a0c4b0d9a11"
EARLY: Final = "0001-01-01T00:00:00Z"
FAR: Final = "9999-12-31T23:59:59Z"
POLICY, TRACE = "POLICY_INVALID", "TRACE_INVALID"


def trace(**fields: Any) -> dict[str, Any]:
    """A trace that is right but for these fields."""
    form: dict[str, Any] = {"step": "15s", "values": [1, 2, 3]}
    return {name: value for name, value in (form | fields).items() if value is not None}


def asked(**fields: Any) -> dict[str, Any]:
    """A range of a source that there is not, right but for these fields."""
    times = {"startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-02T00:00:00Z"}
    return {"source": "vax", "query": "up"} | times | fields


def contender(name: str = "one", **fields: Any) -> dict[str, Any]:
    """A contender with a policy of its own, unless told otherwise."""
    return {"name": name, **(fields or {"policy": policy()})}


def backtest(**fields: Any) -> dict[str, Any]:
    """A backtest that is right but for these fields."""
    return {"trace": {"inline": trace()}, "contenders": [contender()]} | fields


def comparison(**fields: Any) -> dict[str, Any]:
    """A comparison that is right but for these fields."""
    return {"trace": {"inline": trace()}, "first": contender("a"), "second": contender("b")} | fields


def unforeseen(name: str) -> Row:
    """This policy has no forecast."""
    return Row("it has no forecast", {"name": f"scalingPolicies/{name}"}, MISSING, "NO_FORECAST")


TOO_LITTLE: Final = Row(
    "it has no history", {"name": "scalingPolicies/tide"}, REFUSED, "TOO_LITTLE_HISTORY"
)  # of two seasons

NAME_IS_TAKEN: Final = Row(
    "the name is taken", {"name": "traces/kept", "trace": trace()}, REFUSED, "TRACE_EXISTS"
)  # of an ImportTrace

FORECAST_TABLES: Final[Mapping[str, Sequence[Row]]] = {
    "GetForecast": [*named("scalingPolicies"), unforeseen("shop"), TOO_LITTLE],
    "RefreshForecast": [*named("scalingPolicies"), unforeseen("shop"), TOO_LITTLE],
    "EvaluateForecast": [
        *named("scalingPolicies"),
        unforeseen("shop"),
        TOO_LITTLE,
        bad(
            "settings out of range",
            {
                "name": "scalingPolicies/tide",
                "settings": {
                    "mode": 77,
                    "model": "oracle",
                    "season": "1s",
                    "step": "0.1s",
                    "quantile": 1,
                    "margin": "-1s",
                },
            },
            *(f"settings.{field}" for field in ("mode", "model", "season", "step", "quantile", "margin")),
        ),
        bad(
            "settings that contradict one another, about a metric that there is not",
            {"name": "scalingPolicies/tide", "settings": {"season": "60s", "step": "60s", "metric": "moon"}},
            "settings.season",
            "settings.metric",
        ),
        bad(
            "the same of a policy without a forecast",
            {"name": "scalingPolicies/shop", "settings": {"season": "60s", "step": "60s"}},
            "settings.season",
        ),
        bad("no number", {"name": "scalingPolicies/tide", "settings": {"quantile": "NaN"}}, "settings.quantile"),
    ],
}

TRACE_ROWS: Final[Sequence[Row]] = [
    bad("no trace", {"trace": None}, "trace"),
    bad("a trace of nothing", {"trace": {}}, "trace.source"),
    bad("an empty trace", {"trace": {"inline": {}}}, "trace.inline.step", "trace.inline.values"),
    bad("a short step", {"trace": {"inline": trace(step="0.01s")}}, "trace.inline.step"),
    bad(
        "values that are no load, and a gap outside of it",
        {"trace": {"inline": trace(values=[1, -1, "NaN", "Infinity"], missing=[{"begin": 3, "end": 9}])}},
        *(f"trace.inline.{field}" for field in ("values[1]", "values[2]", "values[3]", "missing[0]")),
        reason=TRACE,
    ),
    bad(
        "a gap that ends before it begins",
        {"trace": {"inline": trace(missing=[{"begin": 2, "end": 1}])}},
        "trace.inline.missing[0]",
        reason=TRACE,
    ),
    bad("an end after all calendars", {"trace": {"inline": trace(startTime=FAR)}}, "trace.inline", reason=TRACE),
    bad("a start before all clocks", {"trace": {"inline": trace(startTime=EARLY)}}, "trace.inline", reason=TRACE),
    Row(
        "a time of no calendar",
        {"trace": {"inline": trace()}},
        fields=frozenset({"trace.inline.start_time"}),
        beyond="trace.inline.start_time",
    ),
    bad("a name of another kind", {"trace": {"name": "policies/kept"}}, "trace.name"),
    gone({"trace": {"name": "traces/nobody"}}),
    bad("a generator without a name", {"trace": {"generator": {}}}, "trace.generator.name"),
    bad("an unknown one", {"trace": {"generator": {"name": "vax"}}}, "trace.generator.name", reason=TRACE),
    bad(
        "one out of range",
        {"trace": {"generator": {"name": "step", "duration": "1s", "step": "0s", "scale": 0}}},
        *(f"trace.generator.{field}" for field in ("duration", "step", "scale")),
    ),
    bad(
        "one shorter than its step",
        {"trace": {"generator": {"name": "step", "duration": "60s", "step": "60s"}}},
        "trace.generator.duration",
        reason=TRACE,
    ),
    bad(
        "one of more than anybody keeps",
        {"trace": {"generator": {"name": "step", "duration": "31622400s", "step": "1s"}}},
        "trace.generator.duration",
        reason=TRACE,
    ),
    bad(
        "rollouts every hour in steps of two",
        {"trace": {"generator": {"name": "rollout", "duration": "86400s", "step": "7200s"}}},
        "trace.generator.step",
        reason=TRACE,
    ),
    bad(
        "an infinite load",
        {"trace": {"generator": {"name": "step", "scale": "Infinity"}}},
        "trace.generator.scale",
        reason=TRACE,
    ),
    bad("no policy", {"trace": {"recorded": {}}}, "trace.recorded.policy"),
    gone({"trace": {"recorded": {"policy": "scalingPolicies/nobody"}}}),
    bad(
        "a metric that the policy has not",
        {"trace": {"recorded": {"policy": "scalingPolicies/shop", "metric": "moon"}}},
        "trace.recorded.metric",
        reason=TRACE,
    ),
    bad(
        "a record that ends before it begins",
        {
            "trace": {
                "recorded": {"policy": "scalingPolicies/shop", "startTime": FAR, "endTime": "2020-01-01T00:00:00Z"}
            }
        },
        "trace.recorded.end_time",
        reason=TRACE,
    ),
    bad(
        "nothing recorded", {"trace": {"recorded": {"policy": "scalingPolicies/shop"}}}, "trace.recorded", reason=TRACE
    ),
    bad(
        "nothing asked of Prometheus",
        {"trace": {"prometheus": {}}},
        *(f"trace.prometheus.{field}" for field in ("source", "query", "start_time", "end_time")),
    ),
    bad(
        "a range that ends before it begins",
        {"trace": {"prometheus": asked(startTime=FAR)}},
        "trace.prometheus.end_time",
        reason=TRACE,
    ),
    bad(
        "a step beyond the range",
        {"trace": {"prometheus": asked(step="315576000000s")}},
        "trace.prometheus.step",
        reason=TRACE,
    ),
    Row(
        "a step that nobody can reckon with",
        {"trace": {"prometheus": asked(step="1s")}},
        fields=frozenset({"trace.prometheus.step"}),
        beyond="trace.prometheus.step",
    ),
    gone({"trace": {"prometheus": asked()}}),
]

PLANT_ROWS: Final[Sequence[Row]] = [
    bad(
        "a plant out of range",
        {
            "plant": {
                "capacityPerReplica": 0,
                "startupDelay": "-1s",
                "metricLag": "86400s",
                "observable": "smoke",
                "violationPercent": 0,
                "pricePerReplicaHour": -1,
                "initialReplicas": -1,
                "serviceSeconds": 0,
            }
        },
        *(
            f"plant.{field}"
            for field in (
                "capacity_per_replica",
                "startup_delay",
                "metric_lag",
                "observable",
                "violation_percent",
                "price_per_replica_hour",
                "initial_replicas",
                "service_seconds",
            )
        ),
    ),
    bad(
        "a plant without end",
        {
            "plant": {
                "capacityPerReplica": "Infinity",
                "pricePerReplicaHour": 1e308,
                "serviceSeconds": 1e300,
            }
        },
        *(f"plant.{field}" for field in ("capacity_per_replica", "price_per_replica_hour", "service_seconds")),
    ),
    bad("a load that no number of replicas serves", {"trace": {"inline": trace(values=[1, 1e300])}}, "trace"),
]

CSV: Final[Mapping[str, tuple[bytes, str]]] = {
    "no UTF-8": (b"\xff\xfe0,1\n", "csv"),
    "a header alone": (b"time,value\n", "csv"),
    "no numbers": (b"0,1\n1,much\n2,1\n", "csv[2]"),
    "a value without end": (b"0,1\n1,inf\n2,1\n", "csv[2]"),
    "a mark that there is not": (b"0,1\n1,2,odd\n2,1\n", "csv[2]"),
    "times that go back": (b"5,1\n4,2\n", "csv[2]"),
    "uneven times": (b"0,1\n1,2\n7,3\n", "csv[3]"),
    "lines that end in CR": (b"0,1\r1,2\r", "csv"),
    "a field without end": (b'0,"' + b"1" * 200_000, "csv"),
    "a step of centuries": (b"0,1\n1e30,2\n", "csv"),
    "a step of no time at all": (b"0,1\n1e-7,2\n", "csv"),
    "a time of no calendar": (b"1000000000000000,1\n1000000000000015,2\n", "csv"),
    "an end after all calendars": (b"9999-12-31T23:59:45Z,1\n9999-12-31T23:59:59Z,2\n", "csv"),
}
"""Contents that are no trace, and the field that is named."""

SIMULATION_TABLES: Final[Mapping[str, Sequence[Row]]] = {
    "RunBacktest": [
        bad("nothing", {}, "trace", "contenders"),
        bad("no UUID", backtest(requestId="1"), "request_id"),
        bad("a long name", backtest(displayName=LONG), "display_name"),
        *(Row(row.why, backtest(**row.form), row.code, row.reason, row.fields, row.beyond) for row in TRACE_ROWS),
        *(Row(row.why, backtest(**row.form), row.code, row.reason, row.fields) for row in PLANT_ROWS),
        bad("an empty contender", backtest(contenders=[{}]), "contenders[0].name", "contenders[0].contender"),
        bad("a baseline that there is not", backtest(contenders=[contender(baseline="vax")]), "contenders[0].baseline"),
        bad(
            "baselines of nothing",
            backtest(contenders=[contender(baseline="hpa"), contender("b", baseline="kpa")]),
            "contenders[0].baseline",
            "contenders[1].baseline",
        ),
        bad(
            "a baseline of no metric",
            backtest(contenders=[contender(policy=policy(metrics=None)), contender("b", baseline="kpa")]),
            "contenders[1].baseline",
        ),
        bad(
            "one name for two",
            backtest(contenders=[contender(), contender(baseline="hpa")]),
            "contenders[1].name",
        ),
        bad(
            "wrong policies",
            backtest(
                contenders=[contender(policy=policy(minReplicas=9)), contender("b", policy=policy(minReplicas=8))]
            ),
            "contenders[0].policy.min_replicas",
            "contenders[1].policy.min_replicas",
            reason=POLICY,
        ),
        bad(
            "everything at once",
            {
                "trace": {"inline": trace(values=[-1, 1])},
                "contenders": [contender(policy=policy(minReplicas=9)), contender("b", policy=policy(minReplicas=8))],
                "plant": {"serviceSeconds": "Infinity"},
            },
            "trace.inline.values[0]",
            "contenders[0].policy.min_replicas",
            "contenders[1].policy.min_replicas",
            "plant.service_seconds",
        ),
        bad(
            "a wrong trace, and a policy that does not exist",
            backtest(trace={"generator": {"name": "vax"}}, contenders=[contender(policyName="scalingPolicies/nobody")]),
            "trace.generator.name",
            reason=TRACE,
        ),
        gone(backtest(contenders=[contender(policyName="scalingPolicies/nobody")])),
        bad(
            "a tick beyond the trace",
            backtest(contenders=[contender(policy=policy(timing={"tick": "100s"}))]),
            "trace",
        ),
        bad(
            "more ticks than anybody waits for",
            backtest(
                trace={"generator": {"name": "step", "duration": "31622400s", "step": "86400s"}},
                contenders=[contender(policy=policy(timing={"tick": "1s"}))],
            ),
            "trace",
        ),
    ],
    "GetBacktest": named("backtests"),
    "ListBacktests": [
        bad("a negative size", {"pageSize": -1}, "page_size"),
        bad("a token of nobody", {"pageToken": "abc"}, "page_token"),
        bad("a long token", {"pageToken": LONG}, "page_token"),
    ],
    "CancelBacktest": [
        *named("backtests"),
        Row("it has succeeded", {"name": SUCCEEDED}, REFUSED, "ENDED"),
        Row("it is cancelled", {"name": CANCELLED}, REFUSED, "ENDED"),
    ],
    "ComparePolicies": [
        bad("nothing", {}, "trace", "first", "second"),
        *(Row(row.why, comparison(**row.form), row.code, row.reason, row.fields, row.beyond) for row in TRACE_ROWS),
        *(Row(row.why, comparison(**row.form), row.code, row.reason, row.fields) for row in PLANT_ROWS),
        bad(
            "empty contenders",
            comparison(first={}, second={}),
            *(f"{one}.{field}" for one in ("first", "second") for field in ("name", "contender")),
        ),
        bad(
            "baselines of nothing",
            comparison(first=contender("a", baseline="hpa"), second=contender("b", baseline="kpa")),
            "first.baseline",
            "second.baseline",
        ),
        bad("one name for two", comparison(first=contender("b")), "second.name"),
        bad(
            "wrong policies",
            comparison(
                first=contender("a", policy=policy(minReplicas=9)),
                second=contender(
                    "b",
                    policy=policy(
                        metrics=[metric(), metric(name="b", custom={"target": 1, "cel": "1 +"}, queueLength=None)]
                    ),
                ),
            ),
            "first.policy.min_replicas",
            "second.policy.metrics[1].query",
            reason=POLICY,
        ),
        Row(
            "a time of no calendar",
            comparison(),
            fields=frozenset({"first.policy.mode.until"}),
            beyond="first.policy.mode.until",
        ),
        gone(comparison(second=contender("b", policyName="scalingPolicies/nobody"))),
    ],
    "PlotBacktest": [
        *named("backtests"),
        bad("a format of the future", {"name": SUCCEEDED, "format": 77}, "format"),
        Row("it kept no series", {"name": SUCCEEDED}, REFUSED, "NO_SERIES"),
        Row("it is cancelled", {"name": CANCELLED}, REFUSED, "NOT_ENDED"),
    ],
    "ImportTrace": [
        bad("nothing", {}, "name", "content"),
        bad("no UUID", {"requestId": "1", "name": "traces/new", "trace": trace()}, "request_id"),
        bad("a name of another kind", {"name": "backtests/new", "trace": trace()}, "name"),
        bad("an empty trace", {"name": "traces/new", "trace": {}}, "trace.step", "trace.values"),
        bad(
            "no load",
            {"name": "traces/new", "trace": trace(values=[-1, "NaN"], missing=[{"begin": 0, "end": 3}])},
            "trace.values[0]",
            "trace.values[1]",
            "trace.missing[0]",
            reason=TRACE,
        ),
        bad("an end after all calendars", {"name": "traces/new", "trace": trace(startTime=FAR)}, "trace", reason=TRACE),
        Row(
            "a time of no calendar",
            {"name": "traces/new", "trace": trace()},
            fields=frozenset({"trace.start_time"}),
            beyond="trace.start_time",
        ),
        Row(
            "the name is taken, and no load",
            {"name": "traces/kept", "trace": trace(values=[-1, 1]), "replace": True},
            INVALID,
            TRACE,
            frozenset({"trace.values[0]"}),
        ),
        bad(
            "the id of another request",
            {"requestId": USED, "name": "traces/new", "trace": trace(values=[4, 5])},
            "request_id",
            reason="REQUEST_ID_REUSED",
        ),
        *(
            bad(why, {"name": "traces/new", "csv": b64encode(content).decode()}, field, reason=TRACE)
            for why, (content, field) in CSV.items()
        ),
    ],
    "ExportTrace": [
        bad("nothing", {}, "trace"),
        *TRACE_ROWS[1:],
        bad(
            "more than fits into an answer",
            {"trace": {"generator": {"name": "step", "duration": "9000000s"}}},
            "trace",
            reason="ANSWER_TOO_LARGE",
        ),
        bad(
            "more than fits as CSV",
            {"trace": {"generator": {"name": "step", "duration": "6000000s"}}, "asCsv": True},
            "trace",
            reason="ANSWER_TOO_LARGE",
        ),
    ],
}
