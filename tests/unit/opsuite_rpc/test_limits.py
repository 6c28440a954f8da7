"""Token buckets and slots."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from fakes.clock import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from opsuite_kernel.errors import Exhausted
from opsuite_rpc.limits import CallClass, Rate, RateLimiter, Slots, check_rate


def test_a_bucket_gives_its_burst_then_says_how_long_to_wait() -> None:
    limiter = RateLimiter(Rate(per_second=2, burst=3), FakeClock())

    assert [limiter.take("ann") for _ in range(3)] == [None, None, None]
    assert limiter.take("ann") == timedelta(seconds=0.5)


def test_a_bucket_refills_with_time_and_never_beyond_its_burst() -> None:
    clock = FakeClock()
    limiter = RateLimiter(Rate(per_second=2, burst=3), clock)
    for _ in range(4):
        limiter.take("ann")

    clock.advance(timedelta(hours=1))

    assert [limiter.take("ann") is None for _ in range(4)] == [True, True, True, False]


def test_who_waits_as_long_as_told_is_let_in() -> None:
    clock = FakeClock()
    limiter = RateLimiter(Rate(per_second=3, burst=1), clock)
    limiter.take("ann")
    wait = limiter.take("ann")
    assert wait is not None

    clock.advance(wait + timedelta(microseconds=1))

    assert limiter.take("ann") is None


def test_one_caller_does_not_use_up_the_bucket_of_another() -> None:
    limiter = RateLimiter(Rate(per_second=1, burst=1), FakeClock())
    limiter.take("ann")

    assert limiter.take("ann") is not None
    assert limiter.take("bob") is None


def test_the_wall_clock_may_jump() -> None:
    clock = FakeClock()
    limiter = RateLimiter(Rate(per_second=1, burst=1), clock)
    limiter.take("ann")
    clock.jump(timedelta(days=1))

    assert limiter.take("ann") is not None


def test_only_so_many_buckets_are_kept_and_those_in_use_are_among_them() -> None:
    limiter = RateLimiter(Rate(per_second=0.001, burst=1), FakeClock(), kept=2)
    limiter.take("ann")
    for stranger in ("b", "c", "d"):
        limiter.take(stranger)
        assert limiter.take("ann") is not None


@given(st.lists(st.floats(min_value=0, max_value=10), max_size=60))
def test_over_any_time_no_more_is_taken_than_burst_and_refill(pauses: list[float]) -> None:
    clock, rate = FakeClock(), Rate(per_second=2, burst=5)
    limiter = RateLimiter(rate, clock)
    taken = 0
    for pause in pauses:
        clock.advance(timedelta(seconds=pause))
        taken += limiter.take("ann") is None

    assert taken <= rate.burst + rate.per_second * clock.monotonic() + 1e-6


def test_a_refusal_says_who_sends_what_too_fast_and_when_to_come_back() -> None:
    limiter = RateLimiter(Rate(per_second=1, burst=1), FakeClock())
    check_rate(limiter, "ann", CallClass.READ)

    with pytest.raises(Exhausted) as caught:
        check_rate(limiter, "ann", CallClass.READ)

    assert caught.value.metadata == {"principal": "ann", "class": "read"}
    assert caught.value.retry_after == timedelta(seconds=1)


async def test_slots_let_in_their_number_queue_some_and_refuse_the_rest() -> None:
    slots, release, inside = Slots("read", limit=2, waiting=1), asyncio.Event(), 0

    async def hold() -> None:
        nonlocal inside
        async with slots:
            inside += 1
            await release.wait()

    holders = [asyncio.create_task(hold()) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Exhausted) as caught:
        await hold()
    first_inside = inside
    release.set()
    await asyncio.gather(*holders)

    assert (first_inside, inside) == (2, 3)
    assert caught.value.retry_after is not None


async def test_a_caller_who_gives_up_waiting_gives_its_place_up() -> None:
    slots, release = Slots("read", limit=1, waiting=1), asyncio.Event()

    async def hold() -> None:
        async with slots:
            await release.wait()

    holder = asyncio.create_task(hold())
    waiter = asyncio.create_task(hold())
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    again = asyncio.create_task(hold())
    await asyncio.sleep(0)
    release.set()

    await asyncio.gather(holder, again)


async def test_a_slot_comes_back_when_its_holder_fails() -> None:
    slots = Slots("watch", limit=1, waiting=0)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            async with slots:
                raise RuntimeError
