"""Whoever waits for a signal hears it, once it is given or because it was given already."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from opsuite_runs.signal import SharedTimers, Signal


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


async def test_waits_that_share_a_timer_end_in_time_and_never_later_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, timers, made = asyncio.get_running_loop(), SharedTimers(), list[float]()
    started, call_at = loop.time(), loop.call_at

    def note(when: float, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        made.append(when)
        return call_at(when, *arguments, **options)

    monkeypatch.setattr(loop, "call_at", note)
    waiting = [Signal().wait(0, 0.05, timers) for _ in range(50)]

    assert not any(await asyncio.gather(*waiting))
    assert len(made) < len(waiting)
    assert all(started + 0.045 < when <= loop.time() for when in made)


async def test_a_wait_that_heard_is_not_ended_by_the_timer_that_others_share() -> None:
    signal, timers = Signal(), SharedTimers()
    hearing = asyncio.ensure_future(signal.wait(0, 0.01, timers))
    left = asyncio.ensure_future(Signal().wait(0, 0.01, timers))
    await asyncio.sleep(0)
    signal.give()

    assert await hearing
    assert not await left
