"""Policies become messages and policies again, and the short forms of metrics are what they stand for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from opsuite.scaler.v1 import policy_pb2 as pb
from opsuite_rpc import shapes
from opsuite_scaler.adapters.policy_messages import policy_of
from opsuite_scaler.adapters.policy_rendering import message_of
from opsuite_scaler.application.keda_query import KedaQuery
from opsuite_scaler.domain.policy import (
    Behavior,
    Cooldown,
    CostBound,
    Fallback,
    FlapGuard,
    ForecastMode,
    ForecastSettings,
    MetricKind,
    MetricSpec,
    Mode,
    ModeSetting,
    Overlay,
    Quality,
    RateKind,
    RatePolicy,
    Resource,
    ResponseTimeRules,
    ScalingPolicy,
    ScalingRules,
    Select,
    TargetKind,
    TargetRef,
    TargetType,
    Timing,
)

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,20}", fullmatch=True)
TEXTS = st.text("abcdefgh ()[]{}=~\"'/*+-.", min_size=1, max_size=40)
COUNTS = st.integers(1, 1000)
AMOUNTS = st.floats(0.001, 1e9)


def durations(low: int, high: int) -> st.SearchStrategy[timedelta]:
    return st.integers(low * 1000, high * 1000).map(lambda milliseconds: timedelta(milliseconds=milliseconds))


@st.composite
def metrics(draw: st.DrawFn, name: str) -> MetricSpec:
    kind = draw(st.sampled_from(MetricKind))
    is_resource, is_latency = kind is MetricKind.RESOURCE, kind is MetricKind.RESPONSE_TIME
    is_keda = kind is MetricKind.EXTERNAL and draw(st.booleans())
    query = KedaQuery("keda.example.com:9090", metadata={"a": draw(TEXTS)}).as_text() if is_keda else draw(TEXTS)
    latencies = st.sampled_from([0.25, 0.5, 1.0, 2.0])  # seconds that are exact as milliseconds
    return MetricSpec(
        name=name,
        kind=kind,
        target_type=TargetType.VALUE if is_latency else draw(st.sampled_from(TargetType)),
        target=draw(latencies if is_latency else AMOUNTS),
        resource=draw(st.sampled_from(Resource)) if is_resource else None,
        container=draw(NAMES) if is_resource else "",
        source="" if kind is MetricKind.FORMULA else "keda" if is_keda else draw(NAMES.filter(lambda n: n != "keda")),
        query=query,
        activation=draw(st.floats(0, 1e6)),
        stale_after=draw(durations(1, 86400)),
        fallback=draw(
            st.builds(Fallback, st.sampled_from(Quality), st.integers(0, 9), st.integers(0, 99), durations(1, 86400))
        ),
        confirm_drop=draw(st.booleans()),
        response_time=draw(st.builds(ResponseTimeRules, COUNTS, st.integers(0, 100)))
        if is_latency
        else ResponseTimeRules(),
        is_input=draw(st.booleans()),
    )


RULES = st.builds(
    ScalingRules,
    durations(0, 3600),
    st.sampled_from(Select),
    st.lists(st.builds(RatePolicy, st.sampled_from(RateKind), COUNTS, durations(1, 1800)), min_size=1, max_size=3).map(
        tuple
    ),
    st.floats(0, 10),
)


@st.composite
def policies(draw: st.DrawFn) -> ScalingPolicy:
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    ends = st.none() | st.datetimes(datetime(2026, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))
    return ScalingPolicy(
        target=TargetRef(TargetKind.WORKLOAD, draw(NAMES), platform=draw(st.sampled_from(["process", "docker"]))),
        metrics=tuple(draw(metrics(name)) for name in names),
        max_replicas=draw(COUNTS),
        min_replicas=draw(st.integers(0, 10)),
        behavior=draw(st.none() | st.builds(Behavior, RULES, RULES)),
        cooldown=draw(st.builds(Cooldown, *[durations(0, 86400)] * 3)),
        timing=draw(st.builds(Timing, durations(1, 3600), durations(0, 3600), durations(0, 3600))),
        flaps=draw(st.builds(FlapGuard, st.none() | st.integers(0, 100), st.booleans())),
        overlays=tuple(
            draw(
                st.lists(
                    st.builds(
                        Overlay,
                        NAMES,
                        st.just("0 8 * * 1-5"),
                        durations(60, 86400),
                        st.just("Europe/Zurich"),
                        st.none() | COUNTS,
                        st.none() | COUNTS,
                    ),
                    max_size=2,
                    unique_by=lambda overlay: overlay.name,
                )
            )
        ),
        cost=draw(
            st.none() | st.builds(CostBound, AMOUNTS, st.none() | AMOUNTS, st.none() | AMOUNTS, durations(3600, 10**6))
        ),
        pool=draw(st.just("") | NAMES),
        priority=draw(st.integers(-100, 100)),
        mode=draw(st.builds(ModeSetting, st.sampled_from(Mode), ends, NAMES, TEXTS)),
        hold_during_rollout=draw(st.booleans()),
        forecast=draw(
            st.builds(
                ForecastSettings,
                st.sampled_from(ForecastMode),
                st.sampled_from(["seasonal_naive", "holt_winters"]),
                durations(60, 86400),
                durations(1, 86400),
                st.none() | st.floats(0.01, 0.999),
                durations(0, 3600),
                NAMES,
            )
        ),
    )


@given(policy=policies())
def test_a_policy_is_the_same_after_a_trip_through_its_message(policy: ScalingPolicy) -> None:
    message = message_of("shop", policy)

    assert policy_of(pb.ScalingPolicy.FromString(message.SerializeToString())) == policy


@given(policy=policies())
def test_what_is_rendered_keeps_the_rules_of_the_contract(policy: ScalingPolicy) -> None:
    assert shapes.check_for(pb.ScalingPolicy)(message_of("shop", policy)) == []


def test_a_policy_that_says_little_gets_the_defaults_of_the_domain() -> None:
    message = pb.ScalingPolicy(name="scalingPolicies/shop", target=pb.ScaleTargetRef(name="shop"), max_replicas=5)

    assert policy_of(message) == ScalingPolicy(
        target=TargetRef(TargetKind.WORKLOAD, "shop", platform="process"), metrics=(), max_replicas=5
    )


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (
            {"targetCpu": {"targetPercent": 60}},
            MetricSpec("m", MetricKind.RESOURCE, TargetType.UTILIZATION, 60, Resource.CPU),
        ),
        (
            {"targetMemory": {"targetPercent": 70, "container": "app"}},
            MetricSpec("m", MetricKind.RESOURCE, TargetType.UTILIZATION, 70, Resource.MEMORY, "app"),
        ),
        (
            {"queueLength": {"maxItems": 10, "source": "jobs", "query": "q"}},
            MetricSpec("m", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 10, source="jobs", query="q"),
        ),
        (
            {"queueLength": {"maxItems": 10, "source": "jobs", "query": "q", "total": True}},
            MetricSpec("m", MetricKind.EXTERNAL, TargetType.VALUE, 10, source="jobs", query="q"),
        ),
        (
            {"responseTime": {"targetMs": 250, "source": "prom", "query": "q"}},
            MetricSpec("m", MetricKind.RESPONSE_TIME, TargetType.VALUE, 0.25, source="prom", query="q"),
        ),
        (
            {"custom": {"target": 5, "cel": "a + b"}},
            MetricSpec("m", MetricKind.FORMULA, TargetType.AVERAGE_VALUE, 5, query="a + b"),
        ),
        (
            {"custom": {"target": 5, "targetType": "TARGET_TYPE_VALUE", "source": {"source": "prom", "query": "q"}}},
            MetricSpec("m", MetricKind.EXTERNAL, TargetType.VALUE, 5, source="prom", query="q"),
        ),
        (
            {"custom": {"target": 5, "externalScaler": {"address": "keda:9090", "metricName": "lag"}}},
            MetricSpec(
                "m",
                MetricKind.EXTERNAL,
                TargetType.AVERAGE_VALUE,
                5,
                source="keda",
                query=KedaQuery("keda:9090", "lag").as_text(),
            ),
        ),
    ],
    ids=["cpu", "memory", "queue", "queue as a whole", "latency", "formula", "registered source", "keda"],
)
def test_a_short_form_stands_for_a_metric(form: dict[str, Any], expected: MetricSpec) -> None:
    message = pb.ScalingPolicy(name="scalingPolicies/shop", target=pb.ScaleTargetRef(name="shop"), max_replicas=5)
    message.metrics.append(json_format.ParseDict({"name": "m"} | form, pb.Metric()))

    assert policy_of(message).metrics == (expected,)


def test_a_scale_sub_resource_is_that_of_a_deployment_unless_it_says_otherwise() -> None:
    target = pb.ScaleTargetRef(kind=pb.TARGET_KIND_KUBERNETES_SCALE, name="shop")

    ref = policy_of(pb.ScalingPolicy(target=target, max_replicas=1)).target

    assert (ref.api_version, ref.object_kind, ref.platform) == ("apps/v1", "Deployment", "")
