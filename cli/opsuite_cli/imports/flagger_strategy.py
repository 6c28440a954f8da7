"""The strategy of a Canary of Flagger: what is looked at, how the shares grow, and who is asked. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from opsuite_cli.imports.reading import Node, parsed_duration, seconds

INTERVAL: Final = timedelta(seconds=60)
SHORTEST_INTERVAL: Final = timedelta(seconds=10)
ITERATIONS: Final = 10
METRICS: Final = {"request-success-rate": "min", "request-duration": "max"}
ROUTER: Final = (
    "opsuite routes by a Gateway API HTTPRoute or by a Service on Kubernetes; without, replicas are the weights"
)
LATER: Final = (
    "metrics of your own are not imported: write a gate with checks or limits to errors and latency; "
    "until then a person promotes each step"
)
COUNTED: Final = "requests are counted from one step to the next"
NOBODY_COUNTS: Final = "without a router that opsuite knows nobody counts requests; a person promotes instead"


def analysis_of(spec: Node) -> Node:
    """The analysis, under its present name or the one that it had before."""
    return spec["analysis"] or spec["canaryAnalysis"]


def is_skipped(spec: Node) -> bool:
    """Whether a new version takes over without being looked at."""
    return not analysis_of(spec) or spec["skipAnalysis"].value is True


def strategy_of(spec: Node, traffic: dict[str, Any]) -> dict[str, Any]:
    """The strategy, one field of a rollout."""
    analysis = analysis_of(spec)
    spec["skipAnalysis"].flag(default=False)
    if is_skipped(spec):
        analysis.ignore("is skipped")
        return {"blue_green": {}} if "service" in traffic else {"rolling": {}}
    read_rest(analysis, traffic)
    interval = interval_of(analysis)
    look = look_of(analysis["metrics"], interval, has_router=bool(traffic))
    if is_stepwise(analysis) and "service" not in traffic:
        analysis["iterations"].ignore("there are weights to go through")
        return {"canary": {"steps": steps_of(weights_of(analysis), look)}}
    for key in ("stepWeight", "stepWeights", "maxWeight"):
        analysis[key].refuse("a Service sends all requests or none: weights need another router")
    time = interval * analysis["iterations"].number(ITERATIONS, 1, 10_000)
    return {"blue_green": blue_green_of(analysis, time, look)}


def is_stepwise(analysis: Node) -> bool:
    """Whether it goes by weights; matches and iterations alone make it blue-green or an A/B test."""
    return bool(analysis["stepWeight"] or analysis["stepWeights"])


def read_rest(analysis: Node, traffic: dict[str, Any]) -> None:
    """What is said beside steps, metrics and webhooks."""
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


def interval_of(analysis: Node) -> timedelta:
    """Time between two looks; it is never shorter than Flagger's shortest."""
    return max(read_interval(analysis["interval"]), SHORTEST_INTERVAL)


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


def steps_of(weights: list[int], look: Look) -> list[dict[str, Any]]:
    """Weights, each followed by a look as long as the interval, or by a pause for a person."""
    steps = list[dict[str, Any]]()
    for weight in weights:
        steps.append({"set_weight": weight})
        if look.limits:
            steps.append({"gate": {"name": "metrics", "traffic": look.limits | {"window": seconds(look.time)}}})
        if look.needs_a_person:
            steps.append({"pause": {}})
        elif not look.limits:
            steps.append({"pause": {"duration": seconds(look.time)}})
    return steps


def blue_green_of(analysis: Node, time: timedelta, look: Look) -> dict[str, Any]:
    """A preview that is looked at for as long as all iterations take, or until a person promotes it."""
    is_automatic = not look.needs_a_person
    if look.limits:
        gate = {"name": "metrics", "traffic": look.limits | {"window": seconds(time)}}
        return {"auto_promotion_enabled": is_automatic, "pre_promotion": gate}
    if is_automatic:
        return {"auto_promotion_enabled": True, "auto_promotion_after": seconds(time)}
    for key in ("interval", "iterations"):
        analysis[key].refuse("a person promotes, whenever that is")
    return {"auto_promotion_enabled": False}


@dataclass(frozen=True, slots=True)
class Look:
    """What is asked of the new version between two steps."""

    time: timedelta
    limits: dict[str, Any]
    """Limits to errors and latency, as the contract has them."""
    needs_a_person: bool
    """Whether there is a metric that only a person can judge."""


def look_of(metrics: Node, time: timedelta, *, has_router: bool) -> Look:
    """Limits from the two metrics that Flagger has built in; a person judges all others, and where nobody counts."""
    limits, needs_a_person = dict[str, Any](), False
    for metric in metrics:
        bound = METRICS.get(str(metric["name"].value)) if has_router else None
        value = bound_of(metric, bound) if bound and not metric["templateRef"] and not metric["query"] else None
        if value is None:
            metric.refuse(LATER if has_router else NOBODY_COUNTS)
            needs_a_person = True
            continue
        metric["name"].take()
        read_window(metric["interval"], time)
        limits |= (
            {"max_error_percent": round(100 - value, 6)} if bound == "min" else {"max_latency": f"{value / 1000:g}s"}
        )
    return Look(time, limits, needs_a_person)


def read_window(window: Node, time: timedelta) -> None:
    """Over which time a metric is taken; here that is the time between two steps."""
    length = parsed_duration(window.value)
    if length is not None and length <= time:
        window.ignore(COUNTED)
    else:
        window.refuse(f"{COUNTED}, not longer")


def bound_of(metric: Node, bound: str) -> float | None:
    """The limit of a metric; None if there is none of the kind that counts for it."""
    span = metric["thresholdRange"]
    source = span[bound] if span else metric["threshold"]
    if isinstance(source.value, bool) or not isinstance(source.value, (int, float)):
        return None
    if (bound == "min" and not 0 <= source.value <= 100) or (bound == "max" and not 1 <= source.value <= 3_600_000):
        return None
    span["max" if bound == "min" else "min"].refuse("the limit is on the other side")
    return float(source.take())
