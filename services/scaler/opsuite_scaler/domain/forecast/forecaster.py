"""What is known of the load to come of one policy: it follows what is needed, and says what size to be ready for.

The rules: nothing before two seasons; the horizon is the measured start-up time and a margin; a forecast that was
worse lately than the naive ones switches itself off, and on again when it is better; and it only raises the floor,
which is up to `decide`. What is foreseen is the number of replicas that are needed, see `demand`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from opsuite_scaler.domain.forecast.errors import Errors, Ledger
from opsuite_scaler.domain.forecast.models import (
    HoltWinters,
    HoltWintersParameters,
    Model,
    Persistence,
    SeasonalNaive,
)
from opsuite_scaler.domain.policy import ForecastSettings
from opsuite_scaler.domain.snapshot import Foreseen

SEASONS_NEEDED: Final = 2
SEASONS_KEPT: Final = 7
FEWEST_MORE: Final = 10
"""Values beyond one season that it takes to tell a trend, where two short seasons are fewer."""
HOLT_WINTERS: Final = "holt_winters"
SEASONAL_NAIVE: Final = "seasonal_naive"
PERSISTENCE: Final = "persistence"
RIVALS: Final[Mapping[str, tuple[str, ...]]] = {
    HOLT_WINTERS: (SEASONAL_NAIVE, PERSISTENCE),
    SEASONAL_NAIVE: (PERSISTENCE,),
}
"""What a model has to beat."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Point:
    """One expected step."""

    at: datetime
    """Its beginning."""
    needed: float
    lift: float = 0.0
    """What the quantile of the errors adds."""

    @property
    def upper(self) -> float:
        """With what the quantile adds."""
        return self.needed + self.lift


