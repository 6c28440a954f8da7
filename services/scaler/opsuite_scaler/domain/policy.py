"""What is wanted of a target: its bounds, the metrics that size it, and how fast it may change.

Vocabulary and defaults are those of the HorizontalPodAutoscaler v2 (Kubernetes 1.37); what it lacks is KEDA's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

TOLERANCE: Final = 0.1
"""Share by which a metric may be off its target before anything changes, in either direction."""

DOWN_STABILIZATION: Final = timedelta(seconds=300)
CPU_INITIALIZATION: Final = timedelta(seconds=300)
INITIAL_READINESS_DELAY: Final = timedelta(seconds=30)
TICK: Final = timedelta(seconds=15)


class Direction(Enum):
    """Which way a size changes."""

    UP = "up"
    DOWN = "down"


# --- what is scaled --------------------------------------------------------------------------------------------------


class TargetKind(Enum):
    """Which adapter reads and writes the size of a target."""

    WORKLOAD = "workload"
    """A workload of a platform: supervisord, Docker, or a Deployment that the deployer looks after."""
    KUBERNETES_SCALE = "kubernetes_scale"
    """Anything with a scale sub-resource."""
    DOCKER_SERVICE = "docker_service"
    """A service of a Docker Swarm."""
    EXTERNAL = "external"
    """A gRPC server that speaks `opsuite.scaler.v1.ExternalTargetService`."""


@dataclass(frozen=True, slots=True)
class TargetRef:
    """A thing with a size."""

    kind: TargetKind
    name: str
    """Workload, object or service name."""
    platform: str = ""
    """WORKLOAD: "process", "docker" or "kubernetes"."""
    namespace: str = ""
    api_version: str = ""
    """KUBERNETES_SCALE: "apps/v1"."""
    object_kind: str = ""
    """KUBERNETES_SCALE: "Deployment"."""
    address: str = ""
    """EXTERNAL: host:port."""


# --- metrics ---------------------------------------------------------------------------------------------------------


class MetricKind(Enum):
    """How a metric becomes a number of replicas; after HPA's metric source types."""

    RESOURCE = "resource"
    """CPU or memory of the members, one sample each."""
    PODS = "pods"
    """Any other metric with one sample for each member; readiness is not looked at."""
    OBJECT = "object"
    """One number that describes one thing, such as the requests of an ingress."""
    EXTERNAL = "external"
    """One number from elsewhere, such as the length of a queue."""
    RESPONSE_TIME = "response_time"
    """Latency: not proportional to replicas, so it raises by bounded steps and never lowers by itself."""
    FORMULA = "formula"
    """A CEL expression over the other metrics of the policy by name; what it gives is read as EXTERNAL."""


OF_MEMBERS: Final = (MetricKind.RESOURCE, MetricKind.PODS)
"""They have a sample for each member."""
NEEDS_MEMBERS: Final = (*OF_MEMBERS, MetricKind.RESPONSE_TIME)
"""What they measure is not there when nothing runs."""
SPEAKS_AT_ZERO: Final = (MetricKind.OBJECT, MetricKind.EXTERNAL, MetricKind.FORMULA)
"""They can say that there is work while nothing runs."""


class Resource(Enum):
    """What a RESOURCE metric measures."""

    CPU = "cpu"
    """Millicores."""
    MEMORY = "memory"
    """Bytes."""


class TargetType(Enum):
    """What the wanted value is compared with."""

    UTILIZATION = "utilization"
    """Percent of what the members requested."""
    AVERAGE_VALUE = "average_value"
    """The total divided by the replicas."""
    VALUE = "value"
    """The number as it is."""


@dataclass(frozen=True, slots=True)
class ResponseTimeRules:
    """How latency raises a size; lowering is left to the other metrics, or to utilisation below `guard_percent`."""

    max_step_percent: int = 50
    """Most that one decision adds, of the present size."""
    guard_percent: int = 50
    """CPU utilisation under which latency no longer holds a size up."""


