"""Whoever waits for a signal hears it, once it is given or because it was given already."""

from __future__ import annotations

import asyncio

import pytest

from opsuite_runs.signal import Signal


async def test_all_that_wait_hear_it() -> None:
    signal = Signal()
    waiting = [asyncio.ensure_future(signal.wait(0, seconds)) for seconds in (None, 60)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)

    signal.give()

    assert await asyncio.gather(*waiting) == [True, True]


async def test_one_that_was_given_since_the_look_is_heard_at_once() -> None:
    signal = Signal()
    seen = signal.count
    signal.give()

    assert await signal.wait(seen, None)


async def test_waiting_ends_in_time_without_it() -> None:
    assert not await Signal().wait(0, 0.001)


async def test_who_gave_up_keeps_it_from_nobody() -> None:
    signal = Signal()
    gone, here = (asyncio.ensure_future(signal.wait(0, 60)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()

    signal.give()

    assert await here
    with pytest.raises(asyncio.CancelledError):
        await gone
