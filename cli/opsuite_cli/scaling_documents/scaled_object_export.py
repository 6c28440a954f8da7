"""Scaling policies as ScaledObjects (keda.sh/v1alpha1). Pure. What a ScaledObject cannot say is named with a reason."""

from __future__ import annotations

import shlex
from typing import Any, Final

from opsuite_cli.imports.reading import Imported, Node, Reading, filled
from opsuite_cli.scaling_documents.behavior import behavior_back, whole_seconds
from opsuite_cli.scaling_documents.cron_windows import ends_of
from opsuite_cli.scaling_documents.hpa_export import metadata_of, read_head, target_back
from opsuite_cli.scaling_documents.quantities import cpu_of, quantity_of
from opsuite_cli.scaling_documents.scaled_object import (
    API_VERSION,
    COOLDOWN_SECONDS,
    FALLBACKS,
    KIND,
    MODES,
    POLL_SECONDS,
)

LACKS: Final = "a ScaledObject has no such thing"
SPEC_LACKS: Final = {
    "flap_guard": LACKS,
    "cost": LACKS,
    "pool": LACKS,
    "priority": LACKS,
    "forecast": LACKS,
}
METRIC_LACKS: Final = {"stale_after": LACKS, "confirm_drop": LACKS, "response_time": LACKS}
TYPES: Final = {"prometheus": ("threshold", "activationThreshold"), "rabbitmq": ("value", "activationValue")}
"""Triggers whose source has their name, and what their metadata call the wanted value and the activation."""
POSTGRESQL: Final = ("targetQueryValue", "activationTargetQueryValue")
REDIS: Final = {
    "LLEN": ("redis", "listLength", "activationListLength", ("listName",)),
    "XLEN": ("redis-streams", "streamLength", "activationValue", ("stream",)),
    "XPENDING": ("redis-streams", "pendingEntriesCount", "activationValue", ("stream", "consumerGroup")),
    "XLAG": ("redis-streams", "lagCount", "activationLagCount", ("stream", "consumerGroup")),
}
_FALLBACKS_BACK: Final = {ours: theirs for theirs, ours in FALLBACKS.items()}
_MODES_BACK: Final = {ours: theirs for theirs, ours in MODES.items()}
_TYPES_BACK: Final = {"TARGET_TYPE_AVERAGE_VALUE": "AverageValue", "TARGET_TYPE_VALUE": "Value"}


def scaled_object_from(reading: Reading) -> Imported:
    """The ScaledObject of a policy document."""
    root = reading.root
    spec = root["spec"]
    name = read_head(root)
    spec.refuse_all(SPEC_LACKS)
    spec["hold_during_rollout"].unless((False,), "KEDA scales while a rollout runs", "KEDA does not hold")
    formula = _formula(spec["metrics"])
    triggers = [found for node in spec["metrics"] if (found := _trigger(node))]
    triggers += [found for node in spec["overlays"] if (found := _cron(node))]
    behavior = behavior_back(spec["behavior"])
    metadata = metadata_of(name, spec)
    manifest = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": filled(metadata | {"annotations": _pause(spec["mode"])}),
        "spec": filled(
            {
                "scaleTargetRef": target_back(spec["target"]),
                "pollingInterval": _tick(spec["timing"]),
                "cooldownPeriod": _to_zero(spec["cooldown"]),
                "minReplicaCount": spec["min_replicas"].number(1),
                "maxReplicaCount": spec["max_replicas"].number(1),
                "fallback": _fallback(spec["metrics"]),
                "advanced": filled(
                    {
                        "horizontalPodAutoscalerConfig": filled({"behavior": behavior}),
                        "scalingModifiers": formula,
                    }
                ),
                "triggers": triggers,
            }
        ),
    }
    return reading.imported(manifest)


def _tick(node: Node) -> int:
    for field in ("cpu_initialization", "initial_readiness_delay"):
        node[field].refuse("is a setting of Kubernetes' controller, for all of a cluster")
    return whole_seconds(node["tick"]) or POLL_SECONDS


