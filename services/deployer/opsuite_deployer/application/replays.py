"""Calls that are made twice, where what they change is not in the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from opsuite_deployer.application.ports import Store
from opsuite_kernel.errors import Unavailable
from opsuite_runs.port import Replay

T = TypeVar("T")


async def once(
    store: Store, replay: Replay | None, act: Callable[[], Awaitable[T]], again: Callable[[], Awaitable[T]]
) -> T:
    """Return `act()`, or `again()` if the call was made before. Without replay protection every call is a new one.

    A call is remembered when it has been done: one that was cut short is done again when it is repeated, so `act` has
    to bear that. Raises InvalidInput (REQUEST_ID_REUSED).
    """
    if replay is None:
        return await act()
    if await store.read(lambda tx: tx.replayed(replay)) is not None:
        return await again()
    done = await act()
    with suppress(Unavailable):  # the same call was made at the same time, or the database is away: it is done
        await store.write(lambda tx: tx.remember(replay, "", tx.now()))
    return done
