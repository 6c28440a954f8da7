"""The names of the domain beside those of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from opsuite.scaler.v1 import policy_pb2 as pb
from opsuite_scaler.domain.policy import (
    ForecastMode,
    MetricKind,
    Mode,
    Quality,
    RateKind,
    Resource,
    Select,
    TargetKind,
    TargetType,
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
FALLBACK_NUMBERS: Final = {
    quality: pb.FallbackBehavior.Value(f"FALLBACK_BEHAVIOR_{name}") for quality, name in _QUALITIES.items()
}
FALLBACKS: Final = {0: Quality.HOLD} | {number: quality for quality, number in FALLBACK_NUMBERS.items()}
TARGET_KINDS: Final = Names(TargetKind, pb.TargetKind, "TARGET_KIND", TargetKind.WORKLOAD)
TARGET_TYPES: Final = Names(TargetType, pb.TargetType, "TARGET_TYPE", TargetType.AVERAGE_VALUE)
MODES: Final = Names(Mode, pb.ScalingMode, "SCALING_MODE", Mode.ACTIVE)
SELECTS: Final = Names(Select, pb.SelectPolicy, "SELECT_POLICY", Select.MAX)
RATES: Final = Names(RateKind, pb.RateKind, "RATE_KIND")
RESOURCES: Final = Names(Resource, pb.Resource, "RESOURCE")
FORECASTS: Final = Names(ForecastMode, pb.ForecastMode, "FORECAST_MODE", ForecastMode.OFF)
GENERAL: Final = {
    pb.METRIC_KIND_RESOURCE: MetricKind.RESOURCE,
    pb.METRIC_KIND_PODS: MetricKind.PODS,
    pb.METRIC_KIND_OBJECT: MetricKind.OBJECT,
    pb.METRIC_KIND_EXTERNAL: MetricKind.EXTERNAL,
}
GENERAL_NUMBERS: Final = {kind: number for number, kind in GENERAL.items()}