def _to_zero(node: Node) -> int:
    for field in ("after_up", "after_down"):
        node[field].refuse("KEDA's cooldown is for the last replica only")
    found = whole_seconds(node["to_zero"])
    return COOLDOWN_SECONDS if found is None else found


def _pause(node: Node) -> dict[str, str]:
    """Annotations that say what a mode says."""
    for field in ("until", "author", "reason"):
        node[field].refuse(LACKS)
    if node["mode"].value in _MODES_BACK:
        return {_MODES_BACK[node["mode"].take()]: "true"}
    node["mode"].unless(("SCALING_MODE_ACTIVE",), LACKS, "is what there is without an annotation")
    return {}


def _fallback(metrics: Node) -> dict[str, Any] | None:
    """The one fallback of all triggers; where metrics have different ones they are refused."""
    found = [node["fallback"] for node in metrics if node["fallback"]]
    if not found:
        return None
    first = found[0]
    told = [one for one in metrics if one["custom"] and not one["custom"]["cel"]]
    same = len(found) == len(told) and all(one.value == first.value for one in found)
    if not same or first["behavior"].value not in _FALLBACKS_BACK:
        for one in found:
            one.refuse("a ScaledObject has one fallback for all triggers, and none that holds or takes the last value")
        return None
    for one in found:
        one.take()
    value = first.value
    return {
        "failureThreshold": value.get("failure_threshold", 3),
        "replicas": value.get("replicas", 0),
        "behavior": _FALLBACKS_BACK[value["behavior"]],
    }


def _formula(metrics: Node) -> dict[str, Any] | None:
    """The one composite metric; further formulas are refused."""
    formulas = [node for node in metrics if node["custom"]["cel"]]
    told = [node for node in metrics if node["custom"] and not node["custom"]["cel"]]
    inputs = [node for node in told if node["is_input"].value is True]
    for node in formulas[1:]:
        node.refuse("a ScaledObject has one formula")
    if not formulas or len(inputs) != len(told):
        for node in [*formulas[:1], *inputs]:
            node.refuse("in a ScaledObject a formula takes in every trigger, and none stands beside it")
        return None
    node = formulas[0]
    node["name"].ignore("the formula of a ScaledObject has no name")
    custom = node["custom"]
    modifiers = {
        "formula": custom["cel"].take(),
        "target": quantity_of(float(custom["target"].take(0))),
        "metricType": _type(custom),
        "activationTarget": quantity_of(float(node["activation"].take())) if node["activation"] else None,
    }
    for one in inputs:
        one["is_input"].take()
    return filled(modifiers)


def _trigger(node: Node) -> dict[str, Any] | None:
    node.refuse_all(METRIC_LACKS)
    for resource in ("cpu", "memory"):
        if form := node[f"target_{resource}"]:
            value = str(form["target_percent"].number(1))
            return _resource(node, resource, "Utilization", value, form["container"].text())
    if general := node["general"]:
        return _general(node, general)
    if queue := node["queue_length"]:
        target_type = "Value" if queue["total"].flag(default=False) else "AverageValue"
        wanted = float(queue["max_items"].take(0))
        return _asked(node, queue["source"], queue["query"], (target_type, wanted))
    custom = node["custom"]
    if custom["external_scaler"]:
        return _external(node, custom)
    if custom["source"]:
        source = custom["source"]
        return _asked(node, source["source"], source["query"], (_type(custom), float(custom["target"].take(0))))
    return None


def _resource(node: Node, kind: str, word: str, value: str, container: str) -> dict[str, Any]:
    metadata = filled({"value": value, "containerName": container})
    return {"type": kind, "name": node["name"].text(), "metricType": word, "metadata": metadata}


