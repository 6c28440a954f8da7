"""What the world says: health of the target and of its neighbours, silences, rollouts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from opsuite_healer.application.health_view import HealthView
from opsuite_healer.application.incident_book import IncidentView
from opsuite_healer.application.quiet import Quiet
from opsuite_healer.application.recent_rollouts import RecentRollouts
from opsuite_healer.domain.remediation.gates import Rollout
from opsuite_healer.domain.remediation.plan import Seen
from opsuite_healer.domain.remediation.policy import FleetRules
from opsuite_healer.domain.remediation.verification import Signs
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import NotFound, OpsuiteError
from opsuite_probes.port import Outcome


class Looking:
    """Asks everybody at once; who cannot answer leaves a gap that the brakes know how to judge."""

    def __init__(self, health: HealthView, quiet: Quiet, rollouts: RecentRollouts, clock: Clock) -> None:
        self._health = health
        self._quiet = quiet
        self._rollouts = rollouts
        self._clock = clock

    async def seen(self, target: TargetRef | None, labels: Mapping[str, str], rules: FleetRules) -> Seen:
        """What brakes decide by."""
        hushed_by = self._hushed_by(labels)
        if target is None:
            return Seen(hushed_by=await hushed_by)
        fleet, flapping, hushed, rollout = await asyncio.gather(
            self._fleet(target, rules), self._is_flapping(target), hushed_by, self._rollout(target)
        )
        return Seen(fleet, flapping, hushed, *rollout)

    async def signs(self, target: TargetRef | None, incident: IncidentView | None) -> Signs:
        """What proofs decide by. Whoever cannot tell of a target that is checked does not say that it is healthy."""
        is_clear = incident is not None and (incident.is_clear or not incident.is_open)
        told_at = incident.last_seen_at if incident else None
        if target is None:
            return Signs(False, False, None, is_clear, told_at)
        try:
            health = await self._health.of(target)
        except OpsuiteError:
            return Signs(False, True, None, is_clear, told_at)
        is_checked = bool(health.checks) or health.outcome is not Outcome.UNKNOWN
        return Signs(health.outcome is Outcome.HEALTHY, is_checked, health.since, is_clear, told_at)

    async def hurry(self, target: TargetRef | None) -> None:
        """Have the checks of a target look now."""
        if target is None:
            return
        try:
            await self._health.look_now(target)
        except OpsuiteError:
            return  # they look at their next turn anyway

    async def _fleet(self, target: TargetRef, rules: FleetRules) -> tuple[int, int, int] | None:
        try:
            if rules.group:
                found = await self._health.of_group(rules.group)
            else:
                found = await self._health.of_replicas(target.whole)
        except NotFound:
            return 0, 0, 0
        except OpsuiteError:
            return None
        return found.healthy, found.unhealthy, found.unknown

    async def _is_flapping(self, target: TargetRef) -> bool:
        try:
            return (await self._health.of(target)).is_flapping
        except OpsuiteError:
            return False  # the fleet gate says that nobody can tell

    async def _hushed_by(self, labels: Mapping[str, str]) -> tuple[str, ...] | None:
        try:
            return (await self._quiet.of(labels, self._clock.now())).actions
        except OpsuiteError:
            return None

    async def _rollout(self, target: TargetRef) -> tuple[Rollout | None, bool]:
        try:
            found = await self._rollouts.last(target)
        except OpsuiteError:
            return None, False
        if found is None:
            return None, True
        return (
            Rollout(
                found.deployment,
                found.version,
                found.previous_version,
                found.started_at,
                found.ended_at,
                found.is_healthy,
            ),
            True,
        )