class Quality(Enum):
    """What a policy does when a metric has no usable value."""

    HOLD = "hold"
    """Nothing gets smaller; other metrics may still raise (HPA)."""
    STATIC = "static"
    CURRENT = "current_replicas"
    CURRENT_IF_HIGHER = "current_replicas_if_higher"
    CURRENT_IF_LOWER = "current_replicas_if_lower"
    LAST_VALUE = "last_value"
    """The last good value, for `max_age` at most; then HOLD."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """What stands in for a metric after it failed more than `failure_threshold` ticks in a row (KEDA's fallback)."""

    behavior: Quality = Quality.HOLD
    failure_threshold: int = 3
    replicas: int = 0
    """For the kinds that name a number."""
    max_age: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric and the value that is wanted of it."""

    name: str
    """Unique in its policy; formulas use it."""
    kind: MetricKind
    target_type: TargetType
    target: float
    """Percent for UTILIZATION, else the metric's own unit (millicores, bytes, items, seconds); above 0."""
    resource: Resource | None = None
    """RESOURCE only."""
    container: str = ""
    """RESOURCE: only this container of each member."""
    source: str = ""
    """Name of the metric source that is asked; opaque to the domain."""
    query: str = ""
    """What the source is asked, in its own language; for FORMULA the CEL expression."""
    activation: float = 0.0
    """A target at zero starts only when the value is strictly greater (KEDA)."""
    stale_after: timedelta = timedelta(minutes=2)
    """A sample older than this is none."""
    fallback: Fallback = Fallback()
    confirm_drop: bool = False
    """Jump guard: a fall to 0 within one tick counts only when the next measurement sees it too."""
    response_time: ResponseTimeRules = ResponseTimeRules()
    is_input: bool = False
    """Only an input of formulas: proposes nothing by itself."""


# --- how fast --------------------------------------------------------------------------------------------------------


class RateKind(Enum):
    """Unit of a rate policy."""

    PODS = "pods"
    PERCENT = "percent"


class Select(Enum):
    """Which of several rate policies counts."""

    MAX = "max"
    """The one that allows the largest change."""
    MIN = "min"
    DISABLED = "disabled"
    """No change in this direction at all."""


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """At most so much change within a period."""

    kind: RateKind
    value: int
    period: timedelta
    """Above 0, at most 30 min."""


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """One direction of `behavior`."""

    stabilization: timedelta
    """0 to 1 h."""
    select: Select
    policies: tuple[RatePolicy, ...]
    tolerance: float = TOLERANCE


_QUARTER: Final = timedelta(seconds=15)
SCALE_UP_RULES: Final = ScalingRules(
    timedelta(0), Select.MAX, (RatePolicy(RateKind.PODS, 4, _QUARTER), RatePolicy(RateKind.PERCENT, 100, _QUARTER))
)
SCALE_DOWN_RULES: Final = ScalingRules(DOWN_STABILIZATION, Select.MAX, (RatePolicy(RateKind.PERCENT, 100, _QUARTER),))


@dataclass(frozen=True, slots=True)
class Behavior:
    """How fast a target may grow and shrink."""

    scale_up: ScalingRules = SCALE_UP_RULES
    scale_down: ScalingRules = SCALE_DOWN_RULES


@dataclass(frozen=True, slots=True)
class Cooldown:
    """Rest after a change, a stage of its own after all others; corrections to min and max pass it."""

    after_up: timedelta = timedelta(0)
    """After growing, before growing again."""
    after_down: timedelta = timedelta(0)
    """After any change, before shrinking."""
    to_zero: timedelta = timedelta(seconds=300)
    """How long nothing must have been active before the last replica goes (KEDA's cooldownPeriod)."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Settings of HPA's controller, here for each policy."""

    tick: timedelta = TICK
    cpu_initialization: timedelta = CPU_INITIALIZATION
    initial_readiness_delay: timedelta = INITIAL_READINESS_DELAY


@dataclass(frozen=True, slots=True)
class FlapGuard:
    """Protection that HPA does not have; all of it is off by default."""

    max_reversals_per_hour: int | None = None
    adaptive_dead_band: bool = False
    """Tolerance is at least 1 / (2 x replicas), so that small sizes do not swing."""


# --- bounds ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Overlay:
    """Other bounds for a time that comes again: the highest floor wins, and the lowest ceiling not below it."""

    name: str
    cron: str
    """Five fields; when it begins."""
    duration: timedelta
    zone: str = "UTC"
    min_replicas: int | None = None
    max_replicas: int | None = None


@dataclass(frozen=True, slots=True)
class CostBound:
    """What a target may cost. Money is a plain number in the currency of the operator."""

    price_per_replica_hour: float
    max_per_hour: float | None = None
    budget: float | None = None
    window: timedelta = timedelta(days=30)
    """The budget is for this long, counted back from now."""


class Mode(Enum):
    """What may be done with a decision."""

    ACTIVE = "active"
    DRY_RUN = "dry_run"
    PAUSED = "paused"
    SCALE_UP_ONLY = "scale_up_only"
    SCALE_DOWN_ONLY = "scale_down_only"


@dataclass(frozen=True, slots=True)
class ModeSetting:
    """A mode, who set it, and until when; after that it is ACTIVE."""

    mode: Mode = Mode.ACTIVE
    until: datetime | None = None
    author: str = ""
    reason: str = ""


class ForecastMode(Enum):
    """What a forecast is used for."""

    OFF = "off"
    FORECAST_ONLY = "forecast_only"
    """Made and shown, not acted on."""
    RAISE_FLOOR = "raise_floor"


@dataclass(frozen=True, slots=True)
class ForecastSettings:
    """How the load of a policy is foreseen; needs two seasons of history."""

    mode: ForecastMode = ForecastMode.OFF
    model: str = "holt_winters"
    """"seasonal_naive" or "holt_winters"."""
    season: timedelta = timedelta(days=1)
    step: timedelta = timedelta(minutes=5)
    quantile: float | None = None
    """Of the errors seen, added on top: 0.9 foresees what is not exceeded nine times out of ten."""
    margin: timedelta = timedelta(minutes=1)
    """Added to the measured start-up time: how far ahead is looked."""
    metric: str = ""
    """Name of the metric that is foreseen; empty means the first."""


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """All that is wanted of one target."""

    target: TargetRef
    metrics: tuple[MetricSpec, ...]
    max_replicas: int
    min_replicas: int = 1
    """0 allows scaling to zero."""
    behavior: Behavior | None = None
    """None is HPA without the field: up at most to max(2 x size, 4) in one step, down after 300 s."""
    cooldown: Cooldown = Cooldown()
    timing: Timing = Timing()
    flaps: FlapGuard = FlapGuard()
    overlays: tuple[Overlay, ...] = ()
    cost: CostBound | None = None
    pool: str = ""
    """Name of the capacity pool it shares; empty for none."""
    priority: int = 0
    """Who gets more of a pool that is too small: the higher."""
    mode: ModeSetting = ModeSetting()
    hold_during_rollout: bool = True
    forecast: ForecastSettings = field(default_factory=ForecastSettings)
