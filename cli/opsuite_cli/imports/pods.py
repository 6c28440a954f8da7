"""Kubernetes objects as far as importers share them: the template of a pod as the workload of a rollout. Pure.

A workload has one container, whose arguments, plain environment, ports, limits and readiness it states; all else of a
pod is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from opsuite_cli.imports.reading import Node, Reading, filled, plain, versioned

QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?").fullmatch
SCALES: Final = {
    None: 1.0,
    "m": 0.001,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}
LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?").fullmatch
GRACE_SECONDS: Final = 30
ONE_CONTAINER: Final = "a workload has one container; run the others as workloads of their own"
REFERENCE: Final = "refers to a variable by $(…), which workloads do not resolve"

CONTAINER: Final = {
    "command": "a workload keeps the entry point of its image, and replaces only the arguments",
    "envFrom": "a workload's environment holds plain values: no ConfigMap, no Secret",
    "volumeMounts": "a workload has no volumes",
    "volumeDevices": "a workload has no volumes",
    "workingDir": "a container runs in the directory that its image says",
    "securityContext": "a workload states no security context; set it for the namespace",
    "livenessProbe": "the deployer starts nothing again that hangs; that is the healer's affair",
    "startupProbe": "new replicas have the healthy deadline to become ready, whatever they answer until then",
    "lifecycle": "a workload has no hooks around its life",
    "imagePullPolicy": "the platform's own policy holds",
    "resizePolicy": "a workload is not resized while it runs",
}
CONTAINER_MEANINGLESS: Final = {
    "name": "the container is named after the workload",
    "terminationMessagePath": "messages of dead containers come from their logs",
    "terminationMessagePolicy": "messages of dead containers come from their logs",
}
POD: Final = {
    "initContainers": "a workload has one container; do what comes first in a step of its own",
    "ephemeralContainers": ONE_CONTAINER,
    "volumes": "a workload has no volumes",
    "imagePullSecrets": "a workload names no secrets; give them to the namespace's service account",
    "serviceAccountName": "a workload runs under the namespace's default service account",
    "serviceAccount": "a workload runs under the namespace's default service account",
    "automountServiceAccountToken": "a workload runs under the namespace's default service account",
    "securityContext": "a workload states no security context; set it for the namespace",
    "nodeSelector": "a workload does not choose its nodes",
    "affinity": "a workload does not choose its nodes",
    "tolerations": "a workload does not choose its nodes",
    "topologySpreadConstraints": "a workload does not choose its nodes",
    "priorityClassName": "a workload has no priority",
    "hostNetwork": "a workload has a network of its own",
}
POD_MEANINGLESS: Final = {
    "restartPolicy": "replicas are always started again",
    "dnsPolicy": "the platform's default holds",
    "schedulerName": "the platform's default holds",
}
METADATA_MEANINGLESS: Final = dict.fromkeys(
    ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"),
    "is written by the API server",
)
ROLLOUTS_OWN: Final = "the rollout has its own"
DEPLOYMENT_MEANINGLESS: Final = {
    "strategy": ROLLOUTS_OWN,
    "progressDeadlineSeconds": ROLLOUTS_OWN,
    "revisionHistoryLimit": "is kept as the server's settings say",
    "paused": "the Deployment itself is left alone",
}
NO_LABELS: Final = "replicas carry the labels by which opsuite finds them, and no others"


@dataclass(slots=True)
class Pod:
    """What a template says of a workload and of the health of its replicas."""

    workload: dict[str, Any] = field(default_factory=dict)
    health: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    min_ready: Node | None = None
    """Where the owner of the template says for how many seconds a pod has to be ready."""


def deployment_in(others: Sequence[Reading], name: str) -> Node | None:
    """The Deployment of that name among the documents beside the one that is imported, or in no file with it."""
    for root in (other.root for other in others):
        if root["kind"].value == "Deployment" and str(root["metadata"]["name"].value) == name:
            read_envelope(root)
            root["metadata"]["name"].take()
            root["metadata"]["namespace"].ignore("is the namespace of what names the Deployment")
            root["spec"].ignore_all(DEPLOYMENT_MEANINGLESS)
            return root["spec"]
    return None


def read_envelope(root: Node) -> None:
    """What stands around the spec of an object, but for its name and namespace."""
    root["apiVersion"].take()
    root["kind"].take()
    root["status"].ignore("is written by the controller")
    metadata = root["metadata"]
    metadata.ignore_all(METADATA_MEANINGLESS)
    metadata["labels"].refuse("pipelines have no labels")
    metadata["annotations"].refuse("pipelines have no annotations")


def pod_of(template: Node, selector: Node) -> Pod:
    """The workload that a template describes; `selector` is what the owner of the template selects its pods by."""
    read_labels(template["metadata"], selector)
    spec = template["spec"]
    spec.refuse_all(POD)
    spec.ignore_all(POD_MEANINGLESS)
    grace = spec["terminationGracePeriodSeconds"].number(GRACE_SECONDS, 0, 3600)
    containers = list(spec["containers"])
    for other in containers[1:]:
        other.refuse(ONE_CONTAINER)
    pod = container_of(containers[0]) if containers else Pod()
    pod.workload["grace"] = f"{grace}s"
    return pod


def clocks_of(progress: Node, min_ready: Node | None) -> dict[str, str]:
    """The times of a rollout. There a replica has as long to become ready as the rollout has to make progress."""
    deadline = progress.number(600, 2, 604_800)
    healthy = min(deadline - 1, 86_400)
    steady = min_ready.number(0, 0, 86_400) if min_ready is not None else 0
    if min_ready is not None and steady >= healthy:
        min_ready.refuse("is not shorter than the deadline for progress")
        steady = 0
    return {"min_healthy_time": f"{steady}s", "healthy_deadline": f"{healthy}s", "progress_deadline": f"{deadline}s"}


def read_labels(metadata: Node, selector: Node) -> None:
    """Labels that only serve the selector need not be said; what else marks the pods is refused."""
    selector.ignore("replicas are found by labels of opsuite's own")
    chosen = selector["matchLabels"]
    for label in metadata["labels"].names():
        metadata["labels"][label].unless([chosen[label].value], NO_LABELS, "serves the selector")
    metadata["annotations"].refuse("replicas carry no annotations")
    metadata.ignore_all(METADATA_MEANINGLESS)
    metadata["name"].ignore("replicas are named after the workload")


def container_of(container: Node) -> Pod:
    """What one container says."""
    container.refuse_all(CONTAINER)
    container.ignore_all(CONTAINER_MEANINGLESS)
    image, version = versioned(container["image"].text())
    ports = ports_of(container["ports"])
    workload = {
        "image": image,
        "command": arguments_of(container["args"]),
        "env": environment_of(container["env"]),
        "ports": list(ports.values()),
        **resources_of(container["resources"]),
    }
    return Pod(filled(workload), health_of(container["readinessProbe"], ports), version)


def arguments_of(args: Node) -> list[str]:
    """The arguments, if all of them are plain."""
    if any("$(" in str(argument.value) for argument in args):
        args.refuse(REFERENCE)
        return []
    return [plain(argument.text()) for argument in args]


def environment_of(env: Node) -> dict[str, str]:
    """The variables that have plain values."""
    found = dict[str, str]()
    for variable in env:
        if variable["valueFrom"]:
            variable.refuse("a workload's environment holds plain values: no ConfigMap, no Secret, no field of the pod")
        elif "$(" in str(variable["value"].value):
            variable.refuse(REFERENCE)
        else:
            found[variable["name"].text()] = plain(variable["value"].text())
    return found


def ports_of(ports: Node) -> dict[str | int, dict[str, Any]]:
    """The ports, by name and by number."""
    found = dict[str | int, dict[str, Any]]()
    for position, port in enumerate(ports):
        if port["protocol"].value not in (None, "TCP"):
            port.refuse("ports of workloads are TCP")
            continue
        port["protocol"].ignore("ports of workloads are TCP")
        port.refuse_all(
            {"hostPort": "a workload takes no port of its node", "hostIP": "a workload takes no port of its node"}
        )
        number = port["containerPort"].number(80, 1, 65_535)
        name = port["name"].text() or ("http" if position == 0 else f"port-{number}")
        found[number] = {"name": name, "number": number}
    return found


def resources_of(resources: Node) -> dict[str, Any]:
    """Processors and memory. Requests follow limits, so they need not be said when they are equal."""
    limits, requests = resources["limits"], resources["requests"]
    found = dict[str, Any]()
    for key, meant in (("cpu", "cpus"), ("memory", "memory_bytes")):
        if (amount := quantity(limits[key].value)) is not None:
            limits[key].take()
            found[meant] = amount if key == "cpu" else int(amount)
        if quantity(requests[key].value) == amount:
            requests[key].ignore("equals the limit")
        else:
            requests[key].refuse("what is requested follows the limits")
    for amounts in (limits, requests):
        for key in set(amounts.names()) - {"cpu", "memory"}:
            amounts[key].refuse("a workload states processors and memory only")
    resources["claims"].refuse("a workload states processors and memory only")
    return found


def quantity(value: Any) -> float | None:
    """An amount as Kubernetes writes it: `500m`, `1Gi`; None if it is no such amount."""
    found = QUANTITY(str(value)) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None
    return float(found[1]) * SCALES[found[2]] if found else None


def health_of(probe: Node, ports: Mapping[str | int, Mapping[str, Any]]) -> dict[str, Any]:
    """How a replica is asked whether it can take requests, with the defaults that Kubernetes has where ours differ."""
    if not probe:
        return {}
    if (unsupported := next((kind for kind in ("exec", "grpc") if probe[kind]), None)) is not None:
        probe.refuse(f"replicas are asked by HTTP or TCP, not by {unsupported}")
        return {}
    asked = probe["httpGet"] or probe["tcpSocket"]
    asked.refuse_all({"httpHeaders": "the question has no headers of its own", "host": "each replica is asked itself"})
    asked["scheme"].unless(("HTTP",), "replicas are asked by plain HTTP", "is how they are asked")
    probe["initialDelaySeconds"].ignore("new replicas may fail until the healthy deadline without harm")
    probe["successThreshold"].unless((1,), "one answer is enough", "one answer is enough")
    return filled(
        {
            "path": asked["path"].text() if probe["httpGet"] else "",
            "port": port_name(asked["port"], ports),
            "interval": f"{probe['periodSeconds'].number(10, 1, 3600)}s",
            "timeout": f"{probe['timeoutSeconds'].number(1, 1, 300)}s",
            "failure_threshold": probe["failureThreshold"].number(3, 1, 1000),
        }
    )


def port_name(port: Node, ports: Mapping[str | int, Mapping[str, Any]]) -> str:
    """The name of a port that is given by name or number; empty, and refused, if the workload has none such."""
    for known in ports.values():
        if port.value in (known["name"], known["number"]):
            return str(known["name"] if port.take() else "")
    port.refuse("is no port of the container")
    return ""
