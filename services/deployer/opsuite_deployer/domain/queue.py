"""Who may start: one deployment per (pipeline, environment), a limited number in all, first in first out.

The policy of a pipeline acts when a deployment arrives; what then waits always goes rollbacks first, then by priority,
then in the order of arrival. A deployment that holds its environment's slot keeps it while it is paused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opsuite_deployer.domain.deployment import Deployment, Status
from opsuite_deployer.domain.errors import EnvironmentOccupied
from opsuite_deployer.domain.pipeline import ConcurrencyPolicy
from opsuite_kernel.ids import ALPHABET


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a new deployment does to those that are there already."""

    supersede: tuple[Deployment, ...] = ()
    """Waiting ones that end as SUPERSEDED."""
    cancel: Deployment | None = None
    """The running one, which is cancelled and waited for."""
    take_slot_of: Deployment | None = None
    """One that ended as ROLLBACK_FAILED and bars its environment; a person's deployment lifts the bar."""


def arrive(policy: ConcurrencyPolicy, holder: Deployment | None, waiting: Sequence[Deployment]) -> Arrival:
    """Return what `policy` says for a deployment that finds `holder` in its slot and others waiting.

    Raises EnvironmentOccupied (REJECT), and then nothing has changed.
    """
    barred = holder if holder is not None and holder.status is Status.ROLLBACK_FAILED else None
    running = None if barred else holder
    if policy is ConcurrencyPolicy.REJECT and (running or waiting):
        raise EnvironmentOccupied((running or waiting[0]).name)
    if policy in {ConcurrencyPolicy.REPLACE, ConcurrencyPolicy.CANCEL_RUNNING}:
        superseded = tuple(one for one in waiting if not one.rollback_of)
        cancelled = running if policy is ConcurrencyPolicy.CANCEL_RUNNING else None
        # A rollback is never cut short by what comes after it.
        return Arrival(superseded, None if cancelled and cancelled.rollback_of else cancelled, barred)
    return Arrival(take_slot_of=barred)


def order(waiting: Sequence[Deployment]) -> list[Deployment]:
    """Return waiting deployments in the order in which they go: rollbacks, then by priority, then by arrival (ids)."""
    return sorted(waiting, key=lambda one: (not one.rollback_of, -one.priority, one.id))


def behind(newest: str, wanted: str) -> str:
    """Return the id `wanted`, or the one right after `newest` if `wanted` would not sort behind that.

    Ids tell who came first, also of two that came in one millisecond or when the clock was set back.
    """
    if wanted > newest:
        return wanted
    kept = newest.rstrip(ALPHABET[-1])
    return kept[:-1] + ALPHABET[ALPHABET.index(kept[-1]) + 1] + ALPHABET[0] * (len(newest) - len(kept))
