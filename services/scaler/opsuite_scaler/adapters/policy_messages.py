"""Policies as messages of the contract, both ways. What a message leaves out gets the domain's defaults.

`policy_of` trusts the shape of its message; the oneofs of the contract become the domain's one form of a metric, and
`message_of` tells that form: GeneralMetric, but for latency, formulas and KEDA's scalers, which have their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from opsuite.scaler.v1 import policy_pb2 as pb
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
    ForecastMode,
    ForecastSettings,
    MetricKind,
    MetricSpec,
    Mode,
    ModeSetting,
    Overlay,
    Quality,
    RateKind,
    RatePolicy,
    Resource,
    ResponseTimeRules,
    ScalingPolicy,
    ScalingRules,
    Select,
    TargetKind,
    TargetRef,
    TargetType,
    Timing,
)

POLICIES: Final = "scalingPolicies/"
POOLS: Final = "capacityPools/"


class Names:
    """The values of an enum of the domain beside those of the contract; the contract's zero stands for `default`."""

    def __init__(self, values: type[Enum], numbers: Any, prefix: str, default: Enum | None = None) -> None:
        self._numbers = {value: numbers.Value(f"{prefix}_{value.name}") for value in values}
        self._values: dict[int, Any] = {number: value for value, number in self._numbers.items()}
        if default is not None:
            self._values.setdefault(0, default)

    def number(self, value: Enum) -> Any:
        """For the contract."""
        return self._numbers[value]

    def value(self, number: int) -> Any:
        """For the domain."""
        return self._values[number]


_QUALITIES: Final[Mapping[Quality, str]] = {
    Quality.HOLD: "HOLD",
    Quality.STATIC: "STATIC",
    Quality.CURRENT: "CURRENT_REPLICAS",
    Quality.CURRENT_IF_HIGHER: "CURRENT_REPLICAS_IF_HIGHER",
    Quality.CURRENT_IF_LOWER: "CURRENT_REPLICAS_IF_LOWER",
    Quality.LAST_VALUE: "LAST_VALUE",
}
_FALLBACK_NUMBERS: Final = {
    quality: pb.FallbackBehavior.Value(f"FALLBACK_BEHAVIOR_{name}") for quality, name in _QUALITIES.items()
}
_FALLBACKS: Final = {0: Quality.HOLD} | {number: quality for quality, number in _FALLBACK_NUMBERS.items()}
TARGET_KINDS: Final = Names(TargetKind, pb.TargetKind, "TARGET_KIND", TargetKind.WORKLOAD)
TARGET_TYPES: Final = Names(TargetType, pb.TargetType, "TARGET_TYPE", TargetType.AVERAGE_VALUE)
MODES: Final = Names(Mode, pb.ScalingMode, "SCALING_MODE", Mode.ACTIVE)
_SELECTS: Final = Names(Select, pb.SelectPolicy, "SELECT_POLICY", Select.MAX)
_RATES: Final = Names(RateKind, pb.RateKind, "RATE_KIND")
_RESOURCES: Final = Names(Resource, pb.Resource, "RESOURCE")
_FORECASTS: Final = Names(ForecastMode, pb.ForecastMode, "FORECAST_MODE", ForecastMode.OFF)
_GENERAL: Final = {
    pb.METRIC_KIND_RESOURCE: MetricKind.RESOURCE,
    pb.METRIC_KIND_PODS: MetricKind.PODS,
    pb.METRIC_KIND_OBJECT: MetricKind.OBJECT,
    pb.METRIC_KIND_EXTERNAL: MetricKind.EXTERNAL,
}
_GENERAL_NUMBERS: Final = {kind: number for number, kind in _GENERAL.items()}


# --- from the contract -----------------------------------------------------------------------------------------------


def policy_of(message: pb.ScalingPolicy) -> ScalingPolicy:
    """The policy that a message of correct shape describes."""
    return ScalingPolicy(
        target=target_of(message.target),
        metrics=tuple(metric_of(one) for one in message.metrics),
        max_replicas=message.max_replicas,
        min_replicas=_given(message, "min_replicas", 1),
        behavior=_behavior_of(message.behavior) if message.HasField("behavior") else None,
        cooldown=_cooldown_of(message.cooldown),
        timing=_timing_of(message.timing),
        flaps=FlapGuard(
            _given(message.flap_guard, "max_reversals_per_hour", None), message.flap_guard.adaptive_dead_band
        ),
        overlays=tuple(_overlay_of(one) for one in message.overlays),
        cost=_cost_of(message.cost) if message.HasField("cost") else None,
        pool=message.pool.removeprefix(POOLS),
        priority=message.priority,
        mode=mode_of(message.mode),
        hold_during_rollout=_given(message, "hold_during_rollout", True),
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
        stale_after=_duration(message, "stale_after", default.stale_after),
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
                    _given(latency, "max_step_percent", rules.max_step_percent),
                    _given(latency, "guard_percent", rules.guard_percent),
                ),
            }
        case "custom":
            return _custom(message.custom)
        case _:
            general = message.general
            return {
                "kind": _GENERAL[general.kind],
                "target_type": TARGET_TYPES.value(general.target_type),
                "target": general.target,
                "resource": _RESOURCES.value(general.resource) if general.resource else None,
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
        behavior=_FALLBACKS[message.behavior],
        failure_threshold=_given(message, "failure_threshold", default.failure_threshold),
        replicas=message.replicas,
        max_age=_duration(message, "max_age", default.max_age),
    )


