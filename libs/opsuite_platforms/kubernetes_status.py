"""What a Deployment and its pods say about a workload. Pure.

A pod runs when it is Ready, and not before: that is what decides whether its Service sends it requests. What stands in
its way is told in Kubernetes' own words (`ImagePullBackOff`, `Unschedulable`), because people search for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.kubernetes_workloads import SPEC, VERSION
from opsuite_platforms.port import Replica, ReplicaPhase, WorkloadStatus

# Kubernetes tries these again without end, but nothing that happens in the cluster can make them work.
HOPELESS: Final = frozenset({"InvalidImageName", "ErrImageNeverPull"})
# What a container that has yet to start waits for when all is well.
UNREMARKABLE: Final = frozenset({"ContainerCreating", "PodInitializing", ""})


def workload_status(deployment: Object, pods: Sequence[Object], warnings: Mapping[str, str]) -> WorkloadStatus:
    """The workload as it is now, its replicas from the oldest to the youngest.

    `pods` are those of `live_pods`; `warnings` hold the last one that was told about a pod, by the pod's name.
    """
    name, version = deployment["metadata"]["name"], version_of(deployment)
    desired = int(deployment["spec"].get("replicas", 1))
    verdict = given_up(deployment)
    replicas = [replica_of(pod, deployment, verdict, warnings.get(pod["metadata"]["name"], "")) for pod in pods]
    phase = ReplicaPhase.FAILED if verdict else ReplicaPhase.STARTING
    why = verdict or why_missing(deployment)
    missing = [
        Replica(f"{name}-new-{number}", version, phase, {}, host="", message=why)
        for number in range(desired - len(replicas))
    ]
    return WorkloadStatus(name, version, desired, tuple(replicas + missing))


def live_pods(deployment: Object, replica_sets: Sequence[Object], pods: Sequence[Object]) -> list[Object]:
    """The pods that count for the Deployment, from the oldest to the youngest.

    Not those that are about to end (on a lost node that takes for ever) or have ended: Kubernetes makes others in their
    place. Nor those of an earlier Deployment of that name.
    """
    own = {each["metadata"]["uid"] for each in replica_sets if is_owned_by(each, {deployment["metadata"]["uid"]})}
    live = [pod for pod in pods if is_owned_by(pod, own) and not is_ending(pod)]
    return sorted(live, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))


def replica_of(pod: Object, deployment: Object, verdict: str, warning: str) -> Replica:
    """One pod; `verdict` is why the controllers have given up, if they have."""
    container = container_status(pod)
    phase, message = phase_of(pod, deployment)
    if phase in {ReplicaPhase.STARTING, ReplicaPhase.BACKOFF}:
        message = "; ".join(text for text in (message, warning if warning not in message else "") if text)
        if verdict:
            phase, message = ReplicaPhase.FAILED, f"{verdict}; {message}" if message else verdict
    return Replica(
        name=pod["metadata"]["name"],
        version=version_of(pod),
        phase=phase,
        ports={port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0].get("ports") or []},
        host=pod.get("status", {}).get("podIP", ""),
        started_at=started_at(pod),
        restarts=int(container.get("restartCount", 0)),
        message=message,
    )


def phase_of(pod: Object, deployment: Object) -> tuple[ReplicaPhase, str]:
    """Where a pod of a workload stands, and what there is to say about it."""
    if annotation(pod, SPEC) != annotation(deployment, SPEC):
        return ReplicaPhase.STOPPED, "about to be replaced"
    return pod_phase(pod)


def pod_phase(pod: Object) -> tuple[ReplicaPhase, str]:
    """Where any pod stands, and what stands in its way."""
    if condition(pod, "Ready").get("status") == "True":
        return ReplicaPhase.RUNNING, ""
    if condition(pod, "PodScheduled").get("status") == "False":
        return ReplicaPhase.STARTING, sentence(condition(pod, "PodScheduled"))
    state = container_status(pod).get("state") or {}
    waiting, terminated = state.get("waiting") or {}, state.get("terminated")
    if waiting.get("reason", "") in HOPELESS:
        return ReplicaPhase.FAILED, sentence(waiting)
    if terminated or waiting.get("reason", "") not in UNREMARKABLE:
        return ReplicaPhase.BACKOFF, "; ".join(text for text in (sentence(waiting), last_end(pod)) if text)
    return ReplicaPhase.STARTING, "runs, but is not ready" if "running" in state else ""


def given_up(deployment: Object) -> str:
    """Why the controllers have given up; empty while they try."""
    progressing = condition(deployment, "Progressing")
    seen = deployment.get("status", {}).get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    if not seen or progressing.get("reason") != "ProgressDeadlineExceeded":
        return ""
    return "; ".join(
        text for text in (sentence(progressing), sentence(condition(deployment, "ReplicaFailure"))) if text
    )


def why_missing(deployment: Object) -> str:
    """What is known about a pod that is not there yet."""
    return sentence(condition(deployment, "ReplicaFailure")) or "not created yet"


def last_end(pod: Object) -> str:
    """How its container ended last."""
    status = container_status(pod)
    ends = [(status.get(state) or {}).get("terminated") for state in ("state", "lastState")]
    end = next((each for each in ends if each), None)
    return f"ended with {end['exitCode']} ({sentence(end)})" if end else ""


def started_at(pod: Object) -> datetime | None:
    """When its container began to run; None if it does not run."""
    running = (container_status(pod).get("state") or {}).get("running") or {}
    return time_of(running.get("startedAt"))


def time_of(stamp: str | None) -> datetime | None:
    """A time as the API server writes it."""
    return datetime.fromisoformat(stamp).astimezone(UTC) if stamp else None


def is_ending(pod: Object) -> bool:
    """Whether it is about to end, or has ended for good."""
    return "deletionTimestamp" in pod["metadata"] or pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def is_owned_by(thing: Object, uids: set[str]) -> bool:
    """Whether one of those owns it."""
    return any(owner["uid"] in uids for owner in thing["metadata"].get("ownerReferences", []))


def condition(thing: Object, kind: str) -> Mapping[str, Any]:
    """The condition of that type; empty if nobody has set it."""
    found = (thing.get("status") or {}).get("conditions") or []
    return next((each for each in found if each["type"] == kind), {})


def container_status(pod: Object) -> Mapping[str, Any]:
    """What the kubelet says about its first container."""
    return next(iter((pod.get("status") or {}).get("containerStatuses") or []), {})


def sentence(told: Mapping[str, Any]) -> str:
    """Reason and message in one."""
    return ": ".join(str(told[part]) for part in ("reason", "message") if told.get(part))


def version_of(thing: Object) -> str:
    """The version that it was made for."""
    return annotation(thing, VERSION)


def annotation(thing: Object, name: str) -> str:
    """The annotation of that name; empty if there is none."""
    return str((thing["metadata"].get("annotations") or {}).get(name, ""))
