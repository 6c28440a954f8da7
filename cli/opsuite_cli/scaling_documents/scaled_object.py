"""ScaledObjects (keda.sh/v1alpha1) as scaling policies. Pure. Whatever is not mapped is named with a reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from opsuite_cli.imports.reading import Imported, Node, Reading
from opsuite_cli.scaling_documents.behavior import behavior_from
from opsuite_cli.scaling_documents.hpa import MOST_REPLICAS, policy_document, read_metadata, target_from
from opsuite_cli.scaling_documents.quantities import number_of, plain
from opsuite_cli.scaling_documents.triggers import TARGET_TYPES, Found, read_trigger

API_VERSION: Final = "keda.sh/v1alpha1"
KIND: Final = "ScaledObject"
POLL_SECONDS, COOLDOWN_SECONDS, MIN_REPLICAS, MAX_REPLICAS = 30, 300, 0, 100
"""KEDA's defaults."""
PREFIX: Final = "autoscaling.keda.sh/"
MODES: Final = {
    f"{PREFIX}paused": "SCALING_MODE_PAUSED",
    f"{PREFIX}paused-scale-in": "SCALING_MODE_SCALE_UP_ONLY",
    f"{PREFIX}paused-scale-out": "SCALING_MODE_SCALE_DOWN_ONLY",
}
FALLBACKS: Final = {
    "static": "FALLBACK_BEHAVIOR_STATIC",
    "currentReplicas": "FALLBACK_BEHAVIOR_CURRENT_REPLICAS",
    "currentReplicasIfHigher": "FALLBACK_BEHAVIOR_CURRENT_REPLICAS_IF_HIGHER",
    "currentReplicasIfLower": "FALLBACK_BEHAVIOR_CURRENT_REPLICAS_IF_LOWER",
}
ARITHMETIC: Final = re.compile(r"[\w\s.+*/()-]+", re.ASCII).fullmatch
"""Formulas that mean the same in KEDA's language and in CEL."""
WORDS: Final = re.compile(r"[a-zA-Z_]\w*", re.ASCII)


def policy_from(
    reading: Reading, *, sources: Mapping[str, str] | None = None, external_target: float | None = None
) -> Imported:
    """The policy of a ScaledObject; `sources` are metric sources by type of trigger.

    External scalers need `external_target`, see `triggers.Found`.
    """
    root = reading.root
    mode = _mode(root["metadata"]["annotations"])
    name, namespace, labels = read_metadata(root)
    spec = root["spec"]
    root["status"].ignore("is what was, not what is wanted")
    found = Found(sources or {}, external_target)
    if spec["triggers"].value == []:
        spec["triggers"].take()
    for trigger in spec["triggers"]:
        read_trigger(trigger, found)
    _stand_ins(spec["fallback"], found)
    advanced = spec["advanced"]
    _formula(advanced["scalingModifiers"], found)
    advanced["restoreToOriginalReplicaCount"].unless((False,), "the size stays when a policy goes", "it stays")
    config = advanced["horizontalPodAutoscalerConfig"]
    config["name"].ignore("nothing of that name is made")
    spec["scaleTargetRef"]["envSourceContainerName"].refuse("variables of containers are not resolved")
    spec["idleReplicaCount"].refuse("a size for idle times below min_replicas is not known here")
    spec["initialCooldownPeriod"].unless((0,), "a cooldown begins with the last activity", "is what is done")
    policy = {
        "target": target_from(spec["scaleTargetRef"], namespace),
        "metrics": found.metrics,
        "overlays": found.overlays,
        "min_replicas": spec["minReplicaCount"].number(MIN_REPLICAS, 0, MOST_REPLICAS),
        "max_replicas": spec["maxReplicaCount"].number(MAX_REPLICAS, 1, MOST_REPLICAS),
        "behavior": behavior_from(config["behavior"]),
        "timing": {"tick": f"{spec['pollingInterval'].number(POLL_SECONDS, 1, 3600)}s"},
        "cooldown": {"to_zero": f"{spec['cooldownPeriod'].number(COOLDOWN_SECONDS, 0, 86_400)}s"},
        "mode": {"mode": mode} if mode else None,
        "hold_during_rollout": False,
        "labels": labels,
    }
    return reading.imported(policy_document(name, policy))


def _mode(annotations: Node) -> str:
    """What annotations say of pauses; two of them at once are refused."""
    found = [key for key in MODES if annotations[key]]
    annotations[f"{PREFIX}paused-replicas"].refuse("pause it, and set the size by `opsuite scaling set`")
    annotations[f"{PREFIX}force-activation"].refuse("set min_replicas to 1 instead")
    if len(found) > 1:
        for key in found:
            annotations[key].refuse("stands beside another pause")
        return ""
    for key in found:
        if str(annotations[key].value).lower() == "true":
            annotations[key].take()
            return MODES[key]
        annotations[key].refuse("is not true")
    return ""


def _stand_ins(node: Node, found: Found) -> None:
    """KEDA's fallback is for all triggers; not for CPU and memory."""
    if not node:
        return
    behavior = node["behavior"].value or "static"
    threshold, replicas = node["failureThreshold"].number(0, 0, 1000), node["replicas"].number(0, 0, MOST_REPLICAS)
    if behavior not in FALLBACKS:
        node["behavior"].refuse(f"is none of {', '.join(FALLBACKS)}")
        return
    node["behavior"].take()
    fallback = {"behavior": FALLBACKS[behavior], "failure_threshold": threshold, "replicas": replicas}
    for metric in found.metrics:
        if "custom" in metric:
            metric["fallback"] = dict(fallback)


def _formula(node: Node, found: Found) -> None:
    """One metric that is made of the others."""
    if not node:
        return
    formula = str(node["formula"].value or "")
    target = number_of(node["target"].value)
    unknown = sorted(set(WORDS.findall(formula)) - set(found.names))
    if not ARITHMETIC(formula) or unknown or target is None or target <= 0:
        node.refuse("is no arithmetic over the names of triggers, or has no target above 0: write it in CEL")
        return
    if node["metricType"].value not in TARGET_TYPES:
        node.refuse("has a metricType that is none of AverageValue and Value")
        return
    for key in ("formula", "target", "metricType"):
        node[key].take()
    for metric in found.metrics:
        if "custom" in metric:
            metric["is_input"] = True
    above = number_of(node["activationTarget"].take("0"))
    metric = {
        "name": "formula" if "formula" not in found.names else "composite",
        "custom": {"target": plain(target), "target_type": TARGET_TYPES[node["metricType"].value], "cel": formula},
    }
    found.metrics.append(metric | ({"activation": plain(above)} if above else {}))
