"""Traces that are wrong, wherever they are from: parts of requests, and contents of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fakes.bad_scaling_requests import Row, bad, gone

TRACE: Final = "TRACE_INVALID"
EARLY: Final = "0001-01-01T00:00:00Z"
FAR: Final = "9999-12-31T23:59:59Z"


def trace(**fields: Any) -> dict[str, Any]:
    """A trace that is right but for these fields."""
    form: dict[str, Any] = {"step": "15s", "values": [1, 2, 3]}
    return {name: value for name, value in (form | fields).items() if value is not None}


def asked(**fields: Any) -> dict[str, Any]:
    """A range of a source that there is not, right but for these fields."""
    times = {"startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-02T00:00:00Z"}
    return {"source": "vax", "query": "up"} | times | fields


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
