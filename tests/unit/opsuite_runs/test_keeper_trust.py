"""A lease that could not be renewed is given up by its holder before anybody else may have it."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from fakes.clock import FakeClock

from opsuite_kernel.errors import Unavailable
from opsuite_runs.keeper import LeaseKeeper
from opsuite_runs.port import Lease

LEASE = Lease("run", "me", 1)


class Unreachable:
    """A database that never answers."""

    dialect = "postgresql"

    async def write(self, body: Any) -> Any:
        raise Unavailable("no answer")


def a_keeper(clock: FakeClock, on_lost: Callable[[Lease], None], *, alone: bool = False) -> LeaseKeeper:
    store: Any = Unreachable()
    leases: Any = None
    length = timedelta(milliseconds=150)
    return LeaseKeeper(store, leases, clock, lease=length, on_lost=on_lost, alone=alone)


async def test_what_cannot_be_renewed_is_told_as_lost() -> None:
    clock, lost = FakeClock(), asyncio.Queue[Lease]()
    keeper = a_keeper(clock, lost.put_nowait)
    keeper.hold(LEASE)
    running = asyncio.create_task(keeper.run())
    assert keeper.may_act("run")

    clock.advance(timedelta(milliseconds=101))

    assert await lost.get() == LEASE
    assert not keeper.may_act("run")
    running.cancel()


async def test_a_process_that_nobody_can_take_anything_from_goes_on() -> None:
    clock = FakeClock()
    keeper = a_keeper(clock, lambda _: None, alone=True)
    keeper.hold(LEASE)

    clock.advance(timedelta(days=1))

    assert keeper.may_act("run")
