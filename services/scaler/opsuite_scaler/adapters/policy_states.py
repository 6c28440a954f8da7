"""What KEDA clusters are told of policies, and when it may have changed. Fits `external_scaler_api.PolicyStates`."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from opsuite_scaler.adapters.calls import policy_id
from opsuite_scaler.adapters.keda.triggers import PolicyNow
from opsuite_scaler.application.policies import Policies, Standing
from opsuite_scaler.application.records import name_of
from opsuite_scaler.domain.decision import Verdict


class PolicyStates:
    """Policies and what their last looks found."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    async def now(self, name: str) -> PolicyNow:
        """A policy and what its last look found. Raises PolicyNotFound."""
        standing = await self._policies.standing(policy_id(name))
        snapshot = standing.last.snapshot if standing.last else None
        return PolicyNow(
            policy=standing.record.policy,
            desired=desired_in(standing),
            readings=standing.target.readings,
            foreseen=snapshot.forecast if snapshot else None,
        )

    def next_change(self, name: str) -> asyncio.Future[None]:
        """Done when something about the policy may have changed after this call."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[name]
        waiting.add(change)
        change.add_done_callback(waiting.discard)
        return change

    def changed(self, policy: str) -> None:
        """Something about a policy has changed, or was looked at again."""
        self._wake(self._waiting.pop(name_of(policy), set()))

    def all_changed(self) -> None:
        """Another replica has done something, nobody knows what."""
        waiting, self._waiting = self._waiting, defaultdict(set)
        for one in waiting.values():
            self._wake(one)

    def _wake(self, waiting: set[asyncio.Future[None]]) -> None:
        for change in list(waiting):
            if not change.done():
                change.set_result(None)


def desired_in(standing: Standing) -> int | None:
    """Size that a policy wants; what has to wait is not wanted yet. None before the first decision."""
    last = standing.last
    if last is None:
        return None
    decision = last.decision
    return decision.current if decision.verdict is Verdict.WAIT else decision.desired
