"""Several subjects together: the health of a target, and of a group. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from opsuite_probes.port import Outcome


@dataclass(frozen=True, slots=True)
class Standing:
    """One subject of one check, as far as its health goes."""

    check: str
    """Resource name."""
    target: str
    """What the check is about, in its canonical text."""
    replica: str
    outcome: Outcome
    since: datetime | None
    is_flapping: bool
    owes_answer: bool
    """It had a verdict before somebody acted, and has none since."""
    message: str


def worst(standings: Sequence[Standing]) -> Standing | None:
    """The one that decides: an unhealthy one, else one whose answer is owed, else a healthy one.

    What never came to a verdict (it cannot be asked, say) does not hide what the others know; what had one until
    somebody acted does, since nothing is mended before all who found it broken say so.
    """
    return min(standings, key=_rank, default=None)


def together(standings: Sequence[Standing]) -> tuple[Outcome, datetime | None]:
    """What is known of all of them, and since when: bad since the first of them is, good since the last of them is."""
    deciding = worst(standings)
    if deciding is None or deciding.outcome is Outcome.UNKNOWN:
        return Outcome.UNKNOWN, None
    moments = [one.since for one in standings if one.outcome is deciding.outcome and one.since is not None]
    if not moments:
        return deciding.outcome, None
    return deciding.outcome, (min if deciding.outcome is Outcome.UNHEALTHY else max)(moments)


def by_check(standings: Iterable[Standing]) -> Mapping[str, Outcome]:
    """The outcome of each check."""
    return {name: together(those)[0] for name, those in _grouped(standings, lambda one: one.check).items()}


def by_target(standings: Iterable[Standing]) -> Mapping[str, Outcome]:
    """The outcome of each target, however many checks it has."""
    return {name: together(those)[0] for name, those in _grouped(standings, lambda one: one.target).items()}


def by_replica(standings: Iterable[Standing]) -> Mapping[str, Outcome]:
    """The outcome of each replica."""
    replicas = (one for one in standings if one.replica)
    return {name: together(those)[0] for name, those in _grouped(replicas, lambda one: one.replica).items()}


def _rank(standing: Standing) -> int:
    match standing.outcome:
        case Outcome.UNHEALTHY:
            return 0
        case Outcome.UNKNOWN if standing.owes_answer:
            return 1
        case Outcome.HEALTHY:
            return 2
        case _:
            return 3


def _grouped(standings: Iterable[Standing], key: Callable[[Standing], str]) -> dict[str, list[Standing]]:
    groups: dict[str, list[Standing]] = {}
    for one in standings:
        groups.setdefault(key(one), []).append(one)
    return groups
