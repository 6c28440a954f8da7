"""A decision in the making: what it is made from, the size wanted so far, and the steps that led there.

It lives for one call of `decide` and is the only thing that the stages change.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from opsuite_scaler.domain.bounds import Bounds
from opsuite_scaler.domain.decision import Inputs, MetricMemory, Recommendation, State, Step, Verdict
from opsuite_scaler.domain.expressions import Evaluate
from opsuite_scaler.domain.policy import ScalingPolicy
from opsuite_scaler.domain.snapshot import Snapshot


class Draft:
    """What the stages read and write."""

    def __init__(
        self, policy: ScalingPolicy, snapshot: Snapshot, state: State, bounds: Bounds, formulas: Evaluate | None
    ) -> None:
        self.policy = policy
        self.snapshot = snapshot
        self.state = state
        self.bounds = bounds
        self.formulas = formulas
        self.now: datetime = snapshot.now
        self.current: int = snapshot.spec_replicas
        self.wanted: int = snapshot.spec_replicas
        """The size after the steps so far."""
        self.steps: list[Step] = []
        self.settled: Step | None = None
        """The step that says why the size is what it is."""
        self.verdict: Verdict | None = None
        """Set by what withholds a change; else it follows from the size."""
        self.remaining = timedelta(0)
        self.withheld: int | None = None
        self.has_ended = False
        """Nothing may change any more."""
        self.is_correction = False
        """The size is outside its bounds and goes back, whatever the metrics say."""
        self.is_blind = False
        """Too little is known for a recommendation that may be remembered."""
        self.values: dict[str, float | None] = {}
        """What the metrics said, by name; None: nothing."""
        self.stand_ins: dict[str, int] = {}
        """What fallbacks propose in place of metrics, by name."""
        self.has_failures = False
        """Some metric has no value and nothing stands in for it, so nothing may shrink."""
        self.by_members: int = 0
        """The most that metrics of the members want: they keep a size though nothing else is active."""
        self.memories: Mapping[str, MetricMemory] = state.metrics
        self.recommendations: tuple[Recommendation, ...] = state.recommendations
        self.last_active: datetime | None = state.last_active

    def note(self, rule: str, after: int, reason: str, message: str, inputs: Inputs) -> Step:
        """Add a step that leads to `after`, without saying that it is the reason for the outcome."""
        step = Step(rule, self.wanted, after, reason, message, inputs)
        self.steps.append(step)
        self.wanted = after
        return step

    def apply(self, rule: str, after: int, reason: str, message: str, inputs: Inputs) -> None:
        """Add a step that settles the size at `after`, for now."""
        self.settled = self.note(rule, after, reason, message, inputs)

    def withhold(
        self,
        rule: str,
        reason: str,
        message: str,
        verdict: Verdict,
        remaining: timedelta = timedelta(0),
    ) -> None:
        """Keep the present size though another is wanted."""
        self.withheld = self.wanted
        self.verdict = verdict
        self.remaining = remaining
        self.has_ended = True
        inputs: Inputs = {"remaining_seconds": remaining.total_seconds()} if remaining else {}
        self.apply(rule, self.current, reason, message, inputs)
