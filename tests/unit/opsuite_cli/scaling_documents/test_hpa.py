"""HorizontalPodAutoscalers become policies and come back the same; what cannot is named."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_cli.imports.reading import Imported, Reading
from opsuite_cli.scaling_documents.document import policy_in, written
from opsuite_cli.scaling_documents.hpa import NO_SOURCE, policy_from
from opsuite_cli.scaling_documents.hpa_export import hpa_from
from opsuite_cli.scaling_documents.quantities import cpu_of, quantity_of

NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=["Cc", "Cf"]), max_size=12)
METRIC_NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,20}", fullmatch=True)
BYTES = st.integers(1, 2**40).map(lambda n: quantity_of(float(n)))
NUMBERS = st.integers(1, 10**9).map(lambda milli: quantity_of(milli / 1000))
MILLICORES = st.integers(1, 100_000).map(lambda n: cpu_of(float(n)))


def _resource_targets(resource: str) -> st.SearchStrategy[dict[str, Any]]:
    values = MILLICORES if resource == "cpu" else BYTES
    return st.one_of(
        st.integers(1, 10_000).map(lambda n: {"type": "Utilization", "averageUtilization": n}),
        values.map(lambda value: {"type": "AverageValue", "averageValue": value}),
    )


@st.composite
def metrics(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["Resource", "ContainerResource", "Pods", "External"]))
    if kind.endswith("Resource"):
        name = draw(st.sampled_from(["cpu", "memory"]))
        target = draw(_resource_targets(name))
        if kind == "Resource":
            return {"type": kind, "resource": {"name": name, "target": target}}
        return {"type": kind, "containerResource": {"name": name, "container": draw(NAMES), "target": target}}
    metric: dict[str, Any] = {"name": draw(METRIC_NAMES)}
    if labels := draw(st.dictionaries(METRIC_NAMES, TEXTS, max_size=2)):
        metric["selector"] = {"matchLabels": labels}
    value = draw(NUMBERS)
    if kind == "External" and draw(st.booleans()):
        return {"type": kind, "external": {"metric": metric, "target": {"type": "Value", "value": value}}}
    return {"type": kind, kind.lower(): {"metric": metric, "target": {"type": "AverageValue", "averageValue": value}}}


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    policy = st.fixed_dictionaries(
        {
            "type": st.sampled_from(["Pods", "Percent"]),
            "value": st.integers(1, 1000),
            "periodSeconds": st.integers(1, 1800),
        }
    )
    optional = {
        "stabilizationWindowSeconds": st.integers(0, 3600),
        "selectPolicy": st.sampled_from(["Max", "Min", "Disabled"]),
        "policies": st.lists(policy, min_size=1, max_size=3),
        "tolerance": st.integers(0, 10_000).map(lambda n: quantity_of(n / 1000)),
    }
    return draw(st.fixed_dictionaries({}, optional=optional))


@st.composite
def hpas(draw: st.DrawFn) -> dict[str, Any]:
    low = draw(st.integers(0, 50))
    spec: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": draw(st.sampled_from(["Deployment", "StatefulSet"]))}
        | {"name": draw(NAMES)},
        "minReplicas": low,
        "maxReplicas": draw(st.integers(max(1, low), 1000)),
        "metrics": draw(st.lists(metrics(), min_size=1, max_size=4)),
    }
    behavior = {key: draw(rules()) for key in ("scaleUp", "scaleDown") if draw(st.booleans())}
    if behavior := {key: value for key, value in behavior.items() if value}:
        spec["behavior"] = behavior
    metadata = {"name": draw(NAMES), "namespace": draw(NAMES)}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": spec,
    }


def an_hpa(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "shop", "namespace": "prod"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "shop"}, "maxReplicas": 9} | spec,
    }


def imported(hpa: dict[str, Any], source: str = "prometheus") -> Imported:
    return policy_from(Reading(hpa), source=source)


@given(hpas())
def test_one_that_is_a_policy_comes_back_the_same(hpa: dict[str, Any]) -> None:
    there = imported(deepcopy(hpa))
    back = hpa_from(Reading(there.pipeline))

    assert (there.refused, back.refused) == ([], [])
    assert back.pipeline == hpa


@given(hpas())
def test_what_is_made_is_a_policy_of_the_contract_and_survives_it(hpa: dict[str, Any]) -> None:
    document = imported(hpa).pipeline

    again = written(policy_in(document))

    assert written(policy_in(again)) == again
    assert policy_in(again) == policy_in(document)


@given(hpas(), st.data())
def test_a_field_that_nobody_knows_is_named_wherever_it_stands(hpa: dict[str, Any], data: st.DataObject) -> None:
    places = [hpa, hpa["spec"], hpa["spec"]["scaleTargetRef"], *hpa["spec"]["metrics"]]
    places += list(hpa["spec"].get("behavior", {}).values())
    data.draw(st.sampled_from(places))["novelty"] = 1

    assert [one.path.rpartition(".")[2] for one in imported(hpa).refused] == ["novelty"]


def test_without_metrics_it_is_what_kubernetes_puts_in() -> None:
    policy = policy_in(imported(an_hpa()).pipeline)

    assert [one.target_cpu.target_percent for one in policy.metrics] == [80]
    assert policy.min_replicas == 1
    assert not policy.hold_during_rollout


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (
            {"metrics": [{"type": "Object", "object": {"metric": {"name": "hits"}, "describedObject": {"name": "x"}}}]},
            "spec.metrics[0]",
        ),
        (
            {"metrics": [{"type": "Resource", "resource": {"name": "nvidia.com/gpu", "target": {}}}]},
            "spec.metrics[0].resource.name",
        ),
        (
            {
                "metrics": [
                    {
                        "type": "External",
                        "external": {
                            "metric": {"name": "q", "selector": {"matchExpressions": [{"key": "a"}]}},
                            "target": {"type": "Value", "value": "1"},
                        },
                    }
                ]
            },
            "spec.metrics[0].external.metric.selector.matchExpressions",
        ),
        ({"behavior": {"scaleUp": {"selectPolicy": "Most"}}}, "spec.behavior.scaleUp.selectPolicy"),
        ({"behavior": {"scaleDown": {"tolerance": "lots"}}}, "spec.behavior.scaleDown.tolerance"),
        ({"maxReplicas": "9"}, "spec.maxReplicas"),
    ],
)
def test_what_cannot_be_kept_is_named(spec: dict[str, Any], path: str) -> None:
    assert path in [one.path for one in imported(an_hpa(**spec)).refused]


def test_custom_metrics_need_a_source_that_is_asked_instead() -> None:
    target = {"type": "AverageValue", "averageValue": "10"}
    pods = {
        "type": "Pods",
        "pods": {"metric": {"name": "hits", "selector": {"matchLabels": {"a": "b"}}}, "target": target},
    }
    without = imported(an_hpa(metrics=[pods]), source="")
    there = policy_in(imported(an_hpa(metrics=[pods])).pipeline)

    assert [(one.path, one.reason) for one in without.refused] == [("spec.metrics[0]", NO_SOURCE)]
    assert (there.metrics[0].general.source, there.metrics[0].general.query) == ("prometheus", 'hits{a="b"}')


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cooldown", {"after_up": "10s"}),
        ("timing", {"tick": "5s"}),
        ("flap_guard", {"adaptive_dead_band": True}),
        ("cost", {"price_per_replica_hour": 1}),
        ("pool", "capacityPools/gpu"),
        ("priority", 5),
        ("forecast", {"mode": "FORECAST_MODE_RAISE_FLOOR"}),
        ("mode", {"mode": "SCALING_MODE_PAUSED"}),
        ("hold_during_rollout", True),
        ("overlays", [{"name": "day", "cron": "0 8 * * *", "duration": "3600s", "min_replicas": 3}]),
    ],
)
def test_what_a_horizontal_pod_autoscaler_cannot_say_is_named(field: str, value: Any) -> None:
    document = dict(imported(an_hpa()).pipeline)
    document["spec"] = document["spec"] | {field: value}

    assert [one.path for one in hpa_from(Reading(document)).refused] == [f"spec.{field}"]


def test_a_target_that_kubernetes_does_not_scale_is_named() -> None:
    document = {"metadata": {"name": "x"}, "spec": {"target": {"kind": "TARGET_KIND_WORKLOAD", "name": "x"}}}

    assert [one.path for one in hpa_from(Reading(document)).refused] == ["spec.target.kind"]
