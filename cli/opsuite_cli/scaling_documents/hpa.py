"""HorizontalPodAutoscalers (autoscaling/v2) as scaling policies. Pure.

Whatever is not mapped is named with a reason. Pods and External metrics come from Kubernetes' custom metrics API there;
a policy asks a metric source instead, so they need the name of one, which is asked for the metric by its name and
labels: `requests{app="shop"}`.
"""

from __future__ import annotations

import json
from typing import Any, Final

from opsuite_cli.imports.reading import Imported, Node, Reading, filled
from opsuite_cli.scaling_documents.behavior import behavior_from
from opsuite_cli.scaling_documents.naming import metric_name
from opsuite_cli.scaling_documents.quantities import millicores_of, number_of, plain

API_VERSION: Final = "autoscaling/v2"
KIND: Final = "HorizontalPodAutoscaler"
API: Final = "opsuite.dev/v1"
POLICY: Final = "ScalingPolicy"
DEFAULT_CPU_PERCENT: Final = 80
"""What Kubernetes puts in where a HorizontalPodAutoscaler has no metrics."""
MOST_REPLICAS: Final = 100_000
NO_SOURCE: Final = "comes from the custom metrics API, which is not asked here: name a metric source to ask instead"


def policy_from(reading: Reading, *, source: str = "") -> Imported:
    """The policy of a HorizontalPodAutoscaler; `source` is who is asked for what is no resource of its members."""
    root = reading.root
    name, namespace, labels = read_metadata(root)
    spec = root["spec"]
    root["status"].ignore("is what was, not what is wanted")
    policy = {
        "target": target_from(spec["scaleTargetRef"], namespace),
        "metrics": _metrics(spec["metrics"], source),
        "min_replicas": spec["minReplicas"].number(1, 0, MOST_REPLICAS),
        "max_replicas": spec["maxReplicas"].number(1, 1, MOST_REPLICAS),
        "behavior": behavior_from(spec["behavior"]),
        "hold_during_rollout": False,
        "labels": labels,
    }
    return reading.imported(policy_document(name, policy))


def policy_document(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A policy as `opsuite scaling apply` reads it."""
    return {"apiVersion": API, "kind": POLICY, "metadata": {"name": name}, "spec": filled(spec)}


def read_metadata(root: Node) -> tuple[str, str, dict[str, str]]:
    """Name, namespace and labels of a manifest."""
    root["apiVersion"].take()
    root["kind"].take()
    metadata = root["metadata"]
    labels = metadata["labels"]
    found = {key: labels[key].text() for key in labels.names()}
    for key in (
        "annotations",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
        "selfLink",
    ):
        metadata[key].ignore("says nothing about scaling")
    return metadata["name"].text(), metadata["namespace"].text(), found


def target_from(node: Node, namespace: str) -> dict[str, Any]:
    """What is scaled: anything with a scale sub-resource."""
    return filled(
        {
            "kind": "TARGET_KIND_KUBERNETES_SCALE",
            "name": node["name"].text(),
            "namespace": namespace,
            "api_version": node["apiVersion"].text("apps/v1"),
            "object_kind": node["kind"].text("Deployment"),
        }
    )


def _metrics(nodes: Node, source: str) -> list[dict[str, Any]]:
    metrics: list[dict[str, Any]] = []
    if not nodes.value:
        nodes.take()
        return [{"name": "cpu", "target_cpu": {"target_percent": DEFAULT_CPU_PERCENT}}]
    for node in nodes:
        taken = [one["name"] for one in metrics]
        match node["type"].value:
            case "Resource":
                found = resource_metric(node["resource"]["name"], node["resource"]["target"], "", taken)
            case "ContainerResource":
                inner = node["containerResource"]
                found = resource_metric(inner["name"], inner["target"], inner["container"].text(), taken)
            case "Pods":
                found = _asked(node["pods"], "METRIC_KIND_PODS", source, taken)
            case "External":
                found = _asked(node["external"], "METRIC_KIND_EXTERNAL", source, taken)
            case _:
                found = None
                node.refuse("is about an object of Kubernetes, which no metric source here can be asked about")
        if found is not None:
            node["type"].take()
            metrics.append(found)
    return metrics


def resource_metric(resource: Node, target: Node, container: str, taken: list[str]) -> dict[str, Any] | None:
    """CPU or memory; None when it is refused."""
    kind = resource.value
    if kind not in ("cpu", "memory"):
        resource.refuse("is no resource that is sampled here; cpu and memory are")
        return None
    resource.take()
    name = metric_name(f"{kind}_{container}" if container else str(kind), taken)
    if target["type"].value == "Utilization":
        target["type"].take()
        percent = target["averageUtilization"].number(0, 1, 10_000)
        form = filled({"target_percent": percent, "container": container})
        return {"name": name, f"target_{kind}": form} if percent else None
    value = _value(target, "averageValue", millicores_of if kind == "cpu" else number_of, "AverageValue")
    if value is None:
        return None
    general = {
        "kind": "METRIC_KIND_RESOURCE",
        "target_type": "TARGET_TYPE_AVERAGE_VALUE",
        "target": value,
        "resource": f"RESOURCE_{str(kind).upper()}",
        "container": container,
    }
    return {"name": name, "general": filled(general)}


def _asked(node: Node, kind: str, source: str, taken: list[str]) -> dict[str, Any] | None:
    """A metric that a source is asked for."""
    if not source:
        Node(node.reading, node.path[:-1], node.value).refuse(NO_SOURCE)
        return None
    labels = node["metric"]["selector"]["matchLabels"]
    node["metric"]["selector"]["matchExpressions"].refuse("only equal labels are imported")
    told = {key: labels[key].text() for key in labels.names()}
    name = node["metric"]["name"].text()
    is_value = node["target"]["type"].value == "Value" and kind == "METRIC_KIND_EXTERNAL"
    word = "Value" if is_value else "AverageValue"
    value = _value(node["target"], "value" if is_value else "averageValue", number_of, word)
    if value is None:
        return None
    general = {
        "kind": kind,
        "target_type": "TARGET_TYPE_VALUE" if is_value else "TARGET_TYPE_AVERAGE_VALUE",
        "target": value,
        "source": source,
        "query": query_of(name, told),
    }
    return {"name": metric_name(name, taken), "general": general}


def query_of(name: str, labels: dict[str, str]) -> str:
    """A metric by its name and labels, as PromQL writes it."""
    told = ",".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in labels.items())
    return f"{name}{{{told}}}" if told else name


def _value(target: Node, field: str, read: Any, word: str) -> float | None:
    """The wanted value; None when it is refused."""
    if target["type"].value != word:
        target["type"].refuse(f"is not {word}")
        return None
    value = read(target[field].value)
    if value is None or value <= 0:
        target[field].refuse("is no quantity above 0")
        return None
    target["type"].take()
    target[field].take()
    return plain(value)
