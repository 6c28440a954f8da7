"""How wrong forecasts were lately, side by side for several models, judged at the same moments."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from opsuite_scaler.domain.forecast.models import Model


@dataclass(frozen=True, slots=True)
class Errors:
    """What the last forecasts came to."""

    count: int
    """Values they were compared with."""
    mean_absolute: Mapping[str, float]
    """By model."""
    mean_actual: float

    def best_of(self, names: Iterable[str]) -> float:
        """The smallest mean error of these models."""
        return min(self.mean_absolute[name] for name in names)


class Ledger:
    """Keeps what each model expected for a later step, and compares it when that step has come."""

    def __init__(self, models: Iterable[str], ahead: int, window: int) -> None:
        """Compares forecasts made `ahead` steps before, the last `window` of them."""
        self.ahead = ahead
        self._open: deque[Mapping[str, float]] = deque()
        self._misses: dict[str, deque[float]] = {name: deque(maxlen=window) for name in models}
        """Actual less expected."""
        self._actual: deque[float] = deque(maxlen=window)

    def settle(self, value: float | None) -> None:
        """A value has come: whoever expected it is judged. None is judged by nobody."""
        if len(self._open) < self.ahead:
            return
        expected = self._open.popleft()
        if value is None:
            return
        self._actual.append(value)
        for name, misses in self._misses.items():
            if name in expected:
                misses.append(value - expected[name])

    def expect(self, models: Mapping[str, Model]) -> None:
        """Note what models that have just followed the last value expect."""
        self._open.append({name: model.ahead(self.ahead) for name, model in models.items()})

    def errors(self) -> Errors:
        """Mean absolute errors of the window; endless for a model that was never judged."""
        means = {
            name: sum(map(abs, misses)) / len(misses) if misses else float("inf")
            for name, misses in self._misses.items()
        }
        count = len(self._actual)
        return Errors(count, means, sum(self._actual) / count if count else 0.0)

    def quantile(self, name: str, share: float) -> float:
        """What to add to a model's expectations so that this share of them was not exceeded; at least 0."""
        misses = sorted(self._misses[name])
        if not misses:
            return 0.0
        return max(0.0, misses[min(len(misses) - 1, int(share * len(misses)))])
