"""Has a policy looked at as soon as one of its external scalers pushes, rather than at its next tick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from opsuite_kernel.tasks import end
from opsuite_scaler.adapters.keda.push import KedaPush
from opsuite_scaler.application.keda_query import KedaQuery
from opsuite_scaler.application.ports import KEDA_SOURCE
from opsuite_scaler.domain.policy import ScalingPolicy, TargetRef


@dataclass(frozen=True, slots=True)
class Interest:
    """A question that a policy has to a server."""

    policy: str
    target: TargetRef
    query: str


class PushWaking:
    """Keeps one stream for each question of the policies that it attends to. `close` it at the end."""

    def __init__(self, push: KedaPush, nudge: Callable[[str], None]) -> None:
        """`nudge` is told the policy to look at."""
        self._push = push
        self._nudge = nudge
        self._streams = dict[Interest, asyncio.Task[None]]()

    async def attend(self, policies: Mapping[str, ScalingPolicy]) -> None:
        """Follow what these policies ask, by name, and nothing else any more; repeating is cheap."""
        wanted = set(interests(policies))
        for interest in [each for each in self._streams if each not in wanted]:
            await end(self._streams.pop(interest))
        for interest in wanted - self._streams.keys():
            self._streams[interest] = asyncio.create_task(self._follow(interest))

    async def close(self) -> None:
        """Follow nothing any more."""
        await self.attend({})

    async def _follow(self, interest: Interest) -> None:
        """Nudge at every change of what the server says; it says it again and again."""
        said: bool | None = None
        async for is_active in self._push.follow(interest.target, KedaQuery.of(interest.query)):
            if is_active is not said:
                said = is_active
                self._nudge(interest.policy)


def interests(policies: Mapping[str, ScalingPolicy]) -> Iterator[Interest]:
    """What external scalers are asked for."""
    for name, policy in policies.items():
        for metric in policy.metrics:
            if metric.source == KEDA_SOURCE:
                yield Interest(name, policy.target, metric.query)