def _behavior_of(message: pb.Behavior) -> Behavior:
    return Behavior(_rules_of(message.scale_up, SCALE_UP_RULES), _rules_of(message.scale_down, SCALE_DOWN_RULES))


def _rules_of(message: pb.ScalingRules, default: ScalingRules) -> ScalingRules:
    return ScalingRules(
        stabilization=_duration(message, "stabilization_window", default.stabilization),
        select=_SELECTS.value(message.select_policy),
        policies=tuple(
            RatePolicy(_RATES.value(one.kind), one.value, one.period.ToTimedelta()) for one in message.policies
        )
        or default.policies,
        tolerance=_given(message, "tolerance", default.tolerance),
    )


def _cooldown_of(message: pb.Cooldown) -> Cooldown:
    default = Cooldown()
    return Cooldown(
        after_up=_duration(message, "after_up", default.after_up),
        after_down=_duration(message, "after_down", default.after_down),
        to_zero=_duration(message, "to_zero", default.to_zero),
    )


def _timing_of(message: pb.Timing) -> Timing:
    default = Timing()
    return Timing(
        tick=_duration(message, "tick", default.tick),
        cpu_initialization=_duration(message, "cpu_initialization", default.cpu_initialization),
        initial_readiness_delay=_duration(message, "initial_readiness_delay", default.initial_readiness_delay),
    )


def _overlay_of(message: pb.Overlay) -> Overlay:
    return Overlay(
        name=message.name,
        cron=message.cron,
        duration=message.duration.ToTimedelta(),
        zone=message.time_zone or "UTC",
        min_replicas=_given(message, "min_replicas", None),
        max_replicas=_given(message, "max_replicas", None),
    )


def _cost_of(message: pb.CostBound) -> CostBound:
    return CostBound(
        price_per_replica_hour=message.price_per_replica_hour,
        max_per_hour=_given(message, "max_per_hour", None),
        budget=_given(message, "budget", None),
        window=_duration(message, "window", timedelta(days=30)),
    )


def _forecast_of(message: pb.ForecastSettings) -> ForecastSettings:
    default = ForecastSettings()
    return ForecastSettings(
        mode=_FORECASTS.value(message.mode),
        model=message.model or default.model,
        season=_duration(message, "season", default.season),
        step=_duration(message, "step", default.step),
        quantile=_given(message, "quantile", None),
        margin=_duration(message, "margin", default.margin),
        metric=message.metric,
    )


# --- to the contract -------------------------------------------------------------------------------------------------


def message_of(name: str, policy: ScalingPolicy) -> pb.ScalingPolicy:
    """A message that `policy_of` reads as this policy, every value spelt out; `name` is the id alone."""
    return pb.ScalingPolicy(
        name=POLICIES + name,
        target=target_message(policy.target),
        metrics=[metric_message(one) for one in policy.metrics],
        min_replicas=policy.min_replicas,
        max_replicas=policy.max_replicas,
        behavior=_behavior_message(policy.behavior) if policy.behavior else None,
        cooldown=pb.Cooldown(
            after_up=duration(policy.cooldown.after_up),
            after_down=duration(policy.cooldown.after_down),
            to_zero=duration(policy.cooldown.to_zero),
        ),
        timing=pb.Timing(
            tick=duration(policy.timing.tick),
            cpu_initialization=duration(policy.timing.cpu_initialization),
            initial_readiness_delay=duration(policy.timing.initial_readiness_delay),
        ),
        flap_guard=pb.FlapGuard(
            max_reversals_per_hour=policy.flaps.max_reversals_per_hour,
            adaptive_dead_band=policy.flaps.adaptive_dead_band,
        ),
        overlays=[_overlay_message(one) for one in policy.overlays],
        cost=_cost_message(policy.cost) if policy.cost else None,
        pool=POOLS + policy.pool if policy.pool else "",
        priority=policy.priority,
        mode=mode_message(policy.mode),
        hold_during_rollout=policy.hold_during_rollout,
        forecast=_forecast_message(policy.forecast),
    )


def target_message(ref: TargetRef) -> pb.ScaleTargetRef:
    """What is scaled."""
    return pb.ScaleTargetRef(
        kind=TARGET_KINDS.number(ref.kind),
        name=ref.name,
        platform=ref.platform,
        namespace=ref.namespace,
        api_version=ref.api_version,
        object_kind=ref.object_kind,
        address=ref.address,
    )