class Forecaster:
    """Follows the replicas that are needed, step by step, in the order of time."""

    def __init__(self, settings: ForecastSettings, horizon: timedelta) -> None:
        """The horizon decides how far ahead errors are measured."""
        self.settings = settings
        self.season = max(2, settings.season // settings.step)
        self.values: list[float | None] = []
        """Mean of each whole step, at most seven seasons; None where nothing was seen."""
        self._first = 0
        """Number of the step of `values[0]`, counted from 1970."""
        self._step: int | None = None
        """The step that is under way, with the sum and count of what was seen in it."""
        self._sum, self._count = 0.0, 0
        self._ahead = self._steps_until(horizon)
        self._models: dict[str, Model] = {}
        self._ledger = self._new_ledger()
        self._fitted_at = 0
        self._parameters: HoltWintersParameters | None = None
        self._cached: tuple[tuple[int | None, int], float] | None = None
        self._restart()

    # --- what it is told ---------------------------------------------------------------------------------------------

    def observe(self, at: datetime, needed: float | None) -> bool:
        """Take what is needed at a moment; True when that ended a step, and `values[-1]` is new."""
        step = self._number(at)
        ended = self._step is not None and step > self._step
        if ended:
            self._end_steps(step)
        if self._step is None:
            self._step = self._first = step
        if needed is not None:
            self._sum += needed
            self._count += 1
        return ended

    def remember(self, first: datetime, values: Sequence[float | None]) -> None:
        """Begin with the values of whole steps that were seen before, the first of them at `first`."""
        self.values = []
        self._first = self._number(first)
        self._step = self._first + len(values)
        self._sum, self._count = 0.0, 0
        self._restart()
        for value in values:
            self._follow(value)

    @property
    def fit_due(self) -> bool:
        """Whether Holt-Winters wants parameters: for the first time, or a season after the last."""
        whole = len(self.values) - len(self.values) % self.season
        if self.settings.model != HOLT_WINTERS or whole < max(SEASONS_NEEDED * self.season, self.season + FEWEST_MORE):
            return False
        return self._parameters is None or self._step_number() - self._fitted_at >= self.season

    def fit_values(self) -> list[float]:
        """What to fit to: whole seasons, the latest, with holes filled by what was there a season before."""
        usable = len(self.values) - len(self.values) % self.season
        return _filled(self.values[len(self.values) - usable :], self.season)

    def adopt(self, parameters: HoltWintersParameters) -> None:
        """Follow with these from now on; what is remembered is gone through again with them."""
        self._parameters = parameters
        self._fitted_at = self._step_number()
        fresh = HoltWinters(parameters)
        values = self.fit_values()
        first_time = HOLT_WINTERS not in self._models
        if first_time:
            self._restart()
            self._models[HOLT_WINTERS] = fresh
            known, self.values = self.values, []
            skipped = len(known) - len(values)
            for index, value in enumerate(known):
                self._follow(value, without=HOLT_WINTERS if index < skipped else "")
            return
        for value in values:
            fresh.follow(value)
        self._models[HOLT_WINTERS] = fresh
        self._cached = None

    # --- what it says ------------------------------------------------------------------------------------------------

    def foreseen(self, now: datetime, startup: timedelta) -> Foreseen | None:
        """The size to be ready for when a replica asked for now would serve; None before anything was seen."""
        if not self.values:
            return None
        horizon = startup + self.settings.margin
        note = self._why_not()
        if self.settings.model not in self._models:
            return Foreseen(0, now + horizon, usable=False, note=note)
        replicas = math.ceil(self._most(self._number(now + horizon)) - 1e-9)
        return Foreseen(replicas, now + horizon, usable=not note, note=note or f"expected by {self.settings.model}")

    def points(self, count: int) -> list[Point]:
        """The next steps as they are expected, that which is under way first; none without a model."""
        model = self._models.get(self.settings.model)
        if model is None or self._step is None:
            return []
        lift = self._lift()
        return [Point(self._at(self._step + index), model.ahead(index + 1), lift) for index in range(count)]

    def errors(self) -> Errors:
        """How wrong the model and its rivals were during the last season."""
        return self._ledger.errors()

    def _why_not(self) -> str:
        """Why it must not be used; empty if it may."""
        model = self.settings.model
        if not self._has_history():
            return f"has seen {len(self.values)} of the {SEASONS_NEEDED * self.season} steps of two seasons"
        if model not in self._models:
            return "has no parameters yet"
        errors = self._ledger.errors()
        own, naive = errors.mean_absolute[model], errors.best_of(RIVALS[model])
        if not own <= naive:
            return f"was off by {own:.2f} replicas on average lately, and a naive forecast by {naive:.2f}"
        return ""

    def _most(self, until: int) -> float:
        """The largest expectation from the step under way until another."""
        key = (self._step, until)
        if self._cached is None or self._cached[0] != key:
            model = self._models[self.settings.model]
            count = max(1, until - (self._step or 0) + 1)
            self._cached = (key, max(model.ahead(index) for index in range(1, count + 1)) + self._lift())
        return self._cached[1]

    def _lift(self) -> float:
        if self.settings.quantile is None:
            return 0.0
        return self._ledger.quantile(self.settings.model, self.settings.quantile)

    # --- following ---------------------------------------------------------------------------------------------------

    def _end_steps(self, step: int) -> None:
        """The step under way is over, and so are those in which nothing was seen."""
        assert self._step is not None  # noqa: S101  # asked only when one is under way
        mean = self._sum / self._count if self._count else None
        gap = min(step - self._step - 1, SEASONS_KEPT * self.season)
        for value in [mean, *[None] * gap]:
            self._follow(value)
        self._step, self._sum, self._count = step, 0.0, 0
        self._first = step - len(self.values)

    def _follow(self, value: float | None, without: str = "") -> None:
        self._cached = None
        self._ledger.settle(value)
        followers = {name: model for name, model in self._models.items() if name != without}
        for model in followers.values():
            model.follow(value)
        self._ledger.expect(followers)
        self.values.append(value)
        if len(self.values) > SEASONS_KEPT * self.season:
            del self.values[0]

    def _restart(self) -> None:
        self._models = {SEASONAL_NAIVE: SeasonalNaive(self.season), PERSISTENCE: Persistence()}
        self._ledger = self._new_ledger()
        self._cached = None

    def _new_ledger(self) -> Ledger:
        return Ledger((HOLT_WINTERS, SEASONAL_NAIVE, PERSISTENCE), self._ahead, self.season)

    def _has_history(self) -> bool:
        return len(self.values) >= SEASONS_NEEDED * self.season

    def _steps_until(self, horizon: timedelta) -> int:
        return max(1, -(-horizon // self.settings.step))

    def _step_number(self) -> int:
        return self._step or 0

    def _number(self, at: datetime) -> int:
        return (at - EPOCH) // self.settings.step

    def _at(self, step: int) -> datetime:
        return EPOCH + step * self.settings.step


def _filled(values: Sequence[float | None], season: int) -> list[float]:
    """Holes filled with the value a season before, else with the last one, else 0."""
    found: list[float] = []
    for index, value in enumerate(values):
        before = found[index - season] if index >= season else (found[-1] if found else 0.0)
        found.append(before if value is None else value)
    return found
