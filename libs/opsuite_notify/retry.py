"""When a delivery is tried again: tenacity's strategies, asked about a row instead of a running call.

tenacity's own loop would hold the pause in memory, and a restart would forget it; so the loop is the outbox, and
tenacity decides how long and how often.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tenacity import AsyncRetrying, RetryCallState, stop_after_attempt, wait_exponential_jitter

from opsuite_notify.outbox import AttemptRecord, DeliveryStatus
from opsuite_notify.port import NotNow, Refused, SendResult, Sent


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long and how often; with the defaults tries follow after about 2, 8, 32 and 128 seconds."""

    max_attempts: int = 5
    first_pause: timedelta = timedelta(seconds=2)
    growth: float = 4
    """Each pause is that many times the one before."""
    jitter: timedelta = timedelta(seconds=1)
    """Up to that much is added by chance, so that what failed together does not come back together."""
    longest_pause: timedelta = timedelta(minutes=10)
    """Also the most that a receiver's `Retry-After` is obeyed."""


def after_attempt(result: SendResult, attempts: int, now: datetime, policy: RetryPolicy) -> AttemptRecord:
    """What to record after a try that ended with `result`; `attempts` counts it."""
    match result:
        case Sent():
            return AttemptRecord(DeliveryStatus.SENT, attempts, finished_at=now)
        case Refused(reason):
            return AttemptRecord(DeliveryStatus.FAILED, attempts, reason, finished_at=now)
        case NotNow(reason) if stop_after_attempt(policy.max_attempts)(_state(attempts)):
            return AttemptRecord(DeliveryStatus.FAILED, attempts, f"gave up: {reason}", finished_at=now)
        case NotNow(reason, retry_after):
            pause = max(_pause(attempts, policy), min(retry_after or timedelta(), policy.longest_pause))
            return AttemptRecord(DeliveryStatus.PENDING, attempts, reason, next_attempt_at=now + pause)


def _pause(attempts: int, policy: RetryPolicy) -> timedelta:
    wait = wait_exponential_jitter(
        multiplier=policy.first_pause.total_seconds(),
        exp_base=policy.growth,
        jitter=policy.jitter,
        max=policy.longest_pause,
    )
    return timedelta(seconds=wait(_state(attempts)))


def _state(attempts: int) -> RetryCallState:
    """The state that tenacity would have after that many tries."""
    state = RetryCallState(AsyncRetrying(), fn=None, args=(), kwargs={})
    state.attempt_number = attempts
    return state
