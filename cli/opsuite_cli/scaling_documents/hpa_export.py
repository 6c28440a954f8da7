"""Scaling policies as HorizontalPodAutoscalers (autoscaling/v2). Pure.

What a HorizontalPodAutoscaler cannot say is named with a reason; `hpa.policy_from` reads the rest back.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from opsuite_cli.imports.reading import Imported, Node, Reading, filled
from opsuite_cli.scaling_documents.behavior import behavior_back
from opsuite_cli.scaling_documents.hpa import API_VERSION, KIND
from opsuite_cli.scaling_documents.quantities import cpu_of, quantity_of

LACKS: Final = "a HorizontalPodAutoscaler has no such thing"
SPEC_LACKS: Final = {
    "cooldown": LACKS,
    "timing": "these are settings of Kubernetes' controller, for all of a cluster",
    "flap_guard": LACKS,
    "overlays": LACKS,
    "cost": LACKS,
    "pool": LACKS,
    "priority": LACKS,
    "mode": LACKS,
    "forecast": LACKS,
}
METRIC_LACKS: Final = {
    "activation": LACKS,
    "stale_after": LACKS,
    "fallback": LACKS,
    "confirm_drop": LACKS,
    "is_input": LACKS,
    "response_time": LACKS,
    "custom": LACKS,
    "queue_length": "a source that the custom metrics API knows nothing of",
}
KINDS: Final = {"METRIC_KIND_PODS": "pods", "METRIC_KIND_EXTERNAL": "external"}
_QUERY: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:.-]*)(?:\{(.*)\})?", re.DOTALL).fullmatch
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_./-]*)=("(?:[^"\\]|\\.)*")(?:,|$)')


def hpa_from(reading: Reading) -> Imported:
    """The HorizontalPodAutoscaler of a policy document."""
    root = reading.root
    spec = root["spec"]
    name = read_head(root)
    spec.refuse_all(SPEC_LACKS)
    spec["hold_during_rollout"].unless((False,), "Kubernetes scales while it rolls out", "Kubernetes does not hold")
    manifest = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata_of(name, spec),
        "spec": filled(
            {
                "scaleTargetRef": target_back(spec["target"]),
                "minReplicas": spec["min_replicas"].number(1),
                "maxReplicas": spec["max_replicas"].number(1),
                "metrics": [found for node in spec["metrics"] if (found := _metric(node))],
                "behavior": behavior_back(spec["behavior"]),
            }
        ),
    }
    return reading.imported(manifest)


def read_head(root: Node) -> str:
    """The name of a policy document."""
    root["apiVersion"].take()
    root["kind"].take()
    root["spec"]["display_name"].ignore("is for people")
    return root["metadata"]["name"].text()


def metadata_of(name: str, spec: Node) -> dict[str, Any]:
    """What names a manifest."""
    labels = spec["labels"]
    told = {key: labels[key].text() for key in labels.names()}
    return filled({"name": name, "namespace": spec["target"]["namespace"].text(), "labels": told})


def target_back(node: Node) -> dict[str, Any]:
    """What is scaled, if Kubernetes scales it."""
    if node["kind"].value != "TARGET_KIND_KUBERNETES_SCALE":
        node["kind"].refuse("only what has a scale sub-resource is scaled by Kubernetes")
    else:
        node["kind"].take()
    return {
        "apiVersion": node["api_version"].text("apps/v1"),
        "kind": node["object_kind"].text("Deployment"),
        "name": node["name"].text(),
    }


def _metric(node: Node) -> dict[str, Any] | None:
    node["name"].ignore("only a policy names its metrics")
    node.refuse_all(METRIC_LACKS)
    for resource in ("cpu", "memory"):
        if form := node[f"target_{resource}"]:
            target = {"type": "Utilization", "averageUtilization": form["target_percent"].number(1)}
            return resource_back(resource, form["container"].text(), target)
    general = node["general"]
    if not general:
        return None
    if general["kind"].value == "METRIC_KIND_RESOURCE":
        return _resource(general)
    return _asked(general)


def resource_back(resource: str, container: str, target: dict[str, Any]) -> dict[str, Any]:
    """A resource metric, of one container or of the whole pod."""
    if container:
        inner = {"name": resource, "container": container, "target": target}
        return {"type": "ContainerResource", "containerResource": inner}
    return {"type": "Resource", "resource": {"name": resource, "target": target}}


def _resource(general: Node) -> dict[str, Any] | None:
    resource = str(general["resource"].value).removeprefix("RESOURCE_").lower()
    if general["target_type"].value == "TARGET_TYPE_UTILIZATION":
        target = {"type": "Utilization", "averageUtilization": int(general["target"].take())}
    else:
        value = float(general["target"].take())
        told = cpu_of(value) if resource == "cpu" else quantity_of(value)
        target = {"type": "AverageValue", "averageValue": told}
    for field in ("kind", "target_type", "resource"):
        general[field].take()
    return resource_back(resource, general["container"].text(), target)


def _asked(general: Node) -> dict[str, Any] | None:
    kind = KINDS.get(general["kind"].value)
    metric = metric_of(str(general["query"].value))
    if kind is None or metric is None:
        general.refuse("the custom metrics API knows metrics by name and labels, not by queries")
        return None
    general["source"].ignore("there the custom metrics API is asked")
    for field in ("kind", "target_type", "query"):
        general[field].take()
    value = quantity_of(float(general["target"].take()))
    is_value = general["target_type"].value == "TARGET_TYPE_VALUE"
    target = {"type": "Value", "value": value} if is_value else {"type": "AverageValue", "averageValue": value}
    return {"type": kind.capitalize(), kind: {"metric": metric, "target": target}}


def metric_of(query: str) -> dict[str, Any] | None:
    """The metric that a query of a name and labels means; None for any other query."""
    found = _QUERY(query)
    if found is None:
        return None
    labels, rest = {}, found[2] or ""
    while rest:
        label = _LABEL.match(rest)
        if label is None:
            return None
        try:
            labels[label[1]] = json.loads(label[2])
        except ValueError:
            return None
        rest = rest[label.end() :]
    return filled({"name": found[1], "selector": {"matchLabels": labels} if labels else None})
