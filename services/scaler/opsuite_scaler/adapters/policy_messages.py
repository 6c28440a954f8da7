"""Policies from messages of the contract; what a message leaves out gets the domain's defaults.

The shape of the message is trusted. The oneofs of the contract become the domain's one form of a metric.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from opsuite.scaler.v1 import policy_pb2 as pb
from opsuite_rpc.values import duration_of, given, time_of
from opsuite_scaler.adapters.policy_names import (
    FALLBACKS,
    FORECASTS,
    GENERAL,
    MODES,
    POOLS,
    RATES,
    RESOURCES,
    SELECTS,
    TARGET_KINDS,
    TARGET_TYPES,
)
from opsuite_scaler.application.keda_query import KedaQuery
from opsuite_scaler.application.ports import KEDA_SOURCE
from opsuite_scaler.domain.policy import (
    SCALE_DOWN_RULES,
    SCALE_UP_RULES,
    Behavior,
    Cooldown,
    CostBound,
    Fallback,
    FlapGuard,
    ForecastSettings,
    MetricKind,
    MetricSpec,
    ModeSetting,
    Overlay,
    RatePolicy,
    Resource,
    ResponseTimeRules,
    ScalingPolicy,
    ScalingRules,
    TargetKind,
    TargetRef,
    TargetType,
    Timing,
)


def policy_of(message: pb.ScalingPolicy) -> ScalingPolicy:
    """The policy that a message of correct shape describes."""
    return ScalingPolicy(
        target=target_of(message.target),
        metrics=tuple(metric_of(one) for one in message.metrics),
        max_replicas=message.max_replicas,
        min_replicas=given(message, "min_replicas", 1),
        behavior=_behavior_of(message.behavior) if message.HasField("behavior") else None,
        cooldown=_cooldown_of(message.cooldown),
        timing=_timing_of(message.timing),
        flaps=FlapGuard(
            given(message.flap_guard, "max_reversals_per_hour", None), message.flap_guard.adaptive_dead_band
        ),
        overlays=tuple(_overlay_of(one) for one in message.overlays),
        cost=_cost_of(message.cost) if message.HasField("cost") else None,
        pool=message.pool.removeprefix(POOLS),
        priority=message.priority,
        mode=mode_of(message.mode),
        hold_during_rollout=given(message, "hold_during_rollout", True),
        forecast=_forecast_of(message.forecast),
    )


def target_of(message: pb.ScaleTargetRef) -> TargetRef:
    """What is scaled, with the names that it gets where the message gives none."""
    kind: TargetKind = TARGET_KINDS.value(message.kind)
    is_scale = kind is TargetKind.KUBERNETES_SCALE
    return TargetRef(
        kind=kind,
        name=message.name,
        platform=message.platform or ("process" if kind is TargetKind.WORKLOAD else ""),
        namespace=message.namespace,
        api_version=message.api_version or ("apps/v1" if is_scale else ""),
        object_kind=message.object_kind or ("Deployment" if is_scale else ""),
        address=message.address,
    )


def metric_of(message: pb.Metric) -> MetricSpec:
    """One metric, whichever of its forms it is told in."""
    default = MetricSpec("", MetricKind.EXTERNAL, TargetType.VALUE, 1)
    return MetricSpec(
        name=message.name,
        activation=message.activation,
        stale_after=duration_of(message, "stale_after", default.stale_after),
        fallback=_fallback_of(message.fallback) if message.HasField("fallback") else default.fallback,
        confirm_drop=message.confirm_drop,
        is_input=message.is_input,
        **_measured(message),
    )


def mode_of(message: pb.ModeSetting) -> ModeSetting:
    """A mode and until when."""
    return ModeSetting(MODES.value(message.mode), time_of(message, "until"), message.author, message.reason)


def _measured(message: pb.Metric) -> dict[str, Any]:
    """What the form of a metric tells: kind, target, and whom to ask."""
    match message.WhichOneof("kind"):
        case "target_cpu":
            return _utilisation(Resource.CPU, message.target_cpu)
        case "target_memory":
            return _utilisation(Resource.MEMORY, message.target_memory)
        case "queue_length":
            queue = message.queue_length
            kind = TargetType.VALUE if queue.total else TargetType.AVERAGE_VALUE
            return _external(kind, queue.max_items, queue.source, queue.query)
        case "response_time":
            latency = message.response_time
            rules = ResponseTimeRules()
            return {
                **_external(TargetType.VALUE, latency.target_ms / 1000, latency.source, latency.query),
                "kind": MetricKind.RESPONSE_TIME,
                "response_time": ResponseTimeRules(
                    given(latency, "max_step_percent", rules.max_step_percent),
                    given(latency, "guard_percent", rules.guard_percent),
                ),
            }
        case "custom":
            return _custom(message.custom)
        case _:
            general = message.general
            return {
                "kind": GENERAL[general.kind],
                "target_type": TARGET_TYPES.value(general.target_type),
                "target": general.target,
                "resource": RESOURCES.value(general.resource) if general.resource else None,
                "container": general.container,
                "source": general.source,
                "query": general.query,
            }


def _utilisation(resource: Resource, message: pb.TargetCpu | pb.TargetMemory) -> dict[str, Any]:
    return {
        "kind": MetricKind.RESOURCE,
        "target_type": TargetType.UTILIZATION,
        "target": float(message.target_percent),
        "resource": resource,
        "container": message.container,
    }


def _external(kind: TargetType, target: float, source: str, query: str) -> dict[str, Any]:
    return {
        "kind": MetricKind.EXTERNAL,
        "target_type": kind,
        "target": target,
        "source": source,
        "query": query,
    }


def _custom(message: pb.Custom) -> dict[str, Any]:
    kind: TargetType = TARGET_TYPES.value(message.target_type)
    match message.WhichOneof("evaluator"):
        case "cel":
            return {**_external(kind, message.target, "", message.cel), "kind": MetricKind.FORMULA}
        case "external_scaler":
            scaler = message.external_scaler
            query = KedaQuery(
                address=scaler.address,
                metric=scaler.metric_name,
                metadata=dict(scaler.metadata),
                tls=scaler.tls,
                object_name=scaler.object_name,
                namespace=scaler.namespace,
            )
            return _external(kind, message.target, KEDA_SOURCE, query.as_text())
        case _:
            return _external(kind, message.target, message.source.source, message.source.query)


def _fallback_of(message: pb.Fallback) -> Fallback:
    default = Fallback()
    return Fallback(
        behavior=FALLBACKS[message.behavior],
        failure_threshold=given(message, "failure_threshold", default.failure_threshold),
        replicas=message.replicas,
        max_age=duration_of(message, "max_age", default.max_age),
    )


def _behavior_of(message: pb.Behavior) -> Behavior:
    return Behavior(_rules_of(message.scale_up, SCALE_UP_RULES), _rules_of(message.scale_down, SCALE_DOWN_RULES))


def _rules_of(message: pb.ScalingRules, default: ScalingRules) -> ScalingRules:
    return ScalingRules(
        stabilization=duration_of(message, "stabilization_window", default.stabilization),
        select=SELECTS.value(message.select_policy),
        policies=tuple(
            RatePolicy(RATES.value(one.kind), one.value, one.period.ToTimedelta()) for one in message.policies
        )
        or default.policies,
        tolerance=given(message, "tolerance", default.tolerance),
    )


def _cooldown_of(message: pb.Cooldown) -> Cooldown:
    default = Cooldown()
    return Cooldown(
        after_up=duration_of(message, "after_up", default.after_up),
        after_down=duration_of(message, "after_down", default.after_down),
        to_zero=duration_of(message, "to_zero", default.to_zero),
    )


def _timing_of(message: pb.Timing) -> Timing:
    default = Timing()
    return Timing(
        tick=duration_of(message, "tick", default.tick),
        cpu_initialization=duration_of(message, "cpu_initialization", default.cpu_initialization),
        initial_readiness_delay=duration_of(message, "initial_readiness_delay", default.initial_readiness_delay),
    )


def _overlay_of(message: pb.Overlay) -> Overlay:
    return Overlay(
        name=message.name,
        cron=message.cron,
        duration=message.duration.ToTimedelta(),
        zone=message.time_zone or "UTC",
        min_replicas=given(message, "min_replicas", None),
        max_replicas=given(message, "max_replicas", None),
    )


def _cost_of(message: pb.CostBound) -> CostBound:
    return CostBound(
        price_per_replica_hour=message.price_per_replica_hour,
        max_per_hour=given(message, "max_per_hour", None),
        budget=given(message, "budget", None),
        window=duration_of(message, "window", timedelta(days=30)),
    )


def _forecast_of(message: pb.ForecastSettings) -> ForecastSettings:
    default = ForecastSettings()
    return ForecastSettings(
        mode=FORECASTS.value(message.mode),
        model=message.model or default.model,
        season=duration_of(message, "season", default.season),
        step=duration_of(message, "step", default.step),
        quantile=given(message, "quantile", None),
        margin=duration_of(message, "margin", default.margin),
        metric=message.metric,
    )
