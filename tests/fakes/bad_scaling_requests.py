"""Requests to the scaler that are wrong, in the JSON form of the contract: for each RPC what is refused, and how.

There is a policy "shop" (1 to 5 replicas) in the pool "gpu"; what else there is, `bad_simulation_requests` tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc

INVALID: Final = grpc.StatusCode.INVALID_ARGUMENT
MISSING: Final = grpc.StatusCode.NOT_FOUND
REFUSED: Final = grpc.StatusCode.FAILED_PRECONDITION
ABORTED: Final = grpc.StatusCode.ABORTED
OK: Final = grpc.StatusCode.OK
PAST: Final = "2020-01-01T00:00:00Z"
LONG: Final = "x" * 5000


@dataclass(frozen=True, slots=True)
class Row:
    """One request and what it is answered."""

    why: str
    form: Mapping[str, Any]
    code: grpc.StatusCode = INVALID
    reason: str = "INVALID_INPUT"
    fields: frozenset[str] = frozenset()
    beyond: str = ""
    """Path of a time that is set to one that no calendar holds, which JSON cannot say."""


def bad(why: str, form: Mapping[str, Any], *fields: str, reason: str = "INVALID_INPUT") -> Row:
    """Something is wrong with these fields, whatever the state."""
    return Row(why, form, INVALID, reason, frozenset(fields))


def gone(form: Mapping[str, Any]) -> Row:
    """What it names does not exist."""
    return Row("it does not exist", form, MISSING, "NOT_FOUND")


def policy(**fields: Any) -> dict[str, Any]:
    """A policy that is right but for these fields."""
    form: dict[str, Any] = {
        "name": "scalingPolicies/other",
        "target": {"name": "other"},
        "maxReplicas": 5,
        "metrics": [metric()],
    }
    return {name: value for name, value in (form | fields).items() if value is not None}


def metric(**fields: Any) -> dict[str, Any]:
    """A metric that is right but for these fields."""
    form: dict[str, Any] = {"name": "queue", "queueLength": {"maxItems": 10, "source": "push", "query": "jobs"}}
    return {name: value for name, value in (form | fields).items() if value is not None}


def named(kind: str, verb: str = "") -> list[Row]:
    """What every request that names one thing is refused for."""
    return [
        bad("no name", {}, "name"),
        bad("a name of another kind", {"name": "pipelines/shop"}, "name"),
        bad("a name with capitals", {"name": f"{kind}/Shop"}, "name"),
        gone({"name": f"{kind}/nobody"} | ({"mode": verb} if verb else {})),
    ]


def stale(field: str = "etag") -> Row:
    """It was changed since it was read."""
    return Row("an etag of the past", {"name": "scalingPolicies/shop", field: "77"}, ABORTED, "ETAG_MISMATCH")


POLICY_ROWS: Final[Sequence[Row]] = [
    bad("no policy", {}, "policy"),
    bad("nothing in it", {"policy": {}}, "policy.name", "policy.target", "policy.max_replicas"),
    bad("no target name", {"policy": policy(target={})}, "policy.target.name"),
    bad("an unknown platform", {"policy": policy(target={"name": "a", "platform": "vax"})}, "policy.target.platform"),
    bad("a max of 0", {"policy": policy(maxReplicas=0)}, "policy.max_replicas"),
    bad("a negative min", {"policy": policy(minReplicas=-1)}, "policy.min_replicas"),
    bad("two metrics of one name", {"policy": policy(metrics=[metric(), metric()])}, "policy.metrics[1].name"),
    bad("a metric of no kind", {"policy": policy(metrics=[{"name": "a"}])}, "policy.metrics[0].kind"),
    bad(
        "a target of 0 percent",
        {"policy": policy(metrics=[{"name": "a", "targetCpu": {}}])},
        "policy.metrics[0].target_cpu.target_percent",
    ),
    bad(
        "a rate without end",
        {
            "policy": policy(
                behavior={"scaleUp": {"policies": [{"kind": "RATE_KIND_PODS", "value": 1, "period": "0s"}]}}
            )
        },
        "policy.behavior.scale_up.policies[0].period",
    ),
    bad(
        "a mode that ended",
        {"policy": policy(mode={"mode": 3, "until": PAST})},
        "policy.mode.until",
        reason="POLICY_INVALID",
    ),
    bad("a min above the max", {"policy": policy(minReplicas=9)}, "policy.min_replicas", reason="POLICY_INVALID"),
    bad(
        "a source that there is not",
        {"policy": policy(metrics=[metric(queueLength={"maxItems": 1, "source": "vax", "query": "a"})])},
        "policy.metrics[0]",
        reason="POLICY_INVALID",
    ),
    bad(
        "a formula that does not compile",
        {"policy": policy(metrics=[{"name": "a", "custom": {"target": 1, "cel": "1 +"}}])},
        "policy.metrics[0].query",
        reason="POLICY_INVALID",
    ),
    bad(
        "a schedule that never comes",
        {"policy": policy(overlays=[{"name": "a", "cron": "never", "duration": "60s", "minReplicas": 2}])},
        "policy.overlays[0].cron",
        reason="POLICY_INVALID",
    ),
]

SCALER_TABLES: Final[Mapping[str, Sequence[Row]]] = {
    "CreateScalingPolicy": [
        *POLICY_ROWS,
        bad("no UUID", {"requestId": "1", "policy": policy()}, "request_id"),
        Row("the name is taken", {"policy": policy(name="scalingPolicies/shop")}, REFUSED, "POLICY_EXISTS"),
        Row("the target is taken", {"policy": policy(target={"name": "shop"})}, REFUSED, "TARGET_TAKEN"),
        Row("no such pool", {"policy": policy(pool="capacityPools/none")}, MISSING, "NOT_FOUND"),
    ],
    "GetScalingPolicy": named("scalingPolicies"),
    "ListScalingPolicies": [
        bad("a negative size", {"pageSize": -1}, "page_size"),
        bad("a token of nobody", {"pageToken": "abc"}, "page_token"),
        bad("an unknown field", {"filter": "colour = red"}, "filter"),
    ],
    "UpdateScalingPolicy": [
        *POLICY_ROWS[:10],
        bad(
            "a field that never changes",
            {"policy": policy(name="scalingPolicies/shop"), "updateMask": "target"},
            "update_mask",
        ),
        bad(
            "a min above the max",
            {"policy": policy(name="scalingPolicies/shop", minReplicas=9), "updateMask": "minReplicas"},
            "policy.min_replicas",
            reason="POLICY_INVALID",
        ),
        Row(
            "an etag of the past", {"policy": policy(name="scalingPolicies/shop", etag="77")}, ABORTED, "ETAG_MISMATCH"
        ),
        gone({"policy": policy(name="scalingPolicies/nobody")}),
    ],
    "DeleteScalingPolicy": [*named("scalingPolicies"), stale()],
    "ValidateScalingPolicy": [Row(row.why, row.form, OK, "", row.fields) for row in POLICY_ROWS],
    "PauseScaling": [
        *named("scalingPolicies"),
        stale(),
        bad("an end in the past", {"name": "scalingPolicies/shop", "until": PAST}, "until"),
        bad("a long reason", {"name": "scalingPolicies/shop", "reason": LONG}, "reason"),
    ],
    "ResumeScaling": [*named("scalingPolicies"), stale()],
    "SetScalingMode": [
        bad("nothing", {}, "name", "mode"),
        bad("a mode of the future", {"name": "scalingPolicies/shop", "mode": 77}, "mode"),
        bad("an end in the past", {"name": "scalingPolicies/shop", "mode": 3, "until": PAST}, "until"),
        gone({"name": "scalingPolicies/nobody", "mode": 3}),
    ],
    "Evaluate": named("scalingPolicies"),
    "EvaluateAndScale": named("scalingPolicies"),
    "EvaluateSnapshot": [
        bad("nothing", {}, "policy", "snapshot"),
        bad(
            "a wrong policy",
            {"policy": policy(minReplicas=9), "snapshot": {"specReplicas": 1}},
            "policy.min_replicas",
            reason="POLICY_INVALID",
        ),
        bad("a negative size", {"policy": policy(), "snapshot": {"specReplicas": -1}}, "snapshot.spec_replicas"),
        bad(
            "a reading of no kind",
            {"policy": policy(), "snapshot": {"readings": {"queue": {}}}},
            'snapshot.readings["queue"].kind',
        ),
        bad("a state of nobody", {"policy": policy(), "snapshot": {"specReplicas": 1}, "state": "{"}, "state"),
    ],
    "SetDesiredCapacity": [
        bad("nothing", {}, "name", "replicas"),
        bad("more than the policy allows", {"name": "scalingPolicies/shop", "replicas": 6}, "replicas"),
        bad("less than the policy allows", {"name": "scalingPolicies/shop", "replicas": 0}, "replicas"),
        bad("a hold in the past", {"name": "scalingPolicies/shop", "replicas": 2, "holdUntil": PAST}, "hold_until"),
        Row(
            "another size",
            {"name": "scalingPolicies/shop", "replicas": 2, "expectedReplicas": 4},
            REFUSED,
            "SIZE_CHANGED",
        ),
        gone({"name": "scalingPolicies/nobody", "replicas": 1}),
    ],
    "GetScalingStatus": named("scalingPolicies"),
    "WatchScalingStatus": [
        *named("scalingPolicies"),
        bad("a token of nobody", {"name": "scalingPolicies/shop", "resumeToken": "abc"}, "resume_token"),
        bad("no batch", {"name": "scalingPolicies/shop", "maxBatch": 0}, "max_batch"),
        bad("too many heartbeats", {"name": "scalingPolicies/shop", "heartbeat": "0.01s"}, "heartbeat"),
    ],
    "ListScalingActivities": [
        bad("no parent", {}, "parent"),
        bad("an unknown verdict", {"parent": "scalingPolicies/-", "filter": "verdict = MAYBE"}, "filter"),
        bad("a token of nobody", {"parent": "scalingPolicies/shop", "pageToken": "abc"}, "page_token"),
        gone({"parent": "scalingPolicies/nobody"}),
    ],
    "GetScalingActivity": [
        bad("no name", {}, "name"),
        bad("the name of a policy", {"name": "scalingPolicies/shop"}, "name"),
        gone({"name": "scalingPolicies/shop/activities/01abc"}),
    ],
    "ExplainScalingActivity": [
        bad("no name", {}, "name"),
        gone({"name": "scalingPolicies/shop/activities/01abc"}),
    ],
}

TARGET_TABLES: Final[Mapping[str, Sequence[Row]]] = {
    "GetScale": [
        bad("no target", {}, "target"),
        bad("no name", {"target": {}}, "target.name"),
        bad("an address that is none", {"target": {"kind": 4, "name": "a", "address": "nowhere"}}, "target.address"),
        gone({"target": {"name": "nobody"}}),
    ],
    "UpdateScale": [
        bad("nothing", {}, "target", "replicas"),
        bad("a negative size", {"target": {"name": "nobody"}, "replicas": -1}, "replicas"),
        gone({"target": {"name": "nobody"}, "replicas": 1}),
    ],
}

METRICS_TABLES: Final[Mapping[str, Sequence[Row]]] = {
    "PutMetricData": [
        bad("nothing", {}, "points"),
        bad("no name", {"points": [{"value": 1}]}, "points[0].metric"),
        bad("no number", {"points": [{"metric": "a", "value": "NaN"}]}, "points[0].value"),
        bad("without end", {"points": [{"metric": "a", "value": "Infinity"}]}, "points[0].value"),
        bad("the future", {"points": [{"metric": "a", "value": 1, "time": "2199-01-01T00:00:00Z"}]}, "points[0].time"),
    ],
    "GetMetricData": [
        bad("a negative size", {"pageSize": -1}, "page_size"),
        bad("a token of nobody", {"pageToken": "abc"}, "page_token"),
    ],
    "ListMetricSources": [],
    "TestMetricSource": [
        bad("nothing", {}, "metric"),
        bad(
            "a source that there is not",
            {"metric": metric(queueLength={"maxItems": 1, "source": "vax", "query": "a"})},
            "metric",
        ),
        bad("a formula", {"metric": {"name": "a", "custom": {"target": 1, "cel": "1"}}}, "metric.custom.cel"),
        gone({"metric": metric(), "target": {"name": "nobody"}}),
    ],
}
NOTHING_TO_REFUSE: Final = frozenset({"ListMetricSources"})
"""Methods whose requests are empty."""

POOL_TABLES: Final[Mapping[str, Sequence[Row]]] = {
    "CreateCapacityPool": [
        bad("nothing", {}, "pool"),
        bad("nothing in it", {"pool": {}}, "pool.name", "pool.capacity"),
        Row("it exists", {"pool": {"name": "capacityPools/gpu", "capacity": 1}}, REFUSED, "POOL_EXISTS"),
    ],
    "GetCapacityPool": named("capacityPools"),
    "ListCapacityPools": [
        bad("a negative size", {"pageSize": -1}, "page_size"),
        bad("a token of nobody", {"pageToken": "abc"}, "page_token"),
    ],
    "UpdateCapacityPool": [
        bad("nothing", {}, "pool"),
        bad("a capacity of 0", {"pool": {"name": "capacityPools/gpu"}}, "pool.capacity"),
        bad(
            "a field of the server",
            {"pool": {"name": "capacityPools/gpu", "capacity": 1}, "updateMask": "etag"},
            "update_mask",
        ),
        Row(
            "an etag of the past",
            {"pool": {"name": "capacityPools/gpu", "capacity": 1, "etag": "77"}},
            ABORTED,
            "ETAG_MISMATCH",
        ),
        gone({"pool": {"name": "capacityPools/nobody", "capacity": 1}}),
    ],
    "DeleteCapacityPool": [
        *named("capacityPools"),
        Row("it is in use", {"name": "capacityPools/gpu"}, REFUSED, "POOL_IN_USE"),
    ],
}
