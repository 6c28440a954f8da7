"""`Canary` objects of Flagger as pipelines. Pure.

A Canary names what it rolls out: the Deployment has to stand in the same file, else what runs is not known. Flagger
looks at its metrics once in each interval and goes one weight further; that becomes a weight and a gate that counts for
as long as the interval.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from opsuite_cli.imports.argo import filled_rollout
from opsuite_cli.imports.pods import Pod, deployment_in, pod_of, read_envelope
from opsuite_cli.imports.reading import Imported, Node, Reading, document, filled, parsed_duration, seconds
from opsuite_cli.init import label

API_GROUP: Final = "flagger.app/"
KIND: Final = "Canary"
INTERVAL: Final = timedelta(seconds=60)
SHORTEST_INTERVAL: Final = timedelta(seconds=10)
ITERATIONS: Final = 10
GATEWAY_PROVIDERS: Final = ("gatewayapi:v1", "gatewayapi:v1beta1", "gatewayapi:v1alpha2")
COOKIE: Final = re.compile(r"\^\(\.\*\?;\)\?\(([!-<>-~]+)=([!-~]+?)\)\(;\.\*\)\?\$").fullmatch
METRICS: Final = {"request-success-rate": "min", "request-duration": "max"}

ROUTE: Final = "the HTTPRoute is yours: write it there; opsuite sets its weights only"
ROUTER: Final = (
    "opsuite routes by a Gateway API HTTPRoute or by a Service on Kubernetes; without, replicas are the weights"
)
LATER: Final = (
    "metrics of your own are not imported: write a gate with checks or limits to errors and latency; "
    "until then promotion waits for a person"
)
SERVICES: Final = "opsuite makes the Services of both versions, without marks of yours"
COUNTED: Final = "requests are counted from one step to the next"
SPEC_REFUSED: Final = {
    "metricsServer": LATER,
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
HOOKS: Final = {
    "confirm-rollout": "a pause stands in its place, until a person promotes",
    "confirm-promotion": "a pause stands in its place, until a person promotes",
    "confirm-traffic-increase": "nobody is asked before each weight; pause or abort by a command",
    "pre-rollout": "do it in a step before the rollout",
    "rollout": "load and tests belong into steps that run beside the rollout",
    "post-rollout": "do it in a step after the rollout",
    "rollback": "a rollout is aborted by a command",
    "event": "its body has another form here: write a notification with a webhook",
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
        "min_healthy_time": pod.min_healthy_time,
        "progress_deadline": f"{spec['progressDeadlineSeconds'].number(600, 1, 604_800)}s",
    }
    stages = [
        {"name": "rollout", "steps": [{"name": "rollout", "timeout": "604800s", "rollout": filled_rollout(rollout)}]}
    ]
    return reading.imported(
        document(name, environment, stages, f"Imported from the Flagger Canary {name}."), pod.version
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
    pod.workload["replicas"] = found["replicas"].number(1, 0, 1000)
    pod.min_healthy_time = f"{found['minReadySeconds'].number(0, 0, 86_400)}s"
    return pod


def set_port(pod: Pod, service: Node) -> None:
    """The port that gets the requests stands first; a Deployment that names none gets the Service's."""
    service["portDiscovery"].unless((False,), "one port gets the requests", "one port gets the requests")
    wanted = service["targetPort"] or service["port"]
    ports = pod.workload.setdefault("ports", [])
    chosen = next((port for port in ports if wanted.value in (port["name"], port["number"])), None)
    if chosen is None and isinstance(wanted.value, int):
        chosen = {"name": service["portName"].text("http"), "number": wanted.number(80, 1, 65_535)}
    elif chosen is not None:
        service["portName"].ignore("the port has its name in the Deployment")
        wanted.take()
    if chosen is not None:
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
        return {"service": {"name": name}}
    spec["provider"].refuse(ROUTER)
    return {}


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


def analysis_of(spec: Node) -> Node:
    """The analysis, under its present name or the one that it had before."""
    return spec["analysis"] or spec["canaryAnalysis"]


def strategy_of(spec: Node, traffic: dict[str, Any]) -> dict[str, Any]:
    """The strategy, one field of a rollout."""
    analysis = analysis_of(spec)
    if spec["skipAnalysis"].flag(default=False) or not analysis:
        analysis.ignore("is skipped")
        return {"rolling": {}}
    read_rest(analysis, traffic)
    interval = max(read_interval(analysis["interval"]), SHORTEST_INTERVAL)
    hooks = hooks_of(analysis["webhooks"])
    limits = limits_of(analysis["metrics"], interval, hooks)
    if is_stepwise(analysis) and "service" not in traffic:
        analysis["iterations"].ignore("there are weights to go through")
        return {"canary": {"steps": steps_of(weights_of(analysis), interval, limits, hooks)}}
    for key in ("stepWeight", "stepWeights", "maxWeight"):
        analysis[key].refuse("a Service sends all requests or none: weights need another router")
    time = interval * analysis["iterations"].number(ITERATIONS, 1, 10_000)
    return {"blue_green": blue_green_of(analysis, time, limits, hooks)}


