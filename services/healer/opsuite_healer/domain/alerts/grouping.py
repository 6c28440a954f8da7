"""When a group of alerts is told, and why: Alertmanager's rules.

A group is looked at for the first time `group_wait` after it came up (at once where its alert is older than that), and
then every `group_interval`. A look tells people when alerts have joined, when some that were told are over, or when
nothing has changed for `repeat_interval`, which is thus rounded up to the next look.

Two things differ from Alertmanager, both for those who asked it for them: only the end of what was told is told
(alertmanager#226), and what still goes on when a silence or an explanation ends is told again (alertmanager#730). Each
look says why it told, or did not (alertmanager#3846).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, IntEnum

from opsuite_healer.domain.alerts.routing import Way


class Told(IntEnum):
    """What people know of a member."""

    NOTHING = 0
    FIRING = 1
    """That it goes on."""
    QUIET = 2
    """That it goes on; since then it was kept quiet."""


class FlushReason(Enum):
    """Why a group is told, or is not."""

    FIRST = "first"
    NEW_ALERTS = "new alerts"
    NO_LONGER_QUIET = "no longer quiet"
    RESOLVED = "resolved"
    REPEATED = "repeated"
    NOTHING_NEW = "nothing new"
    ALL_QUIET = "all quiet"
    NEVER_TOLD = "never told"
    NOBODY_TO_TELL = "nobody to tell"
    """The route has no receivers; once it has some, they hear of it as for the first time."""


@dataclass(frozen=True, slots=True)
class Member:
    """An alert in a group, as a look finds it."""

    fingerprint: str
    is_firing: bool
    is_quiet: bool
    told: Told


@dataclass(frozen=True, slots=True)
class Flush:
    """What a look at a group comes to."""

    is_told: bool
    reason: FlushReason
    next_at: datetime | None
    """When to look again; None: the group is over."""
    firing: tuple[str, ...] = ()
    """What goes on and is not quiet."""
    resolved: tuple[str, ...] = ()
    """What was told and is over."""
    quiet: tuple[str, ...] = ()
    """What goes on and is quiet."""
    now_told: Mapping[str, Told] = field(default_factory=dict, hash=False)
    """Members of which people know something else from now on."""
    gone: tuple[str, ...] = ()
    """Members that are over: they leave the group."""


def first_look(way: Way, starts_at: datetime, created_at: datetime) -> datetime:
    """When a group is looked at first that comes up with an alert: at once, if that is older than the group waits."""
    return created_at if starts_at + way.group_wait < created_at else created_at + way.group_wait


def flush(way: Way, members: Iterable[Member], notified_at: datetime | None, now: datetime) -> Flush:
    """Look at a group. `notified_at`: when it was told last; None: never."""
    members = list(members)
    firing = [one for one in members if one.is_firing and not one.is_quiet]
    quiet = [one for one in members if one.is_firing and one.is_quiet]
    over = [one for one in members if not one.is_firing]
    ended = [one for one in over if one.told is not Told.NOTHING and not one.is_quiet]
    reason = _reason(way, firing, ended, notified_at, now)
    is_told = reason is not None and bool(way.receivers)
    turned = {one.fingerprint: Told.QUIET for one in quiet if one.told is Told.FIRING}
    if is_told:
        turned |= {one.fingerprint: Told.FIRING for one in firing if one.told is not Told.FIRING}
    return Flush(
        is_told=is_told,
        reason=_why_not(firing, quiet, over) if reason is None else reason if is_told else FlushReason.NOBODY_TO_TELL,
        next_at=now + way.group_interval if firing or quiet else None,
        firing=tuple(one.fingerprint for one in firing),
        resolved=tuple(one.fingerprint for one in ended) if way.tells_resolved else (),
        quiet=tuple(one.fingerprint for one in quiet),
        now_told=turned,
        gone=tuple(one.fingerprint for one in over),
    )


def _reason(
    way: Way, firing: list[Member], ended: list[Member], notified_at: datetime | None, now: datetime
) -> FlushReason | None:
    """Why people are told; None: they are not."""
    unknown = {one.told for one in firing} - {Told.FIRING}
    if Told.NOTHING in unknown:
        return FlushReason.FIRST if notified_at is None else FlushReason.NEW_ALERTS
    if Told.QUIET in unknown:
        return FlushReason.NO_LONGER_QUIET
    if ended and way.tells_resolved:
        return FlushReason.RESOLVED
    if firing and notified_at is not None and notified_at + way.repeat_interval <= now:
        return FlushReason.REPEATED
    return None


def _why_not(firing: list[Member], quiet: list[Member], over: list[Member]) -> FlushReason:
    if firing:
        return FlushReason.NOTHING_NEW
    if quiet:
        return FlushReason.ALL_QUIET
    return FlushReason.NEVER_TOLD if all(one.told is Told.NOTHING for one in over) else FlushReason.NOTHING_NEW
