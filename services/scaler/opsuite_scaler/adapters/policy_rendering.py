"""Policies as messages of the contract, every value spelt out.

Metrics are told in the form that tells all of them: GeneralMetric, but for latency, formulas and KEDA's scalers, which
have their own. `policy_messages.policy_of` reads what is rendered here as the same policy.
"""

from __future__ import annotations

from opsuite.scaler.v1 import policy_pb2 as pb
from opsuite_rpc.values import duration, timestamp
from opsuite_scaler.adapters.policy_names import (
    FALLBACK_NUMBERS,
    FORECASTS,
    GENERAL_NUMBERS,
    MODES,
    POLICIES,
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
    Behavior,
    CostBound,
    ForecastSettings,
    MetricKind,
    MetricSpec,
    ModeSetting,
    Overlay,
    ScalingPolicy,
    ScalingRules,
    TargetRef,
)


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
            behavior=FALLBACK_NUMBERS[spec.fallback.behavior],
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
        kind=GENERAL_NUMBERS[spec.kind],
        target_type=TARGET_TYPES.number(spec.target_type),
        target=spec.target,
        resource=RESOURCES.number(spec.resource) if spec.resource else pb.RESOURCE_UNSPECIFIED,
        container=spec.container,
        source=spec.source,
        query=spec.query,
    )


def _behavior_message(behavior: Behavior) -> pb.Behavior:
    return pb.Behavior(scale_up=_rules_message(behavior.scale_up), scale_down=_rules_message(behavior.scale_down))


def _rules_message(rules: ScalingRules) -> pb.ScalingRules:
    return pb.ScalingRules(
        stabilization_window=duration(rules.stabilization),
        select_policy=SELECTS.number(rules.select),
        policies=[
            pb.RatePolicy(kind=RATES.number(one.kind), value=one.value, period=duration(one.period))
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
        mode=FORECASTS.number(settings.mode),
        model=settings.model,
        season=duration(settings.season),
        step=duration(settings.step),
        quantile=settings.quantile,
        margin=duration(settings.margin),
        metric=settings.metric,
    )
