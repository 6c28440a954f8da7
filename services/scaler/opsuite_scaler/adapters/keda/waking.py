"""Has a policy looked at as soon as one of its external scalers pushes, rather than at its next tick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from opsuite_kernel.tasks import end
from opsuite_scaler.adapters.keda.push import KedaPush
from opsuite_scaler.application.keda_query import KedaQuery
from opsuite_scaler.application.ports import KEDA_SOURCE
from opsuite_scaler.domain.policy import ScalingPolicy, TargetRef


@dataclass(frozen=True, slots=True)
class Interest:
    """A question to a server."""

    target: TargetRef
    query: str


class PushWaking:
    """Fits `application.ports.Pushes`: a stream for each question of each policy. `close` it at the end."""

    def __init__(self, push: KedaPush, nudge: Callable[[str], None]) -> None:
        """`nudge` is told the policy to look at."""
        self._push = push
        self._nudge = nudge
        self._streams: dict[str, dict[Interest, asyncio.Task[None]]] = {}

    def attend(self, name: str, policy: ScalingPolicy) -> None:
        """Follow what a policy asks now, and nothing else of it any more; repeating is cheap."""
        self._follow_only(name, frozenset(interests(policy)))

    def leave(self, name: str) -> None:
        """Follow nothing of a policy any more."""
        self._follow_only(name, frozenset())

    async def close(self) -> None:
        """Follow nothing any more."""
        streams = [stream for of_policy in self._streams.values() for stream in of_policy.values()]
        self._streams.clear()
        for stream in streams:
            await end(stream)

    def _follow_only(self, name: str, wanted: frozenset[Interest]) -> None:
        if not wanted and name not in self._streams:
            return
        streams = self._streams.setdefault(name, {})
        for interest in streams.keys() - wanted:
            streams.pop(interest).cancel()
        for interest in wanted - streams.keys():
            streams[interest] = asyncio.create_task(self._follow(name, interest), name=f"keda-push-{name}")
        if not streams:
            del self._streams[name]

    async def _follow(self, name: str, interest: Interest) -> None:
        """Nudge at every change of what the server says; it says it again and again."""
        said: bool | None = None
        async for is_active in self._push.follow(interest.target, KedaQuery.of(interest.query)):
            if is_active is not said:
                said = is_active
                self._nudge(name)


def interests(policy: ScalingPolicy) -> Iterator[Interest]:
    """What external scalers are asked for."""
    for metric in policy.metrics:
        if metric.source == KEDA_SOURCE:
            yield Interest(policy.target, metric.query)
