"""`Canary` objects of Flagger as pipelines. Pure.

A Canary names what it rolls out: the Deployment has to stand in the same file, else what runs is not known. Flagger
looks at its metrics once in each interval and goes one weight further; that becomes a weight and a gate that counts for
as long as the interval.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from opsuite_cli.imports.argo import filled_rollout
from opsuite_cli.imports.flagger_hooks import hooks_of
from opsuite_cli.imports.flagger_strategy import ROUTER, analysis_of, interval_of, is_skipped, is_stepwise, strategy_of
from opsuite_cli.imports.pods import Pod, clocks_of, deployment_in, pod_of, read_envelope
from opsuite_cli.imports.reading import Imported, Node, Reading, document, filled
from opsuite_cli.init import label

API_GROUP: Final = "flagger.app/"
KIND: Final = "Canary"
GATEWAY_PROVIDERS: Final = ("gatewayapi:v1", "gatewayapi:v1beta1", "gatewayapi:v1alpha2")
COOKIE: Final = re.compile(r"\^\(\.\*\?;\)\?\(([!-<>-~]+)=([!-~]+?)\)\(;\.\*\)\?\$").fullmatch

ROUTE: Final = "the HTTPRoute is yours: write it there; opsuite sets its weights only"
SERVICES: Final = "opsuite makes the Services of both versions, without marks of yours"
SPEC_REFUSED: Final = {
    "metricsServer": "metrics of your own are not imported",
    "autoscalerRef": "the autoscaler has to be pointed at the new workloads, or left to the scaler",
    "ingressRef": ROUTER,
    "routeRef": ROUTER,
    "upstreamRef": ROUTER,
}
SERVICE_REFUSED: Final = {
    "timeout": ROUTE,
    "gateways": ROUTE,
    "gatewayRefs": ROUTE,
    "hosts": ROUTE,
    "trafficPolicy": ROUTE,
    "match": ROUTE,
    "rewrite": ROUTE,
    "retries": ROUTE,
    "headers": ROUTE,
    "corsPolicy": ROUTE,
    "meshName": ROUTE,
    "backends": ROUTE,
    "delegation": ROUTE,
    "mirror": ROUTE,
    "appProtocol": ROUTE,
    "trafficDistribution": ROUTE,
    "apex": SERVICES,
    "primary": SERVICES,
    "canary": SERVICES,
    "unmanagedMetadata": SERVICES,
    "headless": SERVICES,
}


def pipeline_from(reading: Reading, *, environment: str, others: Sequence[Reading] = ()) -> Imported:
    """The pipeline of a Canary; `others` are documents beside it, among them the Deployment that it names."""
    root = reading.root
    read_envelope(root)
    spec = root["spec"]
    spec.refuse_all(SPEC_REFUSED)
    spec["revertOnDeletion"].ignore("a pipeline that is deleted changes nothing")
    spec["suspend"].unless((False,), "a deployment is paused by a command", "it is not suspended")
    name, target = label(root["metadata"]["name"].text()), label(str(spec["targetRef"]["name"].value or "unknown"))
    pod = target_of(spec["targetRef"], others)
    set_port(pod, spec["service"])
    traffic = traffic_of(spec, target)
    rollout = {
        "workload": filled(
            {
                "workload": target,
                "platform": "kubernetes",
                "namespace": root["metadata"]["namespace"].text(),
                **pod.workload,
            }
        ),
        **strategy_of(spec, traffic),
        "traffic": traffic,
        "health": pod.health,
        **clocks_of(spec["progressDeadlineSeconds"], pod.min_ready),
    }
    pipeline = document(
        name, environment, {"rollout": filled_rollout(rollout)}, f"the Flagger Canary {name}", hooks_in(spec, traffic)
    )
    return reading.imported(pipeline, pod.version)


def hooks_in(spec: Node, traffic: dict[str, Any]) -> list[dict[str, Any]]:
    """The hooks of its webhooks; a Canary that is not looked at has none."""
    if is_skipped(spec):
        return []
    analysis = analysis_of(spec)
    by_weights = is_stepwise(analysis) and "service" not in traffic
    return hooks_of(
        analysis["webhooks"], interval_of(analysis), by_weights=by_weights, has_router="http_route" in traffic
    )


def target_of(target: Node, others: Sequence[Reading]) -> Pod:
    """What is rolled out, and how many replicas it has."""
    target["apiVersion"].take()
    target["kind"].unless(("Deployment",), "only Deployments are imported", "is what is imported")
    name = str(target["name"].value or "unknown")
    found = deployment_in(others, name)
    if found is None:
        target["name"].refuse(
            "the Deployment is not in this file, so what it runs is not known: put it in, or write `image`"
        )
        return Pod({"image": f"{label(name)}:${{version}}"})
    target["name"].take()
    pod = pod_of(found["template"], found["selector"])
    pod.workload["replicas"] = found["replicas"].number(1, 1, 1000)
    pod.min_ready = found["minReadySeconds"]
    return pod


def set_port(pod: Pod, service: Node) -> None:
    """The port that gets the requests stands first; a Deployment that names none gets the Service's."""
    service["portDiscovery"].unless((False,), "one port gets the requests", "one port gets the requests")
    wanted = service["targetPort"] or service["port"]
    ports = pod.workload.setdefault("ports", [])
    chosen = next((port for port in ports if wanted.value in (port["name"], port["number"])), None)
    if chosen is None and not isinstance(wanted.value, int):
        wanted.refuse("is no port of the container")
        wanted = service["port"]
    if chosen is None:
        number, name = wanted.number(80, 1, 65_535), service["portName"].text("http")
        chosen = {"name": f"port-{number}" if name in (port["name"] for port in ports) else name, "number": number}
    else:
        service["portName"].ignore("the port has its name in the Deployment")
        wanted.take()
    pod.workload["ports"] = [chosen, *(port for port in ports if port is not chosen)]
    if wanted.path != service["port"].path:
        service["port"].ignore("is the Service's port; requests go to the replicas' own")


