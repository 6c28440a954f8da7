"""A policy in a simulation: what would have been decided, by the very functions that decide in earnest."""

from __future__ import annotations

from datetime import datetime

from opsuite_scaler.domain.decide import acted, decide
from opsuite_scaler.domain.decision import Decision, State, Verdict
from opsuite_scaler.domain.demand import needed
from opsuite_scaler.domain.expressions import Evaluate
from opsuite_scaler.domain.forecast.forecaster import Forecaster
from opsuite_scaler.domain.forecast.models import Fit
from opsuite_scaler.domain.policy import ForecastMode, MetricSpec, ScalingPolicy
from opsuite_scaler.domain.simulation.plant import Site
from opsuite_scaler.domain.snapshot import Foreseen, Snapshot


class PolicyScaler:
    """Decides as the live loop does, and remembers what that remembers; a dry run is played like any other."""

    def __init__(
        self, name: str, policy: ScalingPolicy, forecast: ForecastSource | None = None, formulas: Evaluate | None = None
    ) -> None:
        self.name = name
        self.tick = policy.timing.tick
        self.specs: tuple[MetricSpec, ...] = policy.metrics
        self._policy = policy
        self._formulas = formulas
        self._forecast = forecast
        self._state = State()
        self._decision: Decision | None = None

    def foreseen(self, now: datetime) -> Foreseen | None:
        """What the forecast says, where the policy has one."""
        return self._forecast.foreseen(now) if self._forecast is not None else None

    def wants(self, snapshot: Snapshot) -> tuple[int, str]:
        """What is decided; a decision that waits is none yet."""
        if self._forecast is not None:
            self._forecast.observe(snapshot)
        outcome = decide(self._policy, snapshot, self._state, self._formulas)
        self._state = outcome.state
        self._decision = decision = outcome.decision
        return (decision.desired if decision.verdict is Verdict.SCALE else snapshot.spec_replicas), decision.reason

    def changed(self, now: datetime) -> None:
        """It counts for rates and cooldowns from now on."""
        assert self._decision is not None  # noqa: S101  # nothing changes before something was decided
        self._state = acted(self._policy, self._state, self._decision, now)


class ForecastSource:
    """A forecaster that fits itself when it is due, which takes a moment: for simulations only."""

    def __init__(self, policy: ScalingPolicy, site: Site, fit: Fit) -> None:
        settings = policy.forecast
        self._startup = site.startup
        self._forecaster = Forecaster(settings, site.startup + settings.margin)
        self._spec = next((one for one in policy.metrics if one.name == settings.metric), policy.metrics[0])
        self._fit = fit

    def observe(self, snapshot: Snapshot) -> None:
        """Follow what is needed now."""
        self._forecaster.observe(snapshot.now, needed(self._spec, snapshot))
        if self._forecaster.fit_due:
            self._forecaster.adopt(self._fit(self._forecaster.fit_values(), self._forecaster.season))

    def foreseen(self, now: datetime) -> Foreseen | None:
        """What the forecaster says."""
        return self._forecaster.foreseen(now, self._startup)


def with_forecast(policy: ScalingPolicy, site: Site, fit: Fit) -> ForecastSource | None:
    """The forecast that a policy asks for; None where it asks for none."""
    wanted = policy.forecast.mode is ForecastMode.RAISE_FLOOR and policy.metrics
    return ForecastSource(policy, site, fit) if wanted else None
