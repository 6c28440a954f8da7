from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from fakes.clock import NOON

from opsuite_notify.http_post import retry_after_of
from opsuite_notify.outbox import AttemptRecord, DeliveryStatus
from opsuite_notify.port import NotNow, Refused, Sent
from opsuite_notify.retry import RetryPolicy, after_attempt

POLICY = RetryPolicy(jitter=timedelta())


def pause_after(attempts: int, asked_for: timedelta | None = None, policy: RetryPolicy = POLICY) -> timedelta:
    record = after_attempt(NotNow("HTTP 503", asked_for), attempts, NOON, policy)
    assert record.next_attempt_at is not None
    return record.next_attempt_at - NOON


def test_a_sent_delivery_is_finished() -> None:
    assert after_attempt(Sent(), 2, NOON, POLICY) == AttemptRecord(DeliveryStatus.SENT, 2, finished_at=NOON)


def test_a_refused_delivery_is_finished_at_its_first_try() -> None:
    assert after_attempt(Refused("HTTP 400"), 1, NOON, POLICY) == AttemptRecord(
        DeliveryStatus.FAILED, 1, "HTTP 400", finished_at=NOON
    )


def test_pauses_grow() -> None:
    assert [pause_after(attempts).total_seconds() for attempts in (1, 2, 3, 4)] == [2, 8, 32, 128]


def test_pauses_are_spread_by_chance() -> None:
    spread = {pause_after(1, policy=RetryPolicy(jitter=timedelta(seconds=1))) for _ in range(20)}

    assert len(spread) > 1
    assert all(timedelta(seconds=2) <= pause <= timedelta(seconds=3) for pause in spread)


def test_no_pause_is_longer_than_the_longest() -> None:
    assert pause_after(8, policy=RetryPolicy(max_attempts=100, jitter=timedelta())) == timedelta(minutes=10)


def test_the_last_try_gives_up_and_says_why() -> None:
    assert after_attempt(NotNow("HTTP 503"), 5, NOON, POLICY) == AttemptRecord(
        DeliveryStatus.FAILED, 5, "gave up: HTTP 503", finished_at=NOON
    )


def test_a_receiver_that_asks_for_more_time_gets_it_up_to_the_longest_pause() -> None:
    assert pause_after(1, timedelta(minutes=1)) == timedelta(minutes=1)
    assert pause_after(1, timedelta(days=1)) == timedelta(minutes=10)


def test_a_receiver_cannot_ask_for_less_than_the_pause() -> None:
    assert pause_after(2, timedelta(seconds=1)) == timedelta(seconds=8)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120.0), ("0", 0.0), ("Mon, 01 Jun 2026 12:00:30 GMT", 30.0), ("Mon, 01 Jun 2026 11:00:00 GMT", 0.0)],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float) -> None:
    assert retry_after_of(header, datetime(2026, 6, 1, 12, tzinfo=UTC)) == timedelta(seconds=seconds)


@pytest.mark.parametrize("header", [None, "", "soon", "-5", "1.5e", "²", "Mon, 99 Jun 2026 12:00:30 GMT"])
def test_a_retry_after_without_sense_is_ignored(header: str | None) -> None:
    assert retry_after_of(header, NOON) is None


def test_an_absurd_retry_after_is_bounded() -> None:
    assert retry_after_of("9" * 400, NOON) is None
    assert retry_after_of("9" * 30, NOON) == timedelta(days=365)