def metric_message(spec: MetricSpec) -> pb.Metric:
    """One metric in the form that tells all of it."""
    message = pb.Metric(
        name=spec.name,
        activation=spec.activation,
        stale_after=duration(spec.stale_after),
        fallback=pb.Fallback(
            behavior=_FALLBACK_NUMBERS[spec.fallback.behavior],
            failure_threshold=spec.fallback.failure_threshold,
            replicas=spec.fallback.replicas,
            max_age=duration(spec.fallback.max_age),
        ),
        confirm_drop=spec.confirm_drop,
        is_input=spec.is_input,
    )
    if spec.kind is MetricKind.RESPONSE_TIME:
        message.response_time.target_ms = spec.target * 1000
        message.response_time.source, message.response_time.query = spec.source, spec.query
        message.response_time.max_step_percent = spec.response_time.max_step_percent
        message.response_time.guard_percent = spec.response_time.guard_percent
    elif spec.kind is MetricKind.FORMULA:
        message.custom.target = spec.target
        message.custom.target_type = TARGET_TYPES.number(spec.target_type)
        message.custom.cel = spec.query
    elif spec.source == KEDA_SOURCE:
        message.custom.target = spec.target
        message.custom.target_type = TARGET_TYPES.number(spec.target_type)
        message.custom.external_scaler.CopyFrom(_scaler_message(KedaQuery.of(spec.query)))
    else:
        message.general.CopyFrom(_general_message(spec))
    return message


def mode_message(mode: ModeSetting) -> pb.ModeSetting:
    """A mode and until when."""
    return pb.ModeSetting(
        mode=MODES.number(mode.mode), until=timestamp(mode.until), author=mode.author, reason=mode.reason
    )


def _scaler_message(query: KedaQuery) -> pb.ExternalScaler:
    return pb.ExternalScaler(
        address=query.address,
        metric_name=query.metric,
        metadata=query.metadata,
        tls=query.tls,
        object_name=query.object_name,
        namespace=query.namespace,
    )


def _general_message(spec: MetricSpec) -> pb.GeneralMetric:
    return pb.GeneralMetric(
        kind=_GENERAL_NUMBERS[spec.kind],
        target_type=TARGET_TYPES.number(spec.target_type),
        target=spec.target,
        resource=_RESOURCES.number(spec.resource) if spec.resource else pb.RESOURCE_UNSPECIFIED,
        container=spec.container,
        source=spec.source,
        query=spec.query,
    )


def _behavior_message(behavior: Behavior) -> pb.Behavior:
    return pb.Behavior(scale_up=_rules_message(behavior.scale_up), scale_down=_rules_message(behavior.scale_down))


def _rules_message(rules: ScalingRules) -> pb.ScalingRules:
    return pb.ScalingRules(
        stabilization_window=duration(rules.stabilization),
        select_policy=_SELECTS.number(rules.select),
        policies=[
            pb.RatePolicy(kind=_RATES.number(one.kind), value=one.value, period=duration(one.period))
            for one in rules.policies
        ],
        tolerance=rules.tolerance,
    )


def _overlay_message(overlay: Overlay) -> pb.Overlay:
    return pb.Overlay(
        name=overlay.name,
        cron=overlay.cron,
        duration=duration(overlay.duration),
        time_zone=overlay.zone,
        min_replicas=overlay.min_replicas,
        max_replicas=overlay.max_replicas,
    )


def _cost_message(cost: CostBound) -> pb.CostBound:
    return pb.CostBound(
        price_per_replica_hour=cost.price_per_replica_hour,
        max_per_hour=cost.max_per_hour,
        budget=cost.budget,
        window=duration(cost.window),
    )


def _forecast_message(settings: ForecastSettings) -> pb.ForecastSettings:
    return pb.ForecastSettings(
        mode=_FORECASTS.number(settings.mode),
        model=settings.model,
        season=duration(settings.season),
        step=duration(settings.step),
        quantile=settings.quantile,
        margin=duration(settings.margin),
        metric=settings.metric,
    )


# --- values ----------------------------------------------------------------------------------------------------------


def duration(value: timedelta) -> Duration:
    """For the contract."""
    message = Duration()
    message.FromTimedelta(value)
    return message


def timestamp(value: datetime | None) -> Timestamp | None:
    """For the contract."""
    if value is None:
        return None
    message = Timestamp()
    message.FromDatetime(value)
    return message


def time_of(message: Message, field: str) -> datetime | None:
    """A moment in a field; None when it is not set."""
    return getattr(message, field).ToDatetime(tzinfo=UTC) if message.HasField(field) else None


def _duration(message: Message, field: str, default: timedelta) -> timedelta:
    value: timedelta = getattr(message, field).ToTimedelta() if message.HasField(field) else default
    return value


def _given(message: Message, field: str, default: Any) -> Any:
    return getattr(message, field) if message.HasField(field) else default
