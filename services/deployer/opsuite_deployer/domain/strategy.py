"""How one version of a workload takes over from another: what can be chosen, with the defaults of the field.

Where Argo Rollouts, Flagger, Kubernetes and Nomad differ, ADR 23 says which default was taken and why. What must be
right about a strategy stands in `rollout_rules.py`, what a rollout makes of it in `rollout.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from opsuite_kernel.errors import InvalidInput, Violation

if TYPE_CHECKING:  # at run time pipeline.py imports this module, since a strategy is part of a step
    from opsuite_deployer.domain.pipeline import Check

SECOND: Final = timedelta(seconds=1)
INT_OR_PERCENT: Final = re.compile(r"([0-9]{1,4})(%?)")


@dataclass(frozen=True, slots=True)
class IntOrPercent:
    """A number of replicas, or a percentage of those wanted."""

    value: int
    is_percent: bool = False

    @classmethod
    def parse(cls, text: str) -> IntOrPercent:
        """Read "2" or "25%". Raises InvalidInput."""
        match = INT_OR_PERCENT.fullmatch(text)
        if match is None:
            raise InvalidInput([Violation("", f'"{text}" is neither a number nor a percentage', "PATTERN")])
        return cls(int(match[1]), bool(match[2]))

    def rounded_up(self, total: int) -> int:
        """What it comes to for `total` replicas; a fraction counts as one more."""
        return -(-self.value * total // 100) if self.is_percent else self.value

    def rounded_down(self, total: int) -> int:
        """What it comes to for `total` replicas; a fraction does not count."""
        return self.value * total // 100 if self.is_percent else self.value

    def __str__(self) -> str:
        return f"{self.value}%" if self.is_percent else str(self.value)


QUARTER: Final = IntOrPercent(25, is_percent=True)


# --- looking at the new version --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrafficLimits:
    """What edges must have counted for the new version during `window`, which begins with the gate."""

    max_error_percent: float = 1.0
    max_latency: timedelta | None = None
    """Within which `quantile` of the requests must be answered; None means that it does not matter."""
    quantile: float = 0.99
    min_requests: int = 10
    """Below which nothing can be said."""
    window: timedelta = 30 * SECOND


@dataclass(frozen=True, slots=True)
class RolloutGate:
    """What must hold of the new version: checks become healthy, and limits are kept."""

    name: str = "gate"
    checks: tuple[Check, ...] = ()
    traffic: TrafficLimits | None = None


# --- strategies ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rolling:
    """Old replicas stop as new ones become available."""

    max_surge: IntOrPercent = QUARTER
    """Replicas above the wanted number, rounded up."""
    max_unavailable: IntOrPercent = QUARTER
    """Replicas that may be missing, rounded down. Not both may be 0."""
    max_parallel: int | None = None
    """New replicas that are not available yet; None means as many as surge and unavailable allow."""
    pause_between_batches: timedelta = timedelta(0)
    """Above 0, new replicas start in batches: the next one this long after all of the last are available."""


@dataclass(frozen=True, slots=True)
class BlueGreen:
    """The new version starts beside the old one, is looked at, gets all requests at once; the old one goes later."""

    auto_promotion_enabled: bool = True
    auto_promotion_after: timedelta = timedelta(0)
    """Time that the preview stands, once the gate before it has passed, until it is promoted by itself."""
    preview_replicas: int | None = None
    """Size of the preview; None means as many as the workload has."""
    pre_promotion: RolloutGate | None = None
    post_promotion: RolloutGate | None = None
    """When it fails, requests go back at once: the old version still runs."""
    scale_down_delay: timedelta = 30 * SECOND
    abort_scale_down_delay: timedelta = 30 * SECOND
    """Time that the new version keeps running after an abort; 0 means that it stays."""


@dataclass(frozen=True, slots=True)
class SetWeight:
    """The new version gets this share of the requests, of `Canary.max_weight`."""

    weight: int


@dataclass(frozen=True, slots=True)
class SetReplicas:
    """The new version has this many replicas from here on, whatever its share is."""

    replicas: int


@dataclass(frozen=True, slots=True)
class Pause:
    """A wait; without a duration until a person promotes it."""

    duration: timedelta | None = None


@dataclass(frozen=True, slots=True)
class GateStep:
    """A look at the new version."""

    gate: RolloutGate


CanaryStep = SetWeight | SetReplicas | Pause | GateStep


@dataclass(frozen=True, slots=True)
class Canary:
    """The new version gets a growing share of the requests; without steps it takes over as `Rolling` does."""

    steps: tuple[CanaryStep, ...] = ()
    background: RolloutGate | None = None
    """Asked again and again until the promotion; when it fails, the rollout is aborted."""
    background_from: int = 0
    """Index of the step from which `background` is asked."""
    max_weight: int = 100
    """The weight that means all requests."""
    dynamic_stable_scale: bool = False
    """Whether the old version shrinks as the new one grows, instead of staying whole until the end."""
    max_surge: IntOrPercent = QUARTER
    """Without a router, as in `Rolling`."""
    max_unavailable: IntOrPercent = QUARTER
    scale_down_delay: timedelta = 30 * SECOND
    """Time that the old version keeps running after the promotion."""
    abort_scale_down_delay: timedelta = 30 * SECOND
    """As in `BlueGreen`."""


Strategy = Rolling | BlueGreen | Canary

STRATEGY_NAMES: Final = {Rolling: "rolling", BlueGreen: "blue_green", Canary: "canary"}
"""The words for strategies, as contract, log and page use them."""


@dataclass(frozen=True, slots=True)
class Safety:
    """What keeps a rollout from going on with something that does not work, whatever the strategy."""

    min_healthy_time: timedelta = 10 * SECOND
    """Time that a replica must be healthy in a row before it counts as available."""
    healthy_deadline: timedelta = 300 * SECOND
    """Time within which a new replica, or one that was lost, must be available."""
    progress_deadline: timedelta = 600 * SECOND
    """Time without any progress after which the rollout is aborted; pauses do not count."""
    max_restarts: int = 3
    """Restarts of one new replica that are put up with."""
    drain: timedelta = 30 * SECOND
    """Time between the moment when no edge sends a replica requests any more and its stop."""


USUAL_SAFETY: Final = Safety()


def steps_of(strategy: Strategy, replicas: int) -> tuple[CanaryStep, ...]:
    """The steps before the promotion. Blue-green is a canary without weight; rolling has none."""
    match strategy:
        case Rolling():
            return ()
        case Canary():
            return strategy.steps
        case BlueGreen():
            preview: list[CanaryStep] = [SetReplicas(strategy.preview_replicas or replicas)]
            if strategy.pre_promotion is not None:
                preview.append(GateStep(strategy.pre_promotion))
            if not strategy.auto_promotion_enabled:
                preview.append(Pause())
            elif strategy.auto_promotion_after:
                preview.append(Pause(strategy.auto_promotion_after))
            return tuple(preview)


def moves_replica_by_replica(strategy: Strategy) -> bool:
    """Whether it is rolling, by name or because there is no step to tell otherwise."""
    return isinstance(strategy, Rolling) or (isinstance(strategy, Canary) and not strategy.steps)


def said(step: CanaryStep, max_weight: int = 100) -> str:
    """A step, for people."""
    match step:
        case SetWeight():
            return f"{100 * step.weight / max_weight:g} % of the requests"
        case SetReplicas():
            return f"{step.replicas} replicas"
        case Pause():
            wait = step.duration.total_seconds() if step.duration is not None else None
            return "wait for a promotion" if wait is None else f"wait for {wait:g} s"
        case GateStep():
            return f"gate {step.gate.name}"
