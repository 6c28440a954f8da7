"""When an object of a cluster is what was asked for. Pure.

The rules of `kubectl rollout status` for what has replicas, and of kstatus (sigs.k8s.io/cli-utils) for the rest: a
condition `Ready` or `Available` decides where there is one; what has no condition is ready when it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from opsuite_platforms.kubernetes_status import condition, sentence
from opsuite_platforms.kubernetes_transport import Object


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an object stands."""

    is_ready: bool
    message: str = ""
    """What is missing, or why it failed."""
    has_failed: bool = False
    """Whether waiting is of no use."""
    progress: int = 0
    """Grows as it gets further; compared with its own earlier values only."""


READY: Final = Standing(is_ready=True)


def standing_of(thing: Object) -> Standing:
    """Where the object stands."""
    status = thing.get("status") or {}
    if "deletionTimestamp" in thing["metadata"]:
        return Standing(is_ready=False, message="is being deleted")
    if status.get("observedGeneration", thing["metadata"].get("generation", 0)) < thing["metadata"].get(
        "generation", 0
    ):
        return Standing(is_ready=False, message="not seen by its controller yet")
    rule = RULES.get((thing["apiVersion"].rpartition("/")[0], thing["kind"]), _by_conditions)
    return rule(thing.get("spec") or {}, status, thing)


def _deployment(spec: Mapping[str, Any], status: Mapping[str, Any], thing: Object) -> Standing:
    progressing = condition(thing, "Progressing")
    wanted, updated, available = (
        spec.get("replicas", 1),
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
    )
    if "observedGeneration" not in status:
        return Standing(is_ready=False, message="not seen by its controller yet")
    why = sentence(condition(thing, "ReplicaFailure"))
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Standing(is_ready=False, message="; ".join(filter(None, (sentence(progressing), why))), has_failed=True)
    return _replicas(wanted, updated, available, old=status.get("replicas", 0) - updated, why=why)


def _stateful_set(spec: Mapping[str, Any], status: Mapping[str, Any], _: Object) -> Standing:
    wanted, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
    strategy = spec.get("updateStrategy") or {}
    if "observedGeneration" not in status:
        return Standing(is_ready=False, message="not seen by its controller yet")
    if strategy.get("type") == "OnDelete":
        return _replicas(wanted, wanted, ready)
    kept = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    updated = status.get("updatedReplicas", 0)
    if not kept and status.get("updateRevision") == status.get("currentRevision"):
        updated = wanted
    return _replicas(wanted, min(wanted, updated + kept), ready)


def _daemon_set(spec: Mapping[str, Any], status: Mapping[str, Any], _: Object) -> Standing:
    wanted = status.get("desiredNumberScheduled", 0)
    if "observedGeneration" not in status:
        return Standing(is_ready=False, message="not seen by its controller yet")
    on_delete = (spec.get("updateStrategy") or {}).get("type") == "OnDelete"
    updated = wanted if on_delete else status.get("updatedNumberScheduled", 0)
    return _replicas(wanted, updated, status.get("numberAvailable", 0))


def _replica_set(spec: Mapping[str, Any], status: Mapping[str, Any], thing: Object) -> Standing:
    wanted = spec.get("replicas", 1)
    why = sentence(condition(thing, "ReplicaFailure"))
    return _replicas(wanted, min(wanted, status.get("replicas", 0)), status.get("availableReplicas", 0), why=why)


def _replicas(wanted: int, updated: int, available: int, *, old: int = 0, why: str = "") -> Standing:
    progress = updated + available - old
    if updated < wanted:
        message = f"{updated} of {wanted} replicas are updated"
    elif old > 0:
        message = f"{old} old replicas are about to end"
    elif available < wanted:
        message = f"{available} of {wanted} replicas are available"
    else:
        return READY
    return Standing(is_ready=False, message=f"{message}; {why}" if why else message, progress=progress)


def _job(spec: Mapping[str, Any], status: Mapping[str, Any], thing: Object) -> Standing:
    if (failed := condition(thing, "Failed")).get("status") == "True":
        return Standing(is_ready=False, message=sentence(failed), has_failed=True)
    if condition(thing, "Complete").get("status") == "True" or spec.get("suspend"):
        return READY
    done, active = status.get("succeeded", 0), status.get("active", 0)
    message = f"{done} of {spec.get('completions', 1)} completed, {active} run"
    return Standing(is_ready=False, message=message, progress=done)


def _pod(spec: Mapping[str, Any], status: Mapping[str, Any], thing: Object) -> Standing:
    if status.get("phase") == "Failed":
        return Standing(is_ready=False, message=sentence(status) or "failed", has_failed=True)
    if status.get("phase") == "Succeeded" or condition(thing, "Ready").get("status") == "True":
        return READY
    return Standing(is_ready=False, message=f"is {status.get('phase', 'not scheduled')}")


def _claim(spec: Mapping[str, Any], status: Mapping[str, Any], thing: Object) -> Standing:
    phase = status.get("phase", "Pending")
    if phase == "Bound":
        return READY
    return Standing(is_ready=False, message=f"is {phase}", has_failed=phase == "Lost")


def _service(spec: Mapping[str, Any], status: Mapping[str, Any], thing: Object) -> Standing:
    has_address = bool((status.get("loadBalancer") or {}).get("ingress"))
    if spec.get("type") != "LoadBalancer" or has_address:
        return READY
    return Standing(is_ready=False, message="has no address yet")


def _definition(spec: Mapping[str, Any], status: Mapping[str, Any], thing: Object) -> Standing:
    if (names := condition(thing, "NamesAccepted")).get("status") == "False":
        return Standing(is_ready=False, message=sentence(names), has_failed=True)
    if condition(thing, "Established").get("status") == "True":
        return READY
    return Standing(is_ready=False, message="not served yet")


def _namespace(spec: Mapping[str, Any], status: Mapping[str, Any], thing: Object) -> Standing:
    phase = status.get("phase", "Active")
    return READY if phase == "Active" else Standing(is_ready=False, message=f"is {phase}", has_failed=True)


def _present(spec: Mapping[str, Any], status: Mapping[str, Any], thing: Object) -> Standing:
    return READY


def _by_conditions(spec: Mapping[str, Any], status: Mapping[str, Any], thing: Object) -> Standing:
    if (stalled := condition(thing, "Stalled")).get("status") == "True":
        return Standing(is_ready=False, message=sentence(stalled), has_failed=True)
    for kind in ("Ready", "Available"):
        if (found := condition(thing, kind)) and found.get("status") != "True":
            return Standing(is_ready=False, message=sentence(found) or f"is not {kind.lower()}")
    return READY


Rule = Callable[[Mapping[str, Any], Mapping[str, Any], Object], Standing]
RULES: Final[Mapping[tuple[str, str], Rule]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _present,
    ("", "Pod"): _pod,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Service"): _service,
    ("", "Namespace"): _namespace,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}
