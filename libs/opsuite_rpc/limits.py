"""How much one caller, and all callers together, may ask of a server at once."""

from __future__ import annotations

import asyncio
import enum
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import Exhausted

KEPT_BUCKETS: Final = 10_000
RETRY_WHEN_FULL: Final = timedelta(milliseconds=250)


class CallClass(enum.Enum):
    """Kinds of call that must not crowd out one another."""

    HEALTH = "health"
    HEALTH_WATCH = "health_watch"
    READ = "read"
    WRITE = "write"
    WATCH = "watch"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Rate:
    """What one principal may start: `burst` calls at once, refilled by `per_second`."""

    per_second: float
    burst: int


DEFAULT_RATES: Final[Mapping[CallClass, Rate]] = MappingProxyType(
    {  # health has none: a prober must not be refused because another one is busy
        CallClass.READ: Rate(2_000, 4_000),
        CallClass.WRITE: Rate(500, 1_000),
        CallClass.WATCH: Rate(1_000, 10_000),  # a restart makes every watch of a principal come back at once
        CallClass.ADMIN: Rate(50, 100),
    }
)
DEFAULT_CONCURRENCY: Final[Mapping[CallClass, int]] = MappingProxyType(
    {
        CallClass.HEALTH: 64,
        CallClass.HEALTH_WATCH: 1_000,
        CallClass.READ: 256,
        CallClass.WRITE: 64,
        CallClass.WATCH: 5_000,
        CallClass.ADMIN: 8,
    }
)
LASTING: Final = frozenset({CallClass.WATCH, CallClass.HEALTH_WATCH})
"""Classes whose calls hold a slot for long: it is no use to wait for one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one server."""

    rates: Mapping[CallClass, Rate] = field(default_factory=lambda: DEFAULT_RATES)
    """Per principal and class; a class that is absent has none."""
    concurrency: Mapping[CallClass, int] = field(default_factory=lambda: DEFAULT_CONCURRENCY)
    """Calls of one class in work at the same time, over all principals."""
    waiting_per_slot: int = 4
    """Calls that may wait for each slot before more are refused; those of LASTING classes never wait."""


class RateLimiter:
    """A token bucket per key. Keys not seen for long are forgotten, which only ever gives their caller more."""

    def __init__(self, rate: Rate, clock: Clock | None = None, kept: int = KEPT_BUCKETS) -> None:
        self._rate = rate
        self._clock = clock or SystemClock()
        self._kept = kept
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # key: (tokens, read at)

    def take(self, key: Hashable) -> timedelta | None:
        """Take one token; None when there was one, otherwise how long until there is."""
        now = self._clock.monotonic()
        tokens, since = self._buckets.get(key, (float(self._rate.burst), now))
        tokens = min(self._rate.burst, tokens + (now - since) * self._rate.per_second)
        allowed = tokens >= 1
        self._buckets[key] = (tokens - 1 if allowed else tokens, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._kept:
            self._buckets.popitem(last=False)
        return None if allowed else timedelta(seconds=(1 - tokens) / self._rate.per_second)


class Slots:
    """At most `limit` holders at a time and `waiting` in a queue behind them; `async with` holds one."""

    def __init__(self, name: str, limit: int, waiting: int) -> None:
        self._name = name
        self._free = asyncio.Semaphore(limit)
        self._waiting_allowed = waiting
        self._waiting = 0

    async def __aenter__(self) -> None:
        if not self._free.locked():
            await self._free.acquire()  # does not give up control: a slot is free
            return
        if self._waiting >= self._waiting_allowed:
            raise Exhausted(
                f"the server has as many {self._name} calls as it takes",
                reason="TOO_MANY_CALLS",
                metadata={"class": self._name},
                retry_after=RETRY_WHEN_FULL,
            )
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1

    async def __aexit__(self, *exc_info: object) -> None:
        self._free.release()


def check_rate(limiter: RateLimiter, principal: str, call_class: CallClass) -> None:
    """Raises Exhausted, with the time until the next call is allowed, when `principal` has used up its rate."""
    if (wait := limiter.take(principal)) is not None:
        raise Exhausted(
            f"{principal} sends {call_class.value} calls too fast",
            reason="RATE_LIMITED",
            metadata={"principal": principal, "class": call_class.value},
            retry_after=wait,
        )
