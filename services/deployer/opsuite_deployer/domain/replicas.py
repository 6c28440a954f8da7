"""How many replicas of which version: the arithmetic of rollouts.

Surge and unavailable are rounded as Kubernetes does (up and down, never both to 0). Splitting by weight without a
router follows Argo Rollouts: the nearest whole split, one replica of the surge used if that comes closer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from opsuite_deployer.domain.strategy import IntOrPercent


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between what the replicas of all versions together stay."""

    most: int
    """Replicas that may exist, drained ones included."""
    least: int
    """Replicas that must be available."""


def bounds(
    wanted: int, max_surge: IntOrPercent, max_unavailable: IntOrPercent, *, present: int | None = None
) -> Bounds:
    """The bounds for a workload of `wanted` replicas that has `present` ones (None: as many)."""
    surge = max_surge.rounded_up(wanted)
    unavailable = min(max_unavailable.rounded_down(wanted), wanted)
    if surge == 0 and unavailable == 0:
        unavailable = 1  # else nothing could ever move
    before = wanted if present is None else present
    return Bounds(most=max(wanted, before) + surge, least=max(0, min(wanted, before) - unavailable))


@dataclass(frozen=True, slots=True)
class Standing:
    """The replicas of one version."""

    goal: int
    keep: int
    """Those that are to stay for now; the platform keeps the first ones."""
    running: int
    """Those that exist, being drained or stopped or not there yet: at least `keep`."""
    available: tuple[bool, ...]
    """Whether each of the first `keep` can take requests; what does not exist yet may be left out."""
    is_given_up: bool = False
    """Whether nobody expects those that are not available to become so."""

    @property
    def counted_on(self) -> int:
        """Replicas that serve or, of a version that is on its way out, will again."""
        return self.keep if self.keep > self.goal and not self.is_given_up else sum(self.available)


def towards(standings: Sequence[Standing], limits: Bounds, *, growth: int | None = None) -> list[int]:
    """How many replicas of each version to keep next, on the way to its goal.

    New ones fill what room there is (at most `growth`), the first version first; what is still being drained is taken
    back for nothing. Old ones go as far as enough of all versions stay available, where one that is not available
    counts as if it came back, unless its version is given up. Asked again while nothing has changed, it answers the
    same.
    """
    kept = [_taken_back(one) for one in standings]
    room = limits.most - sum(max(one.running, keep) for one, keep in zip(standings, kept, strict=True))
    if growth is not None:
        room = min(room, growth)
    for index, one in enumerate(standings):
        more = max(0, min(room, one.goal - max(kept[index], one.running)))
        kept[index] += more
        room -= more
    spare = sum(sum(one.available) for one in standings) - limits.least
    left = sum(one.counted_on for one in standings) - limits.least
    for index, one in enumerate(standings):
        while kept[index] > one.goal and (spare > 0 or not _is_available(one, kept[index] - 1)):
            is_available = _is_available(one, kept[index] - 1)
            if left <= 0 and not (one.is_given_up and not is_available):
                break
            kept[index] -= 1
            spare -= is_available
            left -= is_available or not one.is_given_up
    return kept


def _taken_back(one: Standing) -> int:
    return min(one.goal, one.running) if one.keep < one.goal and one.running > one.keep else one.keep


def _is_available(one: Standing, index: int) -> bool:
    return index < len(one.available) and one.available[index]


def behind_router(wanted: int, weight: int, max_weight: int = 100) -> int:
    """Replicas of a new version that gets `weight` of the requests: its share rounded up, at least 1 for any."""
    return -(-wanted * weight // max_weight)


def beside(wanted: int, weight: int, max_weight: int = 100) -> int:
    """Replicas of an old version that shrinks as the new one gets `weight`: its share rounded up."""
    return -(-wanted * (max_weight - weight) // max_weight)


@dataclass(frozen=True, slots=True)
class Split:
    """Replicas of both versions."""

    canary: int
    stable: int

    @property
    def total(self) -> int:
        """Replicas of both."""
        return self.canary + self.stable


def split(wanted: int, weight: int, *, surge: int = 0, max_weight: int = 100) -> Split:
    """The whole split that comes closest to `weight` when requests go evenly to all replicas.

    Of two that are equally close the one without surge, then the one with more canaries (half is rounded up). A weight
    above 0 has a canary and one below `max_weight` an old replica, wherever two replicas are possible.
    """
    if wanted == 0:
        return Split(0, 0)
    share = Fraction(weight, max_weight)
    totals = (wanted, wanted + 1) if surge else (wanted,)
    possible = [Split(canary, total - canary) for total in totals for canary in _near(total, share)]
    if 0 < share < 1 and totals[-1] >= 2:
        possible = [one for one in possible if one.canary and one.stable]
    return min(possible, key=lambda one: (abs(Fraction(one.canary, one.total) - share), one.total, -one.canary))


def _near(total: int, share: Fraction) -> set[int]:
    """Numbers of canaries worth looking at: around the share, and the outermost ones that leave both versions one."""
    below = int(total * share)
    return {below, min(below + 1, total), min(1, total), max(total - 1, 0)}
