"""Whether an action has helped: not that it was carried out, but that the target stays healthy after it.

The target has to be healthy, and its trouble has not to be told again, for `healthy_delay` on end. Until `grace` has
passed it may start up in peace; when another `timeout` has passed without health, the action has not helped. A target
that is healthy by then gets its whole delay.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from opsuite_healer.domain.remediation.policy import Verification


class Proof(Enum):
    """What is known of an action."""

    PENDING = "PENDING"
    PROVED = "PROVED"
    NO_HELP = "NO_HELP"


@dataclass(frozen=True, slots=True)
class Signs:
    """What speaks for and against health, as seen at one moment."""

    is_healthy: bool
    """The checks of the target say so."""
    is_checked: bool
    """Whether anything checks the target; where nothing does, only the end of the trouble counts."""
    healthy_since: datetime | None = None
    """Since when the checks have said so."""
    is_clear: bool = False
    """Whoever found the trouble says that it is over."""
    told_at: datetime | None = None
    """When the trouble was told last."""


def good_since(signs: Signs, done_at: datetime) -> datetime | None:
    """Since when all is well, at the earliest since the action; None while it is not."""
    if not (signs.is_healthy or (signs.is_clear and not signs.is_checked)):
        return None
    since = max(done_at, signs.healthy_since or done_at)
    # A trouble that is not over may still be told again at its finder's pace: silence counts from the last time.
    return since if signs.is_clear or signs.told_at is None else max(since, signs.told_at)


def judge(
    rules: Verification, done_at: datetime, signs: Signs, known_good_since: datetime | None, now: datetime
) -> tuple[Proof, datetime | None]:
    """What is known by now, and since when all has been well.

    `known_good_since` is what the look before said: where checks do not say since when, it counts from the first look.
    """
    since = good_since(signs, done_at)
    if since is not None and signs.healthy_since is None:
        since = max(since, known_good_since or now)
    if since is not None and now - since >= rules.healthy_delay:
        return Proof.PROVED, since
    deadline = done_at + rules.grace + rules.timeout
    if now < deadline or (since is not None and now < deadline + rules.healthy_delay):
        return Proof.PENDING, since
    return Proof.NO_HELP, since
