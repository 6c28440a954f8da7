"""ScaledObjects become policies and come back the same; what cannot is named."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_cli.imports.reading import Imported, Reading
from opsuite_cli.scaling_documents.cron_windows import ends_of, window_of
from opsuite_cli.scaling_documents.document import policy_in
from opsuite_cli.scaling_documents.scaled_object import policy_from
from opsuite_cli.scaling_documents.scaled_object_export import scaled_object_from

NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
METRIC_NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
COUNTS = st.integers(1, 10**6).map(str)
QUERIES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)


def _trigger(kind: str, metadata: dict[str, st.SearchStrategy[str]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "type": st.just(kind),
            "metricType": st.sampled_from(["AverageValue", "Value"]),
            "metadata": st.fixed_dictionaries(metadata),
        }
    )


TRIGGERS = st.one_of(
    _trigger("prometheus", {"query": QUERIES, "threshold": COUNTS, "activationThreshold": COUNTS}),
    _trigger("rabbitmq", {"queueName": QUERIES, "mode": st.just("QueueLength"), "value": COUNTS}),
    _trigger("postgresql", {"query": QUERIES, "targetQueryValue": COUNTS}),
    _trigger("redis", {"listName": QUERIES, "listLength": COUNTS, "activationListLength": COUNTS}),
    _trigger("redis-streams", {"stream": QUERIES, "streamLength": COUNTS}),
    _trigger("redis-streams", {"stream": QUERIES, "consumerGroup": QUERIES, "pendingEntriesCount": COUNTS}),
    _trigger("redis-streams", {"stream": QUERIES, "consumerGroup": QUERIES, "lagCount": COUNTS}),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["cpu", "memory"]),
            "metricType": st.just("Utilization"),
            "metadata": st.fixed_dictionaries(
                {"value": st.integers(1, 100).map(str)}, optional={"containerName": NAMES}
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("external"),
            "metadata": st.fixed_dictionaries(
                {"scalerAddress": st.just("scaler.keda:9090")},
                optional={"enableTLS": st.just("true"), "topic": QUERIES},
            ),
        }
    ),
)
CRON_TRIGGERS = st.builds(
    lambda start, length, replicas: {
        "type": "cron",
        "metadata": {
            "timezone": "Europe/Zurich",
            "start": f"{start % 60} {start // 60} * * *",
            "end": ends_of(f"{start % 60} {start // 60} * * *", length),
            "desiredReplicas": str(replicas),
        },
    },
    st.integers(0, 1439),
    st.integers(1, 1439),
    st.integers(1, 50),
)


@st.composite
def scaled_objects(draw: st.DrawFn) -> dict[str, Any]:
    asked = draw(st.lists(TRIGGERS, min_size=1, max_size=4))
    named = [
        {"type": one["type"], "name": f"m{index}", **{key: one[key] for key in one if key != "type"}}
        for index, one in enumerate(asked)
    ]
    spec: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": draw(NAMES)},
        "pollingInterval": draw(st.integers(1, 3600)),
        "cooldownPeriod": draw(st.integers(0, 86_400)),
        "minReplicaCount": draw(st.integers(0, 5)),
        "maxReplicaCount": draw(st.integers(5, 500)),
        "triggers": named + draw(st.lists(CRON_TRIGGERS, max_size=2)),
    }
    if draw(st.booleans()) and any(one["type"] not in ("cpu", "memory") for one in named):
        behaviors = ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]
        spec["fallback"] = {
            "failureThreshold": draw(st.integers(0, 10)),
            "replicas": draw(st.integers(0, 10)),
            "behavior": draw(st.sampled_from(behaviors)),
        }
    if draw(st.booleans()):
        rules = {"stabilizationWindowSeconds": draw(st.integers(0, 3600)), "selectPolicy": "Min"}
        spec["advanced"] = {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": rules}}}
    metadata: dict[str, Any] = {"name": draw(NAMES), "namespace": draw(NAMES)}
    if pause := draw(st.sampled_from(["", "paused", "paused-scale-in", "paused-scale-out"])):
        metadata["annotations"] = {f"autoscaling.keda.sh/{pause}": "true"}
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata, "spec": spec}


def imported(scaled_object: dict[str, Any]) -> Imported:
    return policy_from(Reading(scaled_object), external_target=10)


def a_scaled_object(*triggers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "shop"},
        "spec": {"scaleTargetRef": {"name": "shop"}, "triggers": list(triggers)} | spec,
    }


def a_trigger(kind: str, name: str = "", **metadata: str) -> dict[str, Any]:
    return {"type": kind, "metadata": metadata} | ({"name": name} if name else {})


def refused(scaled_object: dict[str, Any]) -> list[str]:
    return [one.path for one in imported(scaled_object).refused]


@given(scaled_objects())
def test_one_that_is_a_policy_comes_back_the_same(scaled_object: dict[str, Any]) -> None:
    there = imported(deepcopy(scaled_object))
    back = scaled_object_from(Reading(there.pipeline))

    assert (there.refused, back.refused) == ([], [])
    assert back.pipeline == scaled_object


@given(scaled_objects())
def test_what_is_made_is_a_policy_of_the_contract(scaled_object: dict[str, Any]) -> None:
    policy = policy_in(imported(scaled_object).pipeline)

    assert policy.max_replicas == scaled_object["spec"]["maxReplicaCount"]
    assert len(policy.metrics) + len(policy.overlays) == len(scaled_object["spec"]["triggers"])


@given(scaled_objects(), st.data())
def test_a_field_that_nobody_knows_is_named_wherever_it_stands(
    scaled_object: dict[str, Any], data: st.DataObject
) -> None:
    spec = scaled_object["spec"]
    places = [spec, spec["scaleTargetRef"], *spec["triggers"]]
    places += [one["metadata"] for one in spec["triggers"] if one["type"] != "external"]
    data.draw(st.sampled_from(places))["novelty"] = "1"

    assert [path.rpartition(".")[2] for path in refused(scaled_object)] == ["novelty"]


def test_a_formula_takes_its_triggers_as_inputs_and_comes_back() -> None:
    modifiers = {"formula": "(orders + 2 * refunds) / 3", "target": "5", "metricType": "AverageValue"}
    scaled_object = a_scaled_object(
        a_trigger("prometheus", "orders", query="o", threshold="1"),
        a_trigger("prometheus", "refunds", query="r", threshold="1"),
        advanced={"scalingModifiers": modifiers},
    )
    there = imported(scaled_object)
    policy = policy_in(there.pipeline)
    back = scaled_object_from(Reading(there.pipeline)).pipeline

    assert [(one.name, one.is_input) for one in policy.metrics] == [
        ("orders", True),
        ("refunds", True),
        ("formula", False),
    ]
    assert policy.metrics[2].custom.cel == modifiers["formula"]
    assert back["spec"]["advanced"]["scalingModifiers"] == modifiers


@pytest.mark.parametrize("formula", ["orders > 2 ? 1 : 0", "stranger + 1", "count([orders])", "orders ?? 1"])
def test_a_formula_that_is_no_plain_arithmetic_is_named(formula: str) -> None:
    scaled_object = a_scaled_object(
        a_trigger("prometheus", "orders", query="o", threshold="1"),
        advanced={"scalingModifiers": {"formula": formula, "target": "5"}},
    )

    assert refused(scaled_object) == ["spec.advanced.scalingModifiers"]


@pytest.mark.parametrize(
    ("scaled_object", "paths"),
    [
        (a_scaled_object(a_trigger("aws-sqs-queue", queueURL="u")), ["spec.triggers[0]"]),
        (
            a_scaled_object(a_trigger("prometheus", query="q", threshold="1", serverAddress="http://p")),
            ["spec.triggers[0].metadata.serverAddress"],
        ),
        (
            a_scaled_object(a_trigger("redis", listName="l", listLength="1") | {"authenticationRef": {"name": "a"}}),
            ["spec.triggers[0].authenticationRef"],
        ),
        (
            a_scaled_object(a_trigger("rabbitmq", queueName="q", mode="MessageRate", value="1")),
            ["spec.triggers[0]"],
        ),
        (a_scaled_object(a_trigger("prometheus", query="q")), ["spec.triggers[0]"]),
        (a_scaled_object(idleReplicaCount=0), ["spec.idleReplicaCount"]),
        (a_scaled_object(initialCooldownPeriod=60), ["spec.initialCooldownPeriod"]),
        (a_scaled_object(fallback={"behavior": "scalingModifiers", "replicas": 1}), ["spec.fallback.behavior"]),
        (a_scaled_object(a_trigger("external-push", scalerAddress="a:1")), ["spec.triggers[0].type"]),
        (
            a_scaled_object(a_trigger("cron", timezone="UTC", start="0 8 * * 1", end="0 8 * * 2", desiredReplicas="2")),
            ["spec.triggers[0]"],
        ),
        (
            a_scaled_object(a_trigger("prometheus", query="q", threshold="1", ignoreNullValues="true")),
            ["spec.triggers[0].metadata.ignoreNullValues"],
        ),
    ],
)
def test_what_cannot_be_kept_is_named(scaled_object: dict[str, Any], paths: list[str]) -> None:
    assert refused(scaled_object) == paths


def test_an_external_scaler_needs_a_target_of_the_policy() -> None:
    without = policy_from(Reading(a_scaled_object(a_trigger("external", scalerAddress="a:1"))))

    assert [one.path for one in without.refused] == ["spec.triggers[0]"]


def test_defaults_are_those_of_keda() -> None:
    policy = policy_in(imported(a_scaled_object()).pipeline)

    assert (policy.min_replicas, policy.max_replicas) == (0, 100)
    assert (policy.timing.tick.seconds, policy.cooldown.to_zero.seconds) == (30, 300)
    assert (policy.target.api_version, policy.target.object_kind) == ("apps/v1", "Deployment")


def test_a_pause_at_a_size_is_named() -> None:
    scaled_object = a_scaled_object()
    scaled_object["metadata"]["annotations"] = {"autoscaling.keda.sh/paused-replicas": "4", "team": "shop"}

    assert refused(scaled_object) == ['metadata.annotations["autoscaling.keda.sh/paused-replicas"]']


@pytest.mark.parametrize(
    ("start", "end", "window"),
    [
        ("0 8 * * 1-5", "30 18 * * 1-5", ("0 8 * * 1-5", 630)),
        ("0 22 * * *", "0 6 * * *", ("0 22 * * *", 480)),
        ("0 22 * * 5", "0 6 * * 5", None),
        ("*/5 8 * * *", "0 9 * * *", None),
        ("0 8 1 * *", "0 9 2 * *", None),
    ],
)
def test_a_begin_and_an_end_are_a_length_where_it_is_always_the_same(
    start: str, end: str, window: tuple[str, int] | None
) -> None:
    assert window_of(start, end) == window
    if window is not None:
        assert ends_of(*window) == end
