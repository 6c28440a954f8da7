"""What could have been done by one who knew the whole trace, with the same start-up time and bounds.

The fewest replica-hours without a violation, by dynamic programming over sizes. A replica that is to serve at a tick
has to be asked for a start-up time before, so the size at a tick is at least the largest need until a replica asked
for then would serve. With a price on changes the optimum also holds on to replicas that it will need again.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the optimum is held to."""

    min_replicas: int
    max_replicas: int
    initial_replicas: int
    startup_ticks: int
    """Ticks from asking for a replica until it serves; at least 1: what is decided in a tick counts from the next."""
    change_cost: float = 0.0
    """Price of adding or removing one replica, in replica-ticks."""


def optimum(need: Sequence[int], bounds: Bounds) -> array[int]:
    """Size at each tick that serves `need` wherever the bounds allow it, at the lowest cost there is."""
    floor = _floors(need, bounds)
    if not bounds.change_cost:  # then every tick is its own, and nothing is to be searched
        return array("l", floor)
    sizes = np.arange(max(*floor, bounds.initial_replicas) + 1, dtype=np.float64)  # more is of no use
    slope = sizes * bounds.change_cost
    cost = np.abs(sizes - bounds.initial_replicas) * bounds.change_cost
    choices: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
    for least in floor:
        choices.append(cost)
        up = np.minimum.accumulate(cost - slope) + slope
        down = np.minimum.accumulate((cost + slope)[::-1])[::-1] - slope
        cost = np.minimum(up, down) + sizes
        cost[:least] = np.inf
    return _walked_back(cost, choices, sizes, bounds.change_cost)


def served(sizes: Sequence[int], bounds: Bounds) -> array[int]:
    """Replicas that serve at each tick when these sizes are asked for: the fewest since a start-up time ago."""
    before = [bounds.initial_replicas] * bounds.startup_ticks
    lows = _extremes([-size for size in [*before, *sizes]], bounds.startup_ticks)
    return array("l", (-low for low in lows[bounds.startup_ticks - 1 : -1]))


def _floors(need: Sequence[int], bounds: Bounds) -> list[int]:
    """The largest need of the ticks that a replica asked for at each tick is there for, within the bounds."""
    first = [min(one, bounds.initial_replicas) for one in need[: bounds.startup_ticks]]  # more cannot be there yet
    possible = [*first, *need[bounds.startup_ticks :]]
    clipped = [min(max(one, bounds.min_replicas), bounds.max_replicas) for one in possible]
    return _extremes([bounds.min_replicas, *clipped[:0:-1]], bounds.startup_ticks)[::-1]


def _extremes(values: Sequence[int], window: int) -> list[int]:
    """The largest of each value and those before it, `window` in all."""
    best: deque[int] = deque()
    found = []
    for index, value in enumerate(values):
        while best and values[best[-1]] <= value:
            best.pop()
        best.append(index)
        if best[0] <= index - window:
            best.popleft()
        found.append(values[best[0]])
    return found


def _walked_back(
    last: np.ndarray[tuple[int], np.dtype[np.float64]],
    choices: Sequence[np.ndarray[tuple[int], np.dtype[np.float64]]],
    sizes: np.ndarray[tuple[int], np.dtype[np.float64]],
    change_cost: float,
) -> array[int]:
    """The sizes that led to the cheapest end; of equals the smallest."""
    size = int(np.argmin(last))
    path = array("l", [size])
    for cost in reversed(choices[1:]):
        size = int(np.argmin(cost + np.abs(sizes - size) * change_cost))
        path.append(size)
    path.reverse()
    return path