def traffic_of(spec: Node, target: str) -> dict[str, Any]:
    """Who sends requests."""
    service, analysis = spec["service"], analysis_of(spec)
    service.refuse_all(SERVICE_REFUSED)
    name = service["name"].text() or target
    provider = str(spec["provider"].value or "")
    if provider in GATEWAY_PROVIDERS:
        spec["provider"].take()
        mirror = analysis["mirrorWeight"].number(100, 0, 100) if analysis["mirror"].value is True else None
        if mirror is not None:
            analysis["mirror"].take()
        return filled(
            {"http_route": {"name": name}, "matches": matches_of(analysis["match"]), "mirror_percent": mirror}
        )
    if provider == "kubernetes":
        spec["provider"].take()
    else:
        spec["provider"].refuse(ROUTER)
    goes_by_replicas = is_stepwise(analysis) or is_skipped(spec)
    return {} if goes_by_replicas and provider != "kubernetes" else {"service": {"name": name}}


def matches_of(match: Node) -> list[dict[str, Any]]:
    """Requests that always go to the new version; those picked by anything but one whole value are refused."""
    found = list[dict[str, Any]]()
    for one in match:
        headers = one["headers"].names()
        if one.names() != ["headers"] or len(headers) != 1:
            one.refuse("requests are picked out by one header or one cookie")
            continue
        name, value = headers[0], one["headers"][headers[0]]
        cookie = COOKIE(str(value["regex"].value or "")) if name.lower() == "cookie" else None
        if value.names() == ["exact"]:
            found.append({"header": name, "value": value["exact"].text()})
        elif cookie and value.names() == ["regex"]:
            value["regex"].take()
            found.append({"cookie": cookie[1], "value": cookie[2]})
        else:
            one.refuse("requests are picked out by the whole value of a header or cookie")
    return found
