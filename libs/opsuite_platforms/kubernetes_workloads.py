"""What a workload is on Kubernetes: a Deployment, and a Service of the same name when it has ports. Pure.

Every replica has an address of its own there, so a port number is the same for all of them: a fixed one as it is, one
left to the platform counted from `FIRST_PORT`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, Final

from opsuite_kernel.errors import Conflict
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.port import PortSpec, WorkloadSpec
from opsuite_platforms.programs import substituted

WORKLOAD: Final = "opsuite.workload"
"""Label of everything that belongs to a workload; its value selects the pods."""
PART_OF: Final = "opsuite.part_of"
VERSION: Final = "opsuite.version"
"""Annotation; as a label too, for people, as far as labels can say it."""
EPOCH: Final = "opsuite.epoch"
SPEC: Final = "opsuite.spec"
"""Annotation that tells one template from another: a hash of the spec without its size."""
FIRST_PORT: Final = 8080
LONGEST_LABEL: Final = 63


def deployment_of(spec: WorkloadSpec, epoch: int, progress_deadline: timedelta) -> Object:
    """The whole Deployment. Raises: Conflict (no image)."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": spec.name,
            "labels": labels_of(spec),
            "annotations": annotations_of(spec) | {EPOCH: str(epoch)},
        },
        "spec": {
            "replicas": spec.replicas,
            "selector": {"matchLabels": {WORKLOAD: spec.name}},
            # Revisions stand side by side under names of their own; under one name the old goes before the new comes.
            "strategy": {"type": "Recreate"},
            "progressDeadlineSeconds": whole_seconds(progress_deadline),
            "template": template_of(spec),
        },
    }


def beginning_of(spec: WorkloadSpec, epoch: int) -> Object:
    """A Deployment without replicas that holds the name, and nothing that `deployment_of` would ever leave out."""
    whole = deployment_of(spec, epoch, timedelta(minutes=10))
    template = whole["spec"]["template"]
    container = {key: template["spec"]["containers"][0][key] for key in ("name", "image")}
    return whole | {
        "metadata": {"name": spec.name, "labels": {WORKLOAD: spec.name}, "annotations": {EPOCH: str(epoch)}},
        "spec": {
            "replicas": 0,
            "selector": whole["spec"]["selector"],
            "strategy": whole["spec"]["strategy"],
            "template": {"metadata": {"labels": {WORKLOAD: spec.name}}, "spec": {"containers": [container]}},
        },
    }


def service_of(spec: WorkloadSpec) -> Object:
    """The Service that leads to ready replicas by the names of their ports."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": spec.name, "labels": labels_of(spec)},
        "spec": {
            "selector": {WORKLOAD: spec.name},
            "ports": [
                {"name": name, "port": number, "targetPort": number, "protocol": "TCP"}
                for name, number in port_numbers(spec.ports).items()
            ],
        },
    }


def template_of(spec: WorkloadSpec) -> Object:
    """What every pod of the workload is made from."""
    return {
        "metadata": {"labels": labels_of(spec), "annotations": annotations_of(spec)},
        "spec": {
            "containers": [container_of(spec)],
            "terminationGracePeriodSeconds": whole_seconds(spec.grace),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
        },
    }


def container_of(spec: WorkloadSpec) -> Object:
    """The one container of a pod."""
    if not spec.image:
        raise Conflict(f"{spec.name}: Kubernetes needs an image to run", reason="SPEC_IMPOSSIBLE")
    ports = port_numbers(spec.ports)
    container: Object = {
        "name": "main",
        "image": spec.image,
        "args": [literal(substituted(argument, ports)) for argument in spec.command],
        "env": [
            {"name": name, "value": literal(substituted(value, ports))} for name, value in sorted(spec.env.items())
        ],
        "ports": [{"name": name, "containerPort": number} for name, number in ports.items()],
    }
    if limits := limits_of(spec.cpus, spec.memory_bytes):
        container["resources"] = {"limits": limits, "requests": limits}
    if spec.readiness is not None:
        container["readinessProbe"] = probe_of(spec, ports)
    return {key: value for key, value in container.items() if value}


def probe_of(spec: WorkloadSpec, ports: Mapping[str, int]) -> Object:
    """How the kubelet asks whether a pod can take requests."""
    readiness = spec.readiness
    assert readiness is not None  # noqa: S101  # its one caller has looked
    if readiness.port not in ports:
        raise Conflict(
            f"{spec.name}: readiness names port {readiness.port}, which it has not", reason="SPEC_IMPOSSIBLE"
        )
    number = ports[readiness.port]
    question: Object = {"tcpSocket": {"port": number}}
    if readiness.path:
        question = {"httpGet": {"path": readiness.path, "port": number}}
    times = {"periodSeconds": readiness.interval, "timeoutSeconds": readiness.timeout}
    return question | {name: whole_seconds(time) for name, time in times.items()}


def limits_of(cpus: float | None, memory_bytes: int | None) -> dict[str, str]:
    """Processors and memory in Kubernetes' words."""
    limits = dict[str, str]()
    if cpus is not None:
        limits["cpu"] = f"{math.ceil(cpus * 1000)}m"
    if memory_bytes is not None:
        limits["memory"] = str(memory_bytes)
    return limits


def port_numbers(ports: tuple[PortSpec, ...]) -> dict[str, int]:
    """Number of each port by its name."""
    fixed = {port.number for port in ports if port.number is not None}
    free = (number for number in range(FIRST_PORT, FIRST_PORT + len(ports) + len(fixed)) if number not in fixed)
    return {port.name: next(free) if port.number is None else port.number for port in ports}


def labels_of(spec: WorkloadSpec) -> dict[str, str]:
    """Labels of everything that belongs to the workload."""
    labels = {WORKLOAD: spec.name, VERSION: label_value(spec.version)}
    return labels | ({PART_OF: spec.part_of} if spec.part_of else {})


def annotations_of(spec: WorkloadSpec) -> dict[str, str]:
    """What labels cannot say exactly."""
    return {VERSION: spec.version, SPEC: fingerprint(spec)}


def fingerprint(spec: WorkloadSpec) -> str:
    """Differs when anything but the size does."""
    fields: dict[str, Any] = asdict(replace(spec, replicas=0, env=dict(sorted(spec.env.items()))))
    text = json.dumps(fields, default=timedelta.total_seconds, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def label_value(text: str) -> str:
    """As much of a text as a label can hold."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:LONGEST_LABEL].strip("._-")


def literal(text: str) -> str:
    """A text that Kubernetes does not take `$(NAME)` in for a variable."""
    return text.replace("$(", "$$(")


def whole_seconds(time: timedelta) -> int:
    """Kubernetes counts in seconds, from one."""
    return max(1, math.ceil(time.total_seconds()))
