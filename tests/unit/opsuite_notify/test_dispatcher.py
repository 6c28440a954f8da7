from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from fakes.clock import NOON, FakeClock
from fakes.notify import FakeOutbox, FakeSender, Row

from opsuite_kernel.errors import Unavailable
from opsuite_notify.dispatcher import Dispatcher
from opsuite_notify.outbox import DeliveryStatus, DispatchLimits, deliveries_of
from opsuite_notify.port import Channel, EnvSecret, Message, NotNow, Refused, Sender, SendResult, SlackChannel
from opsuite_notify.retry import RetryPolicy

MESSAGE = Message(event="DONE", title="done", text="", time=NOON, key="deployments/1")
AWAY = Unavailable("the database does not answer")
CHAT = SlackChannel(EnvSecret("CHAT"))


class Bench:
    def __init__(self, receiver: FakeSender, channels: int = 1) -> None:
        self.clock = FakeClock()
        self.outbox = FakeOutbox()
        self.receiver = receiver
        self.sender: Sender = receiver
        self.outbox.add_deliveries(deliveries_of(MESSAGE, {f"chat-{n}": CHAT for n in range(channels)}, NOON), NOON)

    def dispatcher(self, **limits: object) -> Dispatcher:
        return Dispatcher(
            self.outbox,
            self.sender,
            self.clock,
            policy=RetryPolicy(jitter=timedelta()),
            limits=DispatchLimits(**limits),  # type: ignore[arg-type]  # forwarded as given
        )

    @property
    def row(self) -> Row:
        (row,) = self.outbox.rows.values()
        return row


async def test_a_due_delivery_is_sent_once_and_recorded() -> None:
    bench = Bench(sender := FakeSender())

    assert await bench.dispatcher().send_due() == 1
    assert await bench.dispatcher().send_due() == 0

    assert [channel for _, channel, _ in sender.sent] == [CHAT]
    assert bench.row.status is DeliveryStatus.SENT
    assert bench.row.delivery.attempts == 1


async def test_a_failed_try_comes_again_after_its_pause_under_the_same_id() -> None:
    bench = Bench(sender := FakeSender(NotNow("HTTP 500")))
    dispatcher = bench.dispatcher()

    await dispatcher.send_due()
    assert bench.row.last_error == "HTTP 500"
    bench.clock.advance(timedelta(seconds=1.9))
    assert await dispatcher.send_due() == 0
    bench.clock.advance(timedelta(seconds=0.1))
    assert await dispatcher.send_due() == 1

    assert len({delivery_id for delivery_id, _, _ in sender.sent}) == 1
    assert bench.row.status is DeliveryStatus.SENT
    assert bench.row.delivery.attempts == 2


async def test_it_gives_up_after_five_tries_and_keeps_the_reason() -> None:
    bench = Bench(sender := FakeSender(*[NotNow("HTTP 503")] * 10))
    dispatcher = bench.dispatcher()

    for _ in range(10):
        await dispatcher.send_due()
        bench.clock.advance(timedelta(hours=1))

    assert len(sender.sent) == 5
    assert bench.row.status is DeliveryStatus.FAILED
    assert bench.row.last_error == "gave up: HTTP 503"


async def test_a_refusal_is_final() -> None:
    bench = Bench(FakeSender(Refused("HTTP 400")))

    await bench.dispatcher().send_due()

    assert bench.row.status is DeliveryStatus.FAILED
    assert bench.row.finished_at == NOON


async def test_a_broken_sender_costs_a_try_and_no_other_delivery_anything() -> None:
    bench = Bench(FakeSender(RuntimeError("boom")), channels=2)

    await bench.dispatcher().send_due()

    first, second = bench.outbox.rows.values()
    assert first.status is DeliveryStatus.PENDING
    assert first.last_error == "internal error: RuntimeError"
    assert second.status is DeliveryStatus.SENT


async def test_no_more_than_the_limit_are_sent_at_once() -> None:
    bench = Bench(FakeSender(), channels=5)

    assert [await bench.dispatcher(at_once=2).send_due() for _ in range(4)] == [2, 2, 1, 0]


async def test_two_dispatchers_do_not_send_the_same_delivery() -> None:
    bench = Bench(sender := FakeSender(), channels=8)

    await asyncio.gather(*[bench.dispatcher().send_due() for _ in range(4)])

    assert len(sender.sent) == 8