def _general(node: Node, general: Node) -> dict[str, Any] | None:
    """A metric in the general form: a resource's mean, or a number from elsewhere."""
    kind = general["kind"].value
    if kind == "METRIC_KIND_RESOURCE" and general["target_type"].value == "TARGET_TYPE_AVERAGE_VALUE":
        resource = str(general["resource"].value).removeprefix("RESOURCE_").lower()
        value = float(general["target"].take())
        for field in ("kind", "target_type", "resource"):
            general[field].take()
        told = cpu_of(value) if resource == "cpu" else quantity_of(value)
        return _resource(node, resource, "AverageValue", told, general["container"].text())
    if kind != "METRIC_KIND_EXTERNAL":
        general.refuse("no trigger tells such a metric")
        return None
    general["kind"].take()
    return _asked(node, general["source"], general["query"], (_type(general), float(general["target"].take())))


def _type(node: Node) -> str:
    word = node["target_type"].take("TARGET_TYPE_AVERAGE_VALUE")
    return _TYPES_BACK.get(word, "AverageValue")


def _asked(node: Node, source: Node, query: Node, wanted: tuple[str, float]) -> dict[str, Any] | None:
    """A trigger that asks a source, by the name of the source."""
    found = _metadata(str(source.value), str(query.value))
    if found is None:
        node.refuse("its source is none that a trigger is named after")
        return None
    kind, target, activation, metadata = found
    source.take()
    query.take()
    metadata[target] = quantity_of(wanted[1])
    if node["activation"]:
        metadata[activation] = quantity_of(float(node["activation"].take()))
    return {"type": kind, "name": node["name"].text(), "metricType": wanted[0], "metadata": metadata}


def _metadata(source: str, query: str) -> tuple[str, str, str, dict[str, str]] | None:
    """Type of a trigger, names of its target and activation, and what it asks."""
    if source == "prometheus":
        return "prometheus", *TYPES["prometheus"], {"query": query}
    if source == "rabbitmq":
        return "rabbitmq", *TYPES["rabbitmq"], {"queueName": query, "mode": "QueueLength"}
    if source == "postgresql":
        return "postgresql", *POSTGRESQL, {"query": query}
    if source != "redis":
        return None
    command, *words = shlex.split(query) or [""]
    kind = REDIS.get(command.upper())
    if kind is None or len(words) != len(kind[3]):
        return None
    return kind[0], kind[1], kind[2], dict(zip(kind[3], words, strict=True))


def _external(node: Node, custom: Node) -> dict[str, Any] | None:
    scaler = custom["external_scaler"]
    scaler["metric_name"].refuse("KEDA asks for every metric that a server names")
    for field in ("object_name", "namespace"):
        scaler[field].refuse("KEDA tells a server the ScaledObject's own name")
    custom["target"].ignore("a server names its own target")
    custom["target_type"].unless(("TARGET_TYPE_AVERAGE_VALUE",), "KEDA compares an average", "is what KEDA compares")
    node["activation"].refuse("a server says itself whether it is active")
    metadata = {"scalerAddress": scaler["address"].text()}
    if scaler["tls"].flag(default=False):
        metadata["enableTLS"] = "true"
    told = scaler["metadata"]
    return {
        "type": "external",
        "name": node["name"].text(),
        "metadata": metadata | {key: told[key].text() for key in told.names()},
    }


def _cron(node: Node) -> dict[str, Any] | None:
    """A floor for a time."""
    minutes = _minutes(node["duration"])
    end = None if minutes is None else ends_of(str(node["cron"].value), minutes)
    if end is None or not node["min_replicas"] or node["max_replicas"]:
        node.refuse("is no floor for a time whose end one cron expression tells")
        return None
    node["name"].ignore("a cron trigger has no name here")
    node["duration"].take()
    return {
        "type": "cron",
        "metadata": {
            "timezone": node["time_zone"].text("UTC"),
            "start": node["cron"].take(),
            "end": end,
            "desiredReplicas": str(node["min_replicas"].number(1)),
        },
    }


def _minutes(node: Node) -> int | None:
    seconds = float(str(node.value or "0").removesuffix("s"))
    return int(seconds // 60) if seconds % 60 == 0 else None
