"""What a Deployment and its pods say about a workload."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from opsuite_platforms.kubernetes_status import live_pods, workload_status
from opsuite_platforms.kubernetes_workloads import SPEC, VERSION
from opsuite_platforms.port import ReplicaPhase, WorkloadStatus

GIVEN_UP = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
NO_QUOTA = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}


def a_deployment(*conditions: dict[str, str], replicas: int = 1, observed: int = 2) -> dict[str, Any]:
    notes = {SPEC: "new", VERSION: "2.0.0"}
    metadata = {"name": "web", "uid": "deployment", "generation": 2, "annotations": notes}
    status = {"conditions": list(conditions), "observedGeneration": observed}
    return {"metadata": metadata, "spec": {"replicas": replicas}, "status": status}


def a_pod(
    name: str = "web-1", *, state: dict[str, Any] | None = None, spec: str = "new", created: int = 1, **status: Any
) -> dict[str, Any]:
    container = {"restartCount": 2, "state": state or {}, "lastState": {}}
    return {
        "metadata": {
            "name": name,
            "annotations": {SPEC: spec, VERSION: "2.0.0" if spec == "new" else "1.0.0"},
            "creationTimestamp": f"2026-06-01T12:00:0{created}Z",
            "ownerReferences": [{"uid": "set"}],
        },
        "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"podIP": "10.0.0.7", "containerStatuses": [container], **status},
    }


def is_now(kind: str, state: str, reason: str = "", message: str = "") -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": state, "reason": reason, "message": message}]}


def status_with(pod: dict[str, Any], deployment: dict[str, Any] | None = None, warning: str = "") -> WorkloadStatus:
    return workload_status(deployment or a_deployment(), [pod], {pod["metadata"]["name"]: warning})


RUNNING = {"running": {"startedAt": "2026-06-01T12:00:03Z"}}
CRASHED = {"terminated": {"exitCode": 1, "reason": "Error"}}


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": "because"}}


@pytest.mark.parametrize(
    ("pod", "phase", "said"),
    [
        (a_pod(state=RUNNING, **is_now("Ready", "True")), ReplicaPhase.RUNNING, ""),
        (a_pod(state=RUNNING, **is_now("Ready", "False")), ReplicaPhase.STARTING, "runs, but is not ready"),
        (a_pod(), ReplicaPhase.STARTING, ""),
        (a_pod(state=waiting("ContainerCreating")), ReplicaPhase.STARTING, ""),
        (a_pod(state=waiting("CrashLoopBackOff")), ReplicaPhase.BACKOFF, "CrashLoopBackOff: because"),
        (a_pod(state=waiting("ErrImagePull")), ReplicaPhase.BACKOFF, "ErrImagePull: because"),
        (a_pod(state=CRASHED), ReplicaPhase.BACKOFF, "ended with 1 (Error)"),
        (a_pod(state=waiting("InvalidImageName")), ReplicaPhase.FAILED, "InvalidImageName: because"),
        (
            a_pod(**is_now("PodScheduled", "False", "Unschedulable", "no node")),
            ReplicaPhase.STARTING,
            "Unschedulable: no node",
        ),
        (a_pod(state=RUNNING, spec="old", **is_now("Ready", "True")), ReplicaPhase.STOPPED, "about to be replaced"),
    ],
)
def test_a_pod_is_in_a_phase_and_says_why(pod: dict[str, Any], phase: ReplicaPhase, said: str) -> None:
    (replica,) = status_with(pod).replicas

    assert (replica.phase, replica.message) == (phase, said)


def test_a_replica_is_told_with_its_address_start_and_restarts() -> None:
    (replica,) = status_with(a_pod(state=RUNNING, **is_now("Ready", "True"))).replicas

    assert (replica.host, replica.ports, replica.restarts) == ("10.0.0.7", {"http": 8080}, 2)
    assert replica.started_at == datetime(2026, 6, 1, 12, 0, 3, tzinfo=UTC)


def test_what_was_warned_of_last_is_told_of_what_does_not_run_alone() -> None:
    (starting,) = status_with(a_pod(), warning="FailedMount: no volume").replicas
    (running,) = status_with(a_pod(**is_now("Ready", "True")), warning="Unhealthy: once").replicas

    assert starting.message == "FailedMount: no volume"
    assert running.message == ""


def test_what_is_not_ready_when_the_controllers_give_up_has_failed() -> None:
    deployment = a_deployment(GIVEN_UP, replicas=2)
    ready = a_pod("web-2", **is_now("Ready", "True"))

    status = workload_status(deployment, [a_pod("web-1", state=waiting("CrashLoopBackOff")), ready], {})

    assert [replica.phase for replica in status.replicas] == [ReplicaPhase.FAILED, ReplicaPhase.RUNNING]
    assert status.replicas[0].message == "ProgressDeadlineExceeded: timed out; CrashLoopBackOff: because"


def test_a_verdict_about_an_earlier_spec_does_not_count() -> None:
    (replica,) = status_with(a_pod(), a_deployment(GIVEN_UP, observed=1)).replicas

    assert replica.phase is ReplicaPhase.STARTING


def test_replicas_that_are_not_there_are_told_with_the_reason() -> None:
    status = workload_status(a_deployment(NO_QUOTA, replicas=2), [a_pod()], {})

    assert [replica.name for replica in status.replicas] == ["web-1", "web-new-0"]
    assert status.replicas[1].message == "FailedCreate: exceeded quota"
    assert not status.is_ready


def test_pods_that_are_about_to_end_or_belong_to_another_life_do_not_count() -> None:
    ours = {"metadata": {"uid": "set", "ownerReferences": [{"uid": "deployment"}]}}
    theirs = {"metadata": {"uid": "other", "ownerReferences": [{"uid": "earlier deployment"}]}}
    ending, evicted, foreign = a_pod("ending"), a_pod("evicted", phase="Failed"), a_pod("foreign")
    ending["metadata"]["deletionTimestamp"] = "2026-06-01T12:00:00Z"
    foreign["metadata"]["ownerReferences"] = [{"uid": "other"}]
    pods = [a_pod("young", created=5), a_pod("old", created=1), ending, evicted, foreign]

    live = live_pods(a_deployment(), [ours, theirs], pods)

    assert [pod["metadata"]["name"] for pod in live] == ["old", "young"]
