"""Rollout steps between contract and domain. Shapes were checked before; the defaults of the contract are filled in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any, TypeVar

from google.protobuf.message import Message

from opsuite.common.v1 import health_check_pb2
from opsuite.deployer.v1 import rollout_pb2 as pb
from opsuite_deployer.domain.pipeline import Check, Rollout, Workload
from opsuite_deployer.domain.routing import (
    STICKY_COOKIE,
    EdgeRouter,
    HttpRouteRouter,
    ReplicaHealth,
    Router,
    ServiceRouter,
    TesterMatch,
    TrafficRouting,
)
from opsuite_deployer.domain.strategy import (
    INT_OR_PERCENT,
    BlueGreen,
    Canary,
    CanaryStep,
    GateStep,
    IntOrPercent,
    Pause,
    Rolling,
    RolloutGate,
    Safety,
    SetReplicas,
    SetWeight,
    Strategy,
    TrafficLimits,
)
from opsuite_platforms.traffic.port import Sticky

T = TypeVar("T", Rolling, BlueGreen, Canary, Safety, TrafficLimits, ReplicaHealth)

CheckOf = Callable[[health_check_pb2.HealthCheck], Check]


def rollout_of(message: pb.RolloutStep, workload: Workload, check_of: CheckOf) -> Rollout:
    """The rollout that a message of correct shape describes."""
    safety = _given(Safety(), message)
    if message.traffic.HasField("drain"):
        safety = replace(safety, drain=message.traffic.drain.ToTimedelta())
    return Rollout(
        workload=workload,
        strategy=_strategy(message, check_of),
        safety=safety,
        traffic=_traffic(message.traffic) if message.HasField("traffic") else None,
        health=_health(message.health) if message.HasField("health") else None,
    )


def _strategy(message: pb.RolloutStep, check_of: CheckOf) -> Strategy:
    match message.WhichOneof("strategy"):
        case "rolling":
            return replace(_given(Rolling(), message.rolling), **_room(message.rolling))
        case "blue_green":
            blue_green = message.blue_green
            return replace(
                _given(BlueGreen(), blue_green),
                pre_promotion=_gate_in(blue_green, "pre_promotion", check_of),
                post_promotion=_gate_in(blue_green, "post_promotion", check_of),
            )
        case _:
            canary = message.canary
            return replace(
                _given(Canary(), canary),
                steps=tuple(_step(step, check_of) for step in canary.steps),
                background=_gate_in(canary, "background", check_of),
                background_from=canary.background_from,
                dynamic_stable_scale=canary.dynamic_stable_scale,
                **_room(canary),
            )


def _room(message: pb.RollingStrategy | pb.CanaryStrategy) -> dict[str, Any]:
    """Surge and unavailable, where they are told and of correct shape."""
    told = {"max_surge": message.max_surge, "max_unavailable": message.max_unavailable}
    return {name: IntOrPercent.parse(text) for name, text in told.items() if INT_OR_PERCENT.fullmatch(text)}


def _step(message: pb.CanaryStep, check_of: CheckOf) -> CanaryStep:
    match message.WhichOneof("kind"):
        case "set_weight":
            return SetWeight(message.set_weight)
        case "set_replicas":
            return SetReplicas(message.set_replicas)
        case "pause":
            return Pause(message.pause.duration.ToTimedelta() if message.pause.HasField("duration") else None)
        case _:
            return GateStep(_gate(message.gate, check_of))


def _gate_in(message: pb.BlueGreenStrategy | pb.CanaryStrategy, field: str, check_of: CheckOf) -> RolloutGate | None:
    return _gate(getattr(message, field), check_of) if message.HasField(field) else None  # type: ignore[arg-type]  # stubs know each field apart


def _gate(message: pb.RolloutGate, check_of: CheckOf) -> RolloutGate:
    return RolloutGate(
        name=message.name or "gate",
        checks=tuple(check_of(check) for check in message.checks),
        traffic=_given(TrafficLimits(), message.traffic) if message.HasField("traffic") else None,
    )


def _traffic(message: pb.TrafficRouting) -> TrafficRouting:
    return TrafficRouting(
        router=_router(message),
        matches=tuple(TesterMatch(match.value, header=match.header, cookie=match.cookie) for match in message.matches),
        sticky=_sticky(message.sticky) if message.HasField("sticky") else None,
        mirror_percent=message.mirror_percent,
    )


def _router(message: pb.TrafficRouting) -> Router:
    match message.WhichOneof("router"):
        case "edge":
            return EdgeRouter(message.edge.listen_port, tuple(message.edge.hosts), message.edge.port)
        case "http_route":
            return HttpRouteRouter(message.http_route.name)
        case _:
            return ServiceRouter(message.service.name)


def _sticky(message: pb.StickySessions) -> Sticky:
    ttl = message.ttl.ToTimedelta() if message.HasField("ttl") else timedelta(days=1)
    return Sticky(message.cookie or STICKY_COOKIE, ttl)


def _health(message: pb.ReplicaHealth) -> ReplicaHealth:
    return replace(_given(ReplicaHealth(), message), path=message.path, port=message.port)


def _given(default: T, message: Message) -> T:
    """`default` with every field that the message has under the same name and tells."""
    told: dict[str, Any] = {}
    for field in fields(default):
        described = message.DESCRIPTOR.fields_by_name.get(field.name)
        if described is None or not described.has_presence or not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if described.message_type is None:
            told[field.name] = value
        elif described.message_type.full_name == "google.protobuf.Duration":
            told[field.name] = value.ToTimedelta()
    return replace(default, **told)