def is_stepwise(analysis: Node) -> bool:
    """Whether it goes by weights; matches and iterations alone make it blue-green or an A/B test."""
    return bool(analysis["stepWeight"] or analysis["stepWeights"])


def read_rest(analysis: Node, traffic: dict[str, Any]) -> None:
    """What is said beside steps, metrics and hooks."""
    analysis["threshold"].unless((0, 1), "a gate that fails aborts at once, the first time", "the first failure counts")
    analysis["stepWeightPromotion"].unless(
        (0, 100), "after the last step all requests go to the new version", "that is how it is"
    )
    for key in ("primaryReadyThreshold", "canaryReadyThreshold"):
        analysis[key].unless((100,), "every replica has to be ready", "every replica has to be ready")
    analysis["alerts"].refuse("write a notification; its address is a secret of the server")
    analysis["sessionAffinity"].refuse("only opsuite's own edges keep clients with a version")
    if "http_route" not in traffic:
        analysis["match"].refuse(ROUTER)
    if "http_route" not in traffic or analysis["mirror"].value is not True:
        analysis["mirror"].unless((False,), ROUTER, "nothing is mirrored")
        analysis["mirrorWeight"].ignore("nothing is mirrored")


def read_interval(interval: Node) -> timedelta:
    """Time between two looks; Flagger takes a minute when it cannot read it."""
    found = parsed_duration(interval.value)
    interval.take() if found is not None else interval.refuse("is not a duration; a minute is taken, as Flagger does")
    return INTERVAL if found is None else found


def weights_of(analysis: Node) -> list[int]:
    """The shares gone through; the last one may be beyond the greatest, as it is in Flagger."""
    if analysis["stepWeights"]:
        for key in ("stepWeight", "maxWeight"):
            analysis[key].ignore("the weights are listed one by one")
        return [weight.number(0, 0, 100) for weight in analysis["stepWeights"]]
    step, most = analysis["stepWeight"].number(10, 1, 100), analysis["maxWeight"].number(100, 1, 100)
    return [min(weight, 100) for weight in range(step, most + step, step)]


def steps_of(weights: list[int], interval: timedelta, limits: dict[str, Any], hooks: set[str]) -> list[dict[str, Any]]:
    """Weights, each followed by a look as long as the interval, and pauses where somebody is asked."""
    steps = [{"pause": {}}] if "confirm-rollout" in hooks else list[dict[str, Any]]()
    for weight in weights:
        steps.append({"set_weight": weight})
        steps.append(
            {"gate": {"name": "metrics", "traffic": dict(limits)}}
            if limits
            else {"pause": {"duration": seconds(interval)}}
        )
    return [*steps, {"pause": {}}] if "confirm-promotion" in hooks else steps


def blue_green_of(analysis: Node, time: timedelta, limits: dict[str, Any], hooks: set[str]) -> dict[str, Any]:
    """A preview that is looked at for as long as all iterations take, or until a person promotes it."""
    automatic = not hooks & {"confirm-rollout", "confirm-promotion"}
    if limits:
        gate = {"name": "metrics", "traffic": limits | {"window": seconds(time)}}
        return {"auto_promotion_enabled": automatic, "pre_promotion": gate}
    if automatic:
        return {"auto_promotion_enabled": True, "auto_promotion_after": seconds(time)}
    for key in ("interval", "iterations"):
        analysis[key].refuse("a person promotes, whenever that is")
    return {"auto_promotion_enabled": False}


def limits_of(metrics: Node, interval: timedelta, hooks: set[str]) -> dict[str, Any]:
    """Limits to errors and latency, from the two metrics that Flagger has built in; a person judges all others."""
    limits = dict[str, Any]()
    for metric in metrics:
        bound = METRICS.get(str(metric["name"].value))
        value = bound_of(metric, bound) if bound and not metric["templateRef"] and not metric["query"] else None
        if value is None:
            metric.refuse(LATER)
            hooks.add("confirm-promotion")
            continue
        metric["name"].take()
        window = parsed_duration(metric["interval"].value)
        if window is not None and window <= interval:
            metric["interval"].ignore(COUNTED)
        else:
            metric["interval"].refuse(f"{COUNTED}, not longer")
        limits |= (
            {"max_error_percent": round(100 - value, 6)} if bound == "min" else {"max_latency": f"{value / 1000:g}s"}
        )
    return limits | {"window": seconds(interval)} if limits else {}


def bound_of(metric: Node, bound: str) -> float | None:
    """The limit of a metric; None if there is none of the kind that counts for it."""
    span = metric["thresholdRange"]
    source = span[bound] if span else metric["threshold"]
    if not isinstance(source.value, (int, float)) or isinstance(source.value, bool):
        return None
    span["max" if bound == "min" else "min"].refuse("the limit is on the other side")
    return float(source.take())


def hooks_of(webhooks: Node) -> set[str]:
    """Kinds of the hooks, all of which are refused; those that ask somebody become pauses."""
    kinds = {str(hook["type"].value) for hook in webhooks}
    for hook in webhooks:
        hook.refuse(HOOKS.get(str(hook["type"].value or "rollout"), "hooks of that kind are not imported"))
    return kinds
