"""Who gets how much of a capacity that several targets share.

In two rounds, each by falling priority: first what everyone needs to be at its floor, then what everyone wants beyond.
What does not do for all of one priority is dealt out one replica each in turn, so that a large claim does not starve a
small one; the last few go by name, so that the same claims always get the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Claim:
    """What one target would have of a pool."""

    name: str
    wanted: int
    """The size it would have were there no pool."""
    floor: int = 0
    """Its minimum."""
    priority: int = 0


def allocate(capacity: int, claims: Iterable[Claim]) -> dict[str, int]:
    """Replicas granted to each claim by name: together at most `capacity`, each at most what it wants."""
    ranked = sorted(claims, key=lambda claim: (-claim.priority, claim.name))
    grants = {claim.name: 0 for claim in ranked}
    left = max(capacity, 0)
    floors = {claim.name: max(claim.floor, 0) for claim in ranked}
    wishes = {claim.name: max(claim.wanted, claim.floor, 0) for claim in ranked}
    for goals in (floors, wishes):
        for _, equals in groupby(ranked, key=lambda claim: claim.priority):
            left = _deal([claim.name for claim in equals], goals, grants, left)
    return grants


def _deal(names: Sequence[str], goals: Mapping[str, int], grants: dict[str, int], left: int) -> int:
    """Raise `grants` of `names` evenly towards `goals`; returns what is left."""
    hungry = sorted(names, key=lambda name: goals[name] - grants[name])
    order = {name: position for position, name in enumerate(names)}
    while hungry and left > 0:
        share = left // len(hungry)
        smallest = goals[hungry[0]] - grants[hungry[0]]
        if smallest <= share:
            grants[hungry[0]] += smallest
            left -= smallest
            hungry.pop(0)
            continue
        for name in hungry:
            grants[name] += share
        left -= share * len(hungry)
        for name in sorted(hungry, key=order.__getitem__)[:left]:
            grants[name] += 1
        return 0
    return left
