"""Health as the checks see it, for those who act on it. Fits `application.health_view.HealthView`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from opsuite_healer.application.checks.checks import PART, tell
from opsuite_healer.application.checks.ports import Replicas, Tx
from opsuite_healer.application.checks.records import EventKind
from opsuite_healer.application.health_view import FleetHealth, TargetHealth
from opsuite_healer.application.unit import Store
from opsuite_healer.domain.checks.standing import by_check, by_replica, by_target, together, worst
from opsuite_healer.domain.checks.subject import acted_on
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import NotFound
from opsuite_probes.port import Outcome


class StoredHealth:
    """Answers from what is written down."""

    def __init__(self, store: Store[Tx], replicas: Replicas) -> None:
        self._store = store
        self._replicas = replicas

    async def of(self, target: TargetRef) -> TargetHealth:
        """Health of a target; of a workload as a whole, that of its replicas too."""
        standings = await self._store.read(lambda tx: tx.standings_of(target))
        outcome, since = together(standings)
        deciding = worst(standings)
        return TargetHealth(
            target,
            outcome,
            since,
            is_flapping=any(one.is_flapping for one in standings),
            checks=by_check(standings),
            message=deciding.message if deciding else "nothing checks it",
        )

    async def of_group(self, group: str) -> FleetHealth:
        """Health of the targets of a group, one each, however many checks they have."""
        return fleet(by_target(await self._store.read(lambda tx: tx.standings_in(group))).values())

    async def of_replicas(self, workload: TargetRef) -> FleetHealth:
        """Health of the replicas of a workload: as checks tell it, and as its platform does where no check does."""
        whole = workload.whole
        checked = by_replica(await self._store.read(lambda tx: tx.standings_of(whole)))
        if checked or not whole.platform:
            return fleet(checked.values())
        try:
            return fleet((await self._replicas.of(whole)).values())
        except NotFound:
            return FleetHealth(0, 0, 0)

    async def look_now(self, target: TargetRef) -> None:
        """Let the checks of a target look soon."""

        def body(tx: Tx) -> None:
            for record in tx.checks_of(target):
                tx.nudge(PART, record.spec.id)

        await self._store.write(body)

    async def acted_on(self, target: TargetRef, *, grace: timedelta) -> None:
        """Something was done to the target: its checks count from nothing, and failures within `grace` do not count."""
        await self._store.write(lambda tx: count_from_nothing(tx, target, grace))


def count_from_nothing(tx: Tx, target: TargetRef, grace: timedelta) -> None:
    """Let the checks of a target count from nothing; those who are asking now see it and ask again."""
    until = tx.now() + grace
    for found in tx.checks_of(target):
        record = tx.lock(found.spec.id)
        if record is None:
            continue  # it was deleted a moment ago
        subjects = tx.subjects(record.spec.id).values()
        meant = [one for one in subjects if not target.replica or one.replica == target.replica]
        # What is there is reset one by one; of the whole, what comes in place of it has the same time.
        tx.put(record if target.replica else replace(record, grace_until=until))
        tx.put_subjects(record, [acted_on(one, until) for one in meant])
        tell(tx, record, EventKind.RESET, f"something was done to {target.canonical}")
        tx.nudge(PART, record.spec.id)


def fleet(outcomes: Iterable[Outcome]) -> FleetHealth:
    """How many are what."""
    counted = Counter(outcomes)
    return FleetHealth(counted[Outcome.HEALTHY], counted[Outcome.UNHEALTHY], counted[Outcome.UNKNOWN])
