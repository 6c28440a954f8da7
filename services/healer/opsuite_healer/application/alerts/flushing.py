"""Looks at what is due: groups to tell, alerts and silences that have ended. Each look is one transaction.

What a look comes to, the messages among it, is written together or not at all, and whoever looks holds the routing
until then; so that no two replicas tell the same, and one that dies has told everything or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from opsuite_healer.application.alerts.ports import AlertTx, Group, KnownAlert
from opsuite_healer.application.alerts.quieting import QuietNow
from opsuite_healer.application.alerts.telling import end
from opsuite_healer.application.alerts.writing import Writing
from opsuite_healer.application.unit import Store
from opsuite_healer.domain.alerts.alert import Alert
from opsuite_healer.domain.alerts.grouping import Flush, FlushReason, Member, flush
from opsuite_healer.domain.alerts.routing import Way
from opsuite_healer.domain.alerts.silences import Silence
from opsuite_runs.faults import declare

log = structlog.get_logger(__name__)

FLUSHED: Final = declare("healer.alerts_flushed", "groups are looked at and messages written, nothing is committed")
TOLD: Final = declare("healer.alerts_told", "what a look at groups tells is committed, nobody has sent it")

GROUPS_AT_ONCE: Final = 20
ALERTS_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Looked:
    """What was done."""

    count: int
    """How much was found; a full batch means that there may be more."""
    told: tuple[FlushReason, ...] = ()
    """Why groups were told."""
    next_in: timedelta | None = None
    """How long until there is something to look at again; None: nothing is in sight."""


class Flushing:
    """Looks at what is due."""

    def __init__(self, store: Store[AlertTx], writing: Writing) -> None:
        self._store = store
        self._writing = writing

    async def look(self) -> Looked:
        """Look at everything that is due now. Raises Unavailable; what was done until then stays done."""
        told: list[FlushReason] = []
        count = await self._exhaust(self.end_alerts, ALERTS_AT_ONCE)
        count += (await self._store.write(self.end_silences)).count
        while True:
            looked = await self._store.write(self.flush_groups)
            if looked.told:
                TOLD.hit()
            count += looked.count
            told += looked.told
            if looked.count < GROUPS_AT_ONCE:
                return Looked(count, tuple(told), looked.next_in)

    async def _exhaust(self, body: Callable[[AlertTx], Looked], batch: int) -> int:
        count = 0
        while True:
            found = (await self._store.write(body)).count
            count += found
            if found < batch:
                return count

    def end_alerts(self, tx: AlertTx) -> Looked:
        """See the end of alerts: nobody has told them again, or the end that was told has come."""
        tx.routing(lock=True)
        now = tx.unit.now()
        ended = tx.ended_alerts(now, ALERTS_AT_ONCE)
        tx.put_alerts([KnownAlert(one.alert, is_firing=False) for one in ended])
        for is_timeout, reason in ((True, "nobody has told it again"), (False, "its end has come")):
            end(tx, [one.alert for one in ended if one.alert.is_timeout is is_timeout], reason)
        return Looked(len(ended))

    def end_silences(self, tx: AlertTx) -> Looked:
        """Have groups looked at in which silences kept alerts quiet that have ended."""
        tx.routing(lock=True)
        now = tx.unit.now()
        ended = tx.ended_silences(now)
        if ended:
            tx.hurry([alert.fingerprint for alert in tx.firing() if _is_covered(alert, ended)], now)
            tx.end_is_told([silence.id for silence in ended])
        return Looked(len(ended))

    def flush_groups(self, tx: AlertTx) -> Looked:
        """Look at groups whose time has come, and tell people."""
        record = tx.routing(lock=True)
        now = tx.unit.now()
        groups = tx.due_groups(now, GROUPS_AT_ONCE)
        quiet = QuietNow(tx, record.routing.inhibit_rules, now) if groups else None
        told: list[FlushReason] = []
        for group in groups:
            way = record.router.all.get(group.route)
            if way is None or quiet is None:  # the routing has no such route any more
                tx.drop_groups([group.id])
                continue
            found = self._flush(tx, way, group, quiet, now)
            if found.is_told:
                told.append(found.reason)
        if told:
            FLUSHED.hit()
        due = tx.next_due()
        return Looked(len(groups), tuple(told), None if due is None else due - now)

    def _flush(self, tx: AlertTx, way: Way, group: Group, quiet: QuietNow, now: datetime) -> Flush:
        members = {one.known.alert.fingerprint: one for one in tx.members(group.id)}
        hushed = quiet.of_all({name: one.known.alert.labels for name, one in members.items()})
        looked = [
            Member(name, one.known.is_firing, hushed[name].hides_from_people, one.told) for name, one in members.items()
        ]
        found = flush(way, looked, group.notified_at, now)
        tx.put_told(group.id, found.now_told)
        tx.leave([(group.id, name) for name in found.gone])
        if found.next_at is None:
            tx.drop_groups([group.id])
        else:
            tx.put_groups([_after(group, found, now)])
        if found.is_told:
            alerts = {name: one.known.alert for name, one in members.items()}
            message = self._writing.message(group, found, alerts, now)
            unknown = tx.messages.send(way.receivers, message, about=f"alertGroups/{group.id}")
            if unknown:
                log.warning("receivers_unknown", route=way.id, receivers=list(unknown))
        return found


class Forgetting:
    """Ends silences that nothing matches any more."""

    def __init__(self, store: Store[AlertTx]) -> None:
        self._store = store

    async def look(self) -> None:
        """Look at silences that end by themselves. Raises Unavailable."""
        await self._store.write(forget_silences)


def forget_silences(tx: AlertTx) -> None:
    """Note which silences match something that goes on, and end those that have not for as long as they say."""
    now = tx.unit.now()
    watched = [silence for silence in tx.current_silences(now) if silence.unmatched_for is not None]
    if not watched:
        return
    tx.routing(lock=True)
    unmatched = {silence.id: silence for silence in watched}
    for alert in tx.firing():
        matched = [silence.id for silence in unmatched.values() if silence.covers(alert.labels)]
        for name in matched:
            del unmatched[name]
        if matched:
            tx.has_matched(matched, now)
        if not unmatched:
            return
    for name in unmatched:
        silence = tx.silence(name, lock=True)  # it may have been changed meanwhile
        if silence is not None and silence.is_forgotten(now):
            tx.put_silence(_forgotten(silence, now))


def _forgotten(silence: Silence, now: datetime) -> Silence:
    waited = silence.unmatched_for or timedelta()
    reason = f"nothing has matched it for {waited}"
    return replace(silence, ends_at=now, end_reason=reason, updated_at=now, number=silence.number + 1)


def _is_covered(alert: Alert, silences: Sequence[Silence]) -> bool:
    return any(silence.covers(alert.labels) for silence in silences)


def _after(group: Group, found: Flush, now: datetime) -> Group:
    return replace(
        group,
        next_flush_at=found.next_at or now,
        was_looked_at=True,
        last_reason=found.reason,
        notified_at=now if found.is_told else group.notified_at,
    )
