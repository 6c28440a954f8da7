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
from fakes.bad_traces import CSV, FAR, TRACE, TRACE_ROWS, trace

SUCCEEDED: Final = "backtests/0000succeeded"
CANCELLED: Final = "backtests/0000cancelled"
USED: Final = "6f1c1f3e-52a5-4d0e-8b8f-2a0c4b0d9a11"
POLICY: Final = "POLICY_INVALID"


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


TOO_LITTLE: Final = Row("it has no history", {"name": "scalingPolicies/tide"}, REFUSED, "TOO_LITTLE_HISTORY")

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
        Row("the name is taken", {"name": "traces/kept", "trace": trace()}, REFUSED, "TRACE_EXISTS"),
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
