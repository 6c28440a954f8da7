"""A container that runs to its end, as a Job of Kubernetes, and how such a Job ended. Pure.

The time limit stands in the pod: the kubelet ends a pod that is too old and keeps it with its log and its exit status.
A Job that is too old loses its pods, so its own limit is longer: it ends only what no node has taken.
"""

from __future__ import annotations

import signal
from datetime import timedelta
from typing import Any, Final

from opsuite_platforms.kubernetes_status import annotation, condition, container_status, sentence
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.kubernetes_workloads import label_value, limits_of, literal, whole_seconds
from opsuite_platforms.port import ContainerSpec, Exit, ExitKind

CONTAINER: Final = "main"
NO_NETWORK: Final = "opsuite.no_network"
"""Label of pods that may talk to nobody."""
NOT_STARTED: Final = "opsuite.not_started"
"""Annotation: why the Job was given up before its container began."""
STOPPED: Final = "opsuite.stopped"
"""Annotation: it was ended because someone asked for that."""
# Why a container does not begin. Kubernetes tries again without end.
CANNOT_BEGIN: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
    }
)
# How the kubelet says that there was a container, but no process in it.
NO_PROCESS: Final = frozenset({"StartError", "ContainerCannotRun"})
# Exit statuses from here to 128 + 64 mean death by signal.
SIGNAL_BASE: Final = 128
LAST_SIGNAL: Final = 64


def job_of(spec: ContainerSpec, start_timeout: timedelta) -> Object:
    """The Job: one pod, never a second one, no privilege and no way to gain one."""
    labels = {name: label_value(value) for name, value in spec.labels.items()}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": spec.name, "labels": labels, "annotations": dict(spec.labels)},
        "spec": {
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": whole_seconds(spec.timeout + start_timeout),
            "template": {
                "metadata": {"labels": labels | ({NO_NETWORK: "true"} if spec.network_disabled else {})},
                "spec": _pod_of(spec),
            },
        },
    }


def _pod_of(spec: ContainerSpec) -> Object:
    limits = limits_of(spec.cpus, spec.memory_bytes)
    container: Object = {
        "name": CONTAINER,
        "image": spec.image,
        "args": [literal(argument) for argument in spec.command],
        "env": [{"name": name, "value": literal(value)} for name, value in spec.env.items()],
        "resources": {"limits": limits, "requests": limits},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "containers": [container],
        "restartPolicy": "Never",
        "activeDeadlineSeconds": whole_seconds(spec.timeout),
        "terminationGracePeriodSeconds": whole_seconds(spec.grace),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
    }


def no_network_policy() -> Object:
    """Keeps the pods of that label off the network, where the cluster's network knows policies."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "opsuite-no-network"},
        "spec": {"podSelector": {"matchLabels": {NO_NETWORK: "true"}}, "policyTypes": ["Ingress", "Egress"]},
    }


def exit_of(job: Object | None, pod: Object | None, spec: ContainerSpec) -> Exit | None:
    """How it ended; None while it has not. `pod` was read after `job`."""
    if job is None:
        return Exit(ExitKind.LOST, message=f"job {spec.name} was removed before its end could be read")
    if reason := annotation(job, NOT_STARTED):
        return Exit(ExitKind.NOT_STARTED, message=reason)
    if pod is not None and has_ended(pod):
        return _exit_of_pod(pod, spec, was_stopped=bool(annotation(job, STOPPED)))
    if is_suspended(job):
        return Exit(ExitKind.CANCELLED, message=f"job {spec.name} was suspended: {annotation(job, STOPPED)}")
    if condition(job, "Complete").get("status") == "True":
        return Exit(ExitKind.EXITED, 0)
    if (failed := condition(job, "Failed")).get("status") == "True":
        # Its pod is gone: no node took it in time, or somebody deleted it.
        is_late = failed.get("reason") == "DeadlineExceeded"
        return Exit(ExitKind.NOT_STARTED if is_late else ExitKind.LOST, message=sentence(failed))
    return None


def _exit_of_pod(pod: Object, spec: ContainerSpec, *, was_stopped: bool) -> Exit:
    end = (container_status(pod).get("state") or {}).get("terminated") or {}
    code = end.get("exitCode")
    if pod["status"].get("reason") == "DeadlineExceeded" and not was_stopped:
        return Exit(ExitKind.TIMED_OUT, code, f"stopped after {spec.timeout.total_seconds():g} s")
    if code is None:
        kind = ExitKind.CANCELLED if was_stopped else ExitKind.LOST
        return Exit(kind, message=sentence(pod["status"]))
    if end.get("reason") in NO_PROCESS:
        return Exit(ExitKind.NOT_STARTED, message=sentence(end))
    message = _remark(pod, end, spec)
    if SIGNAL_BASE < code <= SIGNAL_BASE + LAST_SIGNAL:
        return Exit(ExitKind.SIGNALLED, code - SIGNAL_BASE, message)
    return Exit(ExitKind.EXITED, code, message)


def _remark(pod: Object, end: dict[str, Any], spec: ContainerSpec) -> str:
    if end.get("reason") == "OOMKilled":
        return f"out of memory: the limit is {spec.memory_bytes} bytes"
    if pod["status"].get("reason") not in {None, "DeadlineExceeded"}:
        return sentence(pod["status"])  # "Evicted: the node was low on resource: memory"
    killed = end["exitCode"] == SIGNAL_BASE + signal.SIGKILL
    return end.get("message") or ("killed, by someone or for lack of memory" if killed else "")


def has_begun(pod: Object) -> bool:
    """Whether its container runs or has run: there is a log."""
    return bool({"running", "terminated"} & (container_status(pod).get("state") or {}).keys())


def has_ended(pod: Object) -> bool:
    """Whether it will not run again."""
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def why_it_does_not_begin(pod: Object | None) -> str:
    """What keeps its container from starting; empty if nothing out of the ordinary does."""
    waiting = (container_status(pod).get("state") or {}).get("waiting") or {} if pod else {}
    return sentence(waiting) if waiting.get("reason") in CANNOT_BEGIN else ""


def is_suspended(job: Object) -> bool:
    """Whether no pod of it may run."""
    return bool(job["spec"].get("suspend"))
