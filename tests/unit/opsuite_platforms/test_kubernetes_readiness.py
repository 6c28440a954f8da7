"""When an object counts as ready, by kind."""

from __future__ import annotations

from typing import Any

import pytest

from opsuite_platforms.kubernetes_readiness import standing_of

SEEN = {"observedGeneration": 2}


def thing(kind: str, status: dict[str, Any], spec: dict[str, Any] | None = None, group: str = "apps/v1") -> Any:
    metadata = {"name": "web", "generation": 2}
    return {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec or {}, "status": status}


def conditions(**states: str) -> dict[str, Any]:
    return {
        "conditions": [{"type": kind, "status": state, "reason": f"{kind}Is{state}"} for kind, state in states.items()]
    }


DEPLOYED = SEEN | {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}
THREE = {"replicas": 3}


@pytest.mark.parametrize(
    ("each", "missing"),
    [
        (thing("Deployment", DEPLOYED, THREE), ""),
        (thing("Deployment", DEPLOYED | {"observedGeneration": 1}, THREE), "not seen by its controller"),
        (thing("Deployment", {}, THREE), "not seen by its controller"),
        (thing("Deployment", DEPLOYED | {"updatedReplicas": 2}, THREE), "2 of 3 replicas are updated"),
        (thing("Deployment", DEPLOYED | {"replicas": 4}, THREE), "1 old replicas are about to end"),
        (thing("Deployment", DEPLOYED | {"availableReplicas": 1}, THREE), "1 of 3 replicas are available"),
        (thing("Deployment", SEEN, {"replicas": 0}), ""),
        (thing("ReplicaSet", SEEN | {"replicas": 3, "availableReplicas": 3}, THREE), ""),
        (thing("ReplicaSet", SEEN | {"replicas": 3}, THREE), "0 of 3 replicas are available"),
        (thing("StatefulSet", SEEN | {"readyReplicas": 3, "updateRevision": "b", "currentRevision": "b"}, THREE), ""),
        (
            thing("StatefulSet", SEEN | {"readyReplicas": 3, "updatedReplicas": 1, "updateRevision": "b"}, THREE),
            "1 of 3 replicas are updated",
        ),
        (
            thing(
                "StatefulSet",
                SEEN | {"readyReplicas": 3, "updatedReplicas": 1, "updateRevision": "b", "currentRevision": "a"},
                THREE | {"updateStrategy": {"rollingUpdate": {"partition": 2}}},
            ),
            "",
        ),
        (thing("StatefulSet", SEEN | {"readyReplicas": 3}, THREE | {"updateStrategy": {"type": "OnDelete"}}), ""),
        (
            thing("DaemonSet", SEEN | {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1}),
            "1 of 2 replicas are available",
        ),
        (thing("DaemonSet", SEEN | {"desiredNumberScheduled": 0}), ""),
        (thing("Job", conditions(Complete="True"), group="batch/v1"), ""),
        (thing("Job", {"active": 1}, {"completions": 2}, "batch/v1"), "0 of 2 completed, 1 run"),
        (thing("CronJob", {}, group="batch/v1"), ""),
        (thing("Pod", {"phase": "Running"} | conditions(Ready="True"), group="v1"), ""),
        (thing("Pod", {"phase": "Running"} | conditions(Ready="False"), group="v1"), "is Running"),
        (thing("Pod", {"phase": "Succeeded"}, group="v1"), ""),
        (thing("PersistentVolumeClaim", {"phase": "Bound"}, group="v1"), ""),
        (thing("PersistentVolumeClaim", {"phase": "Pending"}, group="v1"), "is Pending"),
        (thing("Service", {}, {"type": "ClusterIP"}, "v1"), ""),
        (thing("Service", {}, {"type": "LoadBalancer"}, "v1"), "has no address yet"),
        (thing("Service", {"loadBalancer": {"ingress": [{}]}}, {"type": "LoadBalancer"}, "v1"), ""),
        (thing("CustomResourceDefinition", {}, group="apiextensions.k8s.io/v1"), "not served yet"),
        (thing("CustomResourceDefinition", conditions(Established="True"), group="apiextensions.k8s.io/v1"), ""),
        (thing("Namespace", {"phase": "Active"}, group="v1"), ""),
        (thing("Gadget", {}, group="example.com/v1"), ""),
        (thing("Gadget", conditions(Ready="True"), group="example.com/v1"), ""),
        (thing("Gadget", conditions(Ready="False"), group="example.com/v1"), "ReadyIsFalse"),
        (thing("Gadget", conditions(Available="Unknown"), group="example.com/v1"), "AvailableIsUnknown"),
        (thing("Gadget", conditions(Ready="True", Available="False"), group="example.com/v1"), "AvailableIsFalse"),
        (thing("Deployment", conditions(Ready="False"), group="example.com/v1"), "ReadyIsFalse"),
    ],
)
def test_each_kind_is_ready_by_its_own_rule(each: Any, missing: str) -> None:
    standing = standing_of(each)

    assert standing.is_ready == (not missing)
    assert missing in standing.message
    assert not standing.has_failed


@pytest.mark.parametrize(
    "each",
    [
        thing(
            "Deployment",
            SEEN | {"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]},
        ),
        thing("Job", conditions(Failed="True"), group="batch/v1"),
        thing("Pod", {"phase": "Failed", "reason": "Evicted"}, group="v1"),
        thing("PersistentVolumeClaim", {"phase": "Lost"}, group="v1"),
        thing("Namespace", {"phase": "Terminating"}, group="v1"),
        thing("CustomResourceDefinition", conditions(NamesAccepted="False"), group="apiextensions.k8s.io/v1"),
        thing("Gadget", conditions(Stalled="True", Ready="False"), group="example.com/v1"),
    ],
)
def test_what_cannot_become_ready_has_failed_and_says_why(each: Any) -> None:
    standing = standing_of(each)

    assert standing.has_failed
    assert standing.message


def test_what_is_being_deleted_is_not_ready() -> None:
    each = thing("Deployment", DEPLOYED, THREE)
    each["metadata"]["deletionTimestamp"] = "2026-06-01T12:00:00Z"

    assert not standing_of(each).is_ready


def test_getting_further_shows() -> None:
    ways = [DEPLOYED | {"updatedReplicas": 1}, DEPLOYED | {"replicas": 4}, DEPLOYED | {"availableReplicas": 2}]

    progress = [standing_of(thing("Deployment", each, THREE)).progress for each in ways]

    assert progress[0] < progress[1]
    assert progress[0] < progress[2]
