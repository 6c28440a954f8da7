"""`Rollout` objects of Argo Rollouts as pipelines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from opsuite_cli.imports.pods import ROLLOUTS_OWN, Pod, clocks_of, deployment_in, pod_of, read_envelope
from opsuite_cli.imports.reading import Imported, Node, Reading, document, filled
from opsuite_cli.init import label

API_GROUP: Final = "argoproj.io/"
KIND: Final = "Rollout"
GATEWAY_PLUGIN: Final = "argoproj-labs/gatewayAPI"

JUDGED_LATER: Final = "analysis by metrics is not imported: write a gate with checks or limits to errors and latency"
PERSON: Final = "a pause stands in its place, until a person promotes"
NO_SECOND_SERVICE: Final = "a route has one Service; testers reach the new version by `traffic.matches`"
NO_MARKS: Final = "replicas carry the labels by which opsuite finds them, and no others"
SERVER: Final = "is kept as the server's settings say"
WORKLOADS_NAMESPACE: Final = "the route stands in the namespace of the workload"
ROUTER: Final = (
    "opsuite routes by its own edges, by a Gateway API HTTPRoute or by a Service; without, replicas are the weights"
)

SPEC_MEANINGLESS: Final = {
    "revisionHistoryLimit": SERVER,
    "rollbackWindow": "a rollback goes straight to its version, however old, without steps",
    "analysis": "limits how much is kept of what is not imported",
}
COMMON_REFUSED: Final = {
    "antiAffinity": "a workload does not choose its nodes",
    "scaleDownDelayRevisionLimit": "one old revision is kept at a time",
}
BLUE_GREEN_REFUSED: Final = COMMON_REFUSED | {
    "previewService": NO_SECOND_SERVICE,
    "prePromotionAnalysis": f"{JUDGED_LATER}; promotion waits for a person instead",
    "postPromotionAnalysis": JUDGED_LATER,
    "activeMetadata": NO_MARKS,
    "previewMetadata": NO_MARKS,
}
CANARY_REFUSED: Final = COMMON_REFUSED | {
    "analysis": f"{JUDGED_LATER}; a pause stands after the last step, until a person promotes",
    "canaryMetadata": NO_MARKS,
    "stableMetadata": NO_MARKS,
}
STEPS_REFUSED: Final = {
    "setHeaderRoute": "requests are picked out for the whole rollout: write `traffic.matches`",
    "setMirrorRoute": "requests are mirrored for the whole rollout: write `traffic.mirror_percent`",
}
STEPS_TO_A_PERSON: Final = {
    "analysis": f"{JUDGED_LATER}; {PERSON}",
    "experiment": f"experiments are not imported; {PERSON}",
    "plugin": f"plugins of steps are not imported; {PERSON}",
}


def pipeline_from(reading: Reading, *, environment: str, others: Sequence[Reading] = ()) -> Imported:
    """The pipeline of a Rollout; `others` are documents beside it, which may hold the Deployment that it names."""
    root = reading.root
    name = label(root["metadata"]["name"].text())
    read_envelope(root)
    spec = root["spec"]
    spec.ignore_all(SPEC_MEANINGLESS)
    spec["restartAt"].refuse("restarting is a command, not a part of the pipeline")
    spec["paused"].unless((False,), "a deployment is paused by a command", "it is not paused")
    pod = workload_of(spec, others)
    workload = {
        "workload": name,
        "platform": "kubernetes",
        "namespace": root["metadata"]["namespace"].text(),
        "replicas": spec["replicas"].number(1, 1, 1000),
        **pod.workload,
    }
    rollout = {
        "workload": filled(workload),
        **strategy_of(spec["strategy"]),
        "health": pod.health,
        **clocks_of(spec["progressDeadlineSeconds"], spec["minReadySeconds"]),
    }
    spec["progressDeadlineAbort"].unless((True,), "a rollout that stands still is always aborted", "that is how it is")
    pipeline = document(name, environment, {"rollout": filled_rollout(rollout)}, f"the Argo Rollout {name}")
    return reading.imported(pipeline, pod.version)


def workload_of(spec: Node, others: Sequence[Reading]) -> Pod:
    """What runs: the template, or that of the Deployment that is named instead."""
    reference = spec["workloadRef"]
    if not reference:
        return pod_of(spec["template"], spec["selector"])
    reference["scaleDown"].refuse("the Deployment is left alone: scale it down when the rollout has taken over")
    found = deployment_in(others, str(reference["name"].value))
    if found is None:
        reference.refuse(
            "the Deployment is not in this file, so what it runs is not known: put it in, or write `image`"
        )
        spec["selector"].ignore("replicas are found by labels of opsuite's own")
        return Pod({"image": "unknown:${version}"})
    for key in ("apiVersion", "kind", "name"):
        reference[key].take()
    spec["selector"].ignore("replicas are found by labels of opsuite's own")
    found.ignore_all({"replicas": ROLLOUTS_OWN, "minReadySeconds": ROLLOUTS_OWN})
    return pod_of(found["template"], found["selector"])


def strategy_of(strategy: Node) -> dict[str, Any]:
    """The strategy and who sends requests; both fields of a rollout."""
    if strategy["blueGreen"]:
        return blue_green_of(strategy["blueGreen"])
    return canary_of(strategy["canary"])


def blue_green_of(source: Node) -> dict[str, Any]:
    """Blue-green over the active Service. A time for promotion promotes there in either case."""
    is_judged = bool(source["prePromotionAnalysis"])
    source.refuse_all(BLUE_GREEN_REFUSED)
    if is_judged:
        source["autoPromotionSeconds"].refuse("without the analysis promotion waits for a person")
    after = source["autoPromotionSeconds"].duration()
    if after not in (None, "0s"):
        source["autoPromotionEnabled"].ignore("a time for promotion promotes in either case")
    is_automatic = after not in (None, "0s") or source["autoPromotionEnabled"].flag(default=True)
    strategy = {
        "auto_promotion_enabled": is_automatic and not is_judged,
        "auto_promotion_after": after,
        "preview_replicas": source["previewReplicaCount"].number(1, 1, 1000) if source["previewReplicaCount"] else None,
        "scale_down_delay": source["scaleDownDelaySeconds"].duration(),
        "abort_scale_down_delay": abort_delay(source["abortScaleDownDelaySeconds"]),
    }
    service = source["activeService"].text()
    return {"blue_green": filled(strategy), "traffic": {"service": {"name": service}} if service else {}}


def abort_delay(source: Node) -> str | None:
    """How long the new version stays after an abort; 0 means for ever there and at once here."""
    if source.value == 0:
        source.refuse("0 keeps the new version for ever there, which is not possible here")
        return None
    return source.duration()


def canary_of(source: Node) -> dict[str, Any]:
    """Canary, or rolling where there are no steps."""
    is_judged_in_the_background = bool(source["analysis"])
    source.refuse_all(CANARY_REFUSED)
    limits = {"max_surge": source["maxSurge"].text(), "max_unavailable": source["maxUnavailable"].text()}
    route = route_of(source["trafficRouting"])
    read_services(source, has_router=bool(route))
    most = source["trafficRouting"]["maxTrafficWeight"].number(100, 1, 100_000)
    steps = [step for entry in source["steps"] for step in step_of(entry, most, has_router=bool(route))]
    if is_judged_in_the_background:
        steps.append({"pause": {}})
    if not steps and not route:
        for key in ("scaleDownDelaySeconds", "abortScaleDownDelaySeconds"):
            source[key].ignore("without steps and a router replicas are replaced one after the other")
        return {"rolling": filled(limits), "traffic": {}}
    strategy = {
        "steps": steps,
        "dynamic_stable_scale": (route and source["dynamicStableScale"].flag(default=False)) or None,
        **limits,
        "scale_down_delay": source["scaleDownDelaySeconds"].duration(),
        "abort_scale_down_delay": abort_delay(source["abortScaleDownDelaySeconds"]),
        "max_weight": most if source["trafficRouting"]["maxTrafficWeight"] else None,
    }
    return {"canary": filled(strategy), "traffic": route}


def read_services(source: Node, *, has_router: bool) -> None:
    """What only matters with a router, or only without one."""
    for service in ("canaryService", "stableService"):
        if has_router:
            source[service].ignore("opsuite makes the Services of both versions")
        else:
            source[service].refuse(ROUTER)
    if not has_router:
        source["dynamicStableScale"].ignore("without a router the old version always shrinks as the new one grows")
    source["minPodsPerReplicaSet"].unless(
        (1,), "one replica is enough for a share", "one replica is enough for a share"
    )


def route_of(routing: Node) -> dict[str, Any]:
    """The HTTPRoute that the plugin for the Gateway API is told; all other routers are refused."""
    plugin = routing["plugins"][GATEWAY_PLUGIN]
    route = plugin["httpRoute"].text() if isinstance(plugin["httpRoute"].value, str) else ""
    namespace = routing.reading.root["metadata"]["namespace"].value
    plugin["namespace"].unless([namespace], WORKLOADS_NAMESPACE, WORKLOADS_NAMESPACE)
    for key in set(routing.names()) - {"plugins", "maxTrafficWeight", "managedRoutes"}:
        routing[key].refuse(ROUTER)
    for key in set(routing["plugins"].names()) - {GATEWAY_PLUGIN}:
        routing["plugins"][key].refuse(ROUTER)
    routing["managedRoutes"].refuse("requests are picked out by `traffic.matches`, not by routes of steps")
    return {"http_route": {"name": route}} if route else {}


def step_of(step: Node, most: int, *, has_router: bool) -> list[dict[str, Any]]:
    """One step, or none. `most` is the weight that means all requests."""
    asks_a_person = any(step[kind] for kind in STEPS_TO_A_PERSON)
    step.refuse_all(STEPS_REFUSED | STEPS_TO_A_PERSON)
    if asks_a_person:
        return [{"pause": {}}]
    if step["setWeight"]:
        return [{"set_weight": step["setWeight"].number(0, 0, most)}]
    if step["pause"]:
        return [pause_of(step["pause"])]
    if not has_router:
        step["setCanaryScale"].refuse("without a router replicas are all that a share is made of")
    return scale_of(step["setCanaryScale"])


def pause_of(pause: Node) -> dict[str, Any]:
    """A pause; one without an end when the duration cannot be read, which is the safe way round."""
    if not pause.names():
        pause.take()
    return {"pause": filled({"duration": pause["duration"].duration()})}


def scale_of(scale: Node) -> list[dict[str, Any]]:
    """A number of replicas of the new version, or nothing."""
    scale["weight"].refuse("replicas are set as a number; else they follow the share of requests")
    scale["matchTrafficWeight"].unless(
        (False,), "replicas that were set as a number stay so until the end", "says nothing"
    )
    return [{"set_replicas": scale["replicas"].number(1, 1, 1000)}] if scale["replicas"] else []


def filled_rollout(rollout: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say something; a strategy says something though it is empty."""
    strategies = {key: value for key, value in rollout.items() if key in ("rolling", "blue_green", "canary")}
    return filled(rollout) | strategies