class Stuck:
    """Delivers, and then never gets to say so."""

    def __init__(self, receiver: FakeSender) -> None:
        self.receiver = receiver
        self.delivered = asyncio.Event()

    async def send(self, delivery_id: str, channel: Channel, message: Message) -> SendResult:
        await self.receiver.send(delivery_id, channel, message)
        self.delivered.set()
        await asyncio.Event().wait()
        raise AssertionError("never reached")


async def killed_after_delivery(bench: Bench) -> None:
    bench.sender = stuck = Stuck(bench.receiver)
    dispatching = asyncio.create_task(bench.dispatcher().run())
    await stuck.delivered.wait()
    dispatching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dispatching
    bench.sender = bench.receiver


async def test_a_delivery_whose_dispatcher_died_is_sent_again_under_the_same_id() -> None:
    bench = Bench(FakeSender())
    await killed_after_delivery(bench)

    assert await bench.dispatcher().send_due() == 0, "the claim still stands"
    bench.clock.advance(timedelta(seconds=15))
    assert await bench.dispatcher().send_due() == 1

    assert len(bench.receiver.sent) == 2
    assert len({delivery_id for delivery_id, _, _ in bench.receiver.sent}) == 1
    assert bench.row.status is DeliveryStatus.SENT


async def test_a_dispatcher_that_lives_keeps_what_it_sends_however_long_that_takes() -> None:
    bench = Bench(FakeSender())
    bench.sender = stuck = Stuck(bench.receiver)
    dispatching = asyncio.create_task(bench.dispatcher(claim=timedelta(milliseconds=30)).run())
    await stuck.delivered.wait()
    bench.outbox.held.clear()
    bench.clock.advance(timedelta(milliseconds=20))
    await bench.outbox.held.wait()
    bench.clock.advance(timedelta(milliseconds=20))

    assert await bench.dispatcher().send_due() == 0, "the first claim has run out, but was prolonged"

    dispatching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dispatching


async def test_a_running_dispatcher_sends_what_is_written_later_as_soon_as_it_is_woken() -> None:
    bench = Bench(FakeSender(), channels=0)
    dispatcher = bench.dispatcher(poll=timedelta(hours=1))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(dispatcher.run())
        await asyncio.wait_for(bench.outbox.asked.wait(), timeout=10)
        bench.outbox.add_deliveries(deliveries_of(MESSAGE, {"chat": CHAT}, NOON), NOON)
        dispatcher.wake()
        await asyncio.wait_for(bench.outbox.recorded.wait(), timeout=10)
        running.cancel()

    assert bench.row.status is DeliveryStatus.SENT


@pytest.mark.parametrize("failure", [AWAY, ValueError("unknown kind of channel: pigeon")])
async def test_a_running_dispatcher_survives_an_outbox_that_fails_for_a_while(failure: Exception) -> None:
    bench = Bench(FakeSender())
    bench.outbox.failure = failure
    dispatcher = bench.dispatcher(poll=timedelta(hours=1))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(dispatcher.run())
        await asyncio.wait_for(bench.outbox.asked.wait(), timeout=10)
        bench.outbox.failure = None
        dispatcher.wake()
        await asyncio.wait_for(bench.outbox.recorded.wait(), timeout=10)
        running.cancel()

    assert bench.row.status is DeliveryStatus.SENT


async def test_a_result_that_cannot_be_recorded_is_sent_again_later() -> None:
    class Breaking(FakeSender):
        async def send(self, delivery_id: str, channel: Channel, message: Message) -> SendResult:
            bench.outbox.failure = AWAY
            return await super().send(delivery_id, channel, message)

    bench = Bench(sender := Breaking())
    await bench.dispatcher().send_due()
    bench.outbox.failure = None
    bench.clock.advance(timedelta(seconds=60))
    await bench.dispatcher().send_due()

    assert len({delivery_id for delivery_id, _, _ in sender.sent}) == 1
    assert len(sender.sent) == 2


async def test_an_outbox_that_cannot_be_reached_is_told_to_the_caller_of_one_pass() -> None:
    bench = Bench(FakeSender())
    bench.outbox.failure = AWAY

    with pytest.raises(Unavailable):
        await bench.dispatcher().send_due()
