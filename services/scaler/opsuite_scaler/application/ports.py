"""What scaling needs from the world. Adapters fit these by shape; application code knows nothing else of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from opsuite_scaler.domain.policy import MetricSpec, ScalingPolicy, TargetRef
from opsuite_scaler.domain.snapshot import Foreseen, Member, Reading

PLATFORM_SOURCE: Final = "platform"
"""Source of a RESOURCE metric that names none: what the target's own platform says its members use."""
PUSH_SOURCE: Final = "push"
"""Source of metrics that somebody hands in by PutMetricData; the query is the name under which they are handed in."""
KEDA_SOURCE: Final = "keda"
"""Source of metrics from a gRPC server of KEDA's external scaler contract; the query is a `KedaQuery` as JSON."""


# --- what is scaled --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a target as it stands."""

    spec_replicas: int
    """Size asked for."""
    status_replicas: int
    """Size that there is."""
    members: tuple[Member, ...] = ()
    """The members that belong to the target, by owner and not by likeness of labels; empty where it tells none."""
    version: str = ""
    """Opaque: what the target calls this state of its size; empty where it has no such thing."""


class ScalableTargets(Protocol):
    """Reads and writes sizes, whatever has them.

    Raises, from each: NotFound (no such target), Unavailable (not reachable now), InvalidInput (a kind or platform that
    this server does not know, told at field `target`).
    """

    async def get_scale(self, ref: TargetRef) -> Scale:
        """The size as it is now."""

    async def set_scale(self, ref: TargetRef, replicas: int, *, expected: Scale) -> None:
        """Ask for a size; returns when accepted, not when it is there. Safe to repeat.

        Raises Conflict (SIZE_CHANGED): the target's size, or its version where it has one, is no longer that of
        `expected`; then nothing was changed.
        """


# --- metrics ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """A metric source that policies may name."""

    name: str
    kind: str
    """"platform", "push", "prometheus", "redis", "rabbitmq", "postgresql", "keda"."""
    description: str = ""
    """What its queries look like, for people."""


class MetricSources(Protocol):
    """Asks metric sources. No answer is ever an exception: it is a Reading that says MISSING, ERROR or STALE."""

    async def read(
        self, ref: TargetRef, metrics: Sequence[MetricSpec], members: Sequence[Member], now: datetime
    ) -> Mapping[str, Reading]:
        """What each metric (FORMULA ones left out) says now, by its name.

        RESOURCE and PODS metrics are told by member, under the names of `members`; the others as a total. Called for
        many targets at the same time: what can be asked together may be.
        """

    def known(self) -> Sequence[SourceInfo]:
        """The sources that there are, by name."""

    async def check(self, metrics: Sequence[MetricSpec]) -> Mapping[str, str]:
        """What is wrong with the source or query of each metric, by its name, without asking any source."""


# --- neighbours ------------------------------------------------------------------------------------------------------


class RolloutView(Protocol):
    """Knows whether somebody is rolling a target out."""

    async def is_rolling_out(self, ref: TargetRef) -> bool:
        """Whether a rollout of it is under way. Raises: Unavailable (nobody can tell, so nothing gets smaller)."""


class Foresight(Protocol):
    """Foresees the load of a policy."""

    async def foresee(
        self, name: str, policy: ScalingPolicy, members: Sequence[Member], now: datetime
    ) -> Foreseen | None:
        """What its size must be soon; None when it has no forecast. Never raises, and never waits for a new one."""

    def forget(self, name: str) -> None:
        """The policy is gone: one that gets its name later has nothing to do with it."""


class Pushes(Protocol):
    """Hears from metric sources that speak by themselves, and has the policy looked at that asks them."""

    def attend(self, name: str, policy: ScalingPolicy) -> None:
        """This process looks after the policy, as it is now; repeating is cheap."""

    def leave(self, name: str) -> None:
        """It does not any more."""
