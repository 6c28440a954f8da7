"""Does what is due about an incident: tells its levels, resolves it when its trouble has gone, ends what has expired.

One attendant looks after each open incident. Whatever it decides is decided again inside the transaction that writes
it, on the incident as it is then, and fenced by the lease: two healers never tell the same level twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from opsuite_healer.application.incidents.book import Book
from opsuite_healer.application.incidents.ports import Tx, Watcher
from opsuite_healer.application.incidents.telling import Wording
from opsuite_healer.application.quiet import Quiet
from opsuite_healer.application.unit import Store
from opsuite_healer.domain.incidents import passing
from opsuite_healer.domain.incidents.changes import Changed
from opsuite_healer.domain.incidents.due import Due, Exhaust, Tell, TellNobody, Wait, due
from opsuite_healer.domain.incidents.escalation import policy_for
from opsuite_healer.domain.incidents.incident import Incident
from opsuite_kernel.errors import OpsuiteError
from opsuite_runs.port import Lease
from opsuite_runs.signal import Signal

log = structlog.get_logger(__name__)

HUSH_AGAIN: Final = timedelta(minutes=1)
"""How often it is asked whether people may be told by now."""
LONGEST_WAIT: Final = timedelta(minutes=5)
"""A look at the clock of the database is due at least that often."""


@dataclass(frozen=True, slots=True)
class Sight:
    """An incident, and what is due about it."""

    incident: Incident
    due: Due
    at: datetime
    wait: timedelta
    """Until something may be due."""


class Escalating:
    """Attends to incidents."""

    def __init__(
        self,
        store: Store[Tx],
        quiet: Callable[[], Quiet],
        wording: Wording,
        watcher: Watcher,
        is_draining: Callable[[], bool],
    ) -> None:
        self._store = store
        self._quiet = quiet
        self._wording = wording
        self._watcher = watcher
        self._is_draining = is_draining

    async def attend(self, lease: Lease, signal: Signal) -> None:
        """Until the incident is resolved. Raises FencedOut, Unavailable."""
        while not self._is_draining():
            seen = signal.count
            sight = await self._store.read(lambda tx: look(tx, lease))
            if not sight.incident.is_open:
                return
            if isinstance(sight.due, Wait):
                await signal.wait(seen, sight.wait.total_seconds())
            else:
                await self._act(lease, sight)

    async def _act(self, lease: Lease, sight: Sight) -> None:
        hush = await self._hush(sight) if needs_quiet(sight.due) else None
        with self._watcher.acting(sight.incident, type(sight.due).__name__):
            await self._store.write(lambda tx: act(tx, lease, hush, self._wording))

    async def _hush(self, sight: Sight) -> Sequence[str]:
        """What keeps people from being told; where nobody can say, nothing does."""
        incident = sight.incident
        try:
            return (await self._quiet().of(incident.labels, sight.at)).notifications
        except OpsuiteError as error:
            log.warning("quiet_unknown", incident=incident.name, why=error.message)
            return ()


def needs_quiet(found: Due) -> bool:
    """Whether it has to be known if people want to be left alone."""
    return isinstance(found, Tell | TellNobody | Exhaust)


# --- bodies of transactions ------------------------------------------------------------------------------------------


def look(tx: Tx, lease: Lease) -> Sight:
    """What is due about an incident. Raises FencedOut."""
    incident, now = tx.mine(lease), tx.now()
    found = due(incident, now)
    until = found.until if isinstance(found, Wait) else now
    wait = LONGEST_WAIT if until is None else min(until - now, LONGEST_WAIT)
    return Sight(incident, found, now, max(wait, timedelta()))


def act(tx: Tx, lease: Lease, hush: Sequence[str] | None, wording: Wording) -> None:
    """Do what is due; nothing, where that is something else by now that has to be asked about. Raises FencedOut."""
    incident, now = tx.lock_mine(lease), tx.now()
    found = due(incident, now)
    if needs_quiet(found) and hush is None:
        return
    if hush and needs_quiet(found):
        changed = passing.hushed(incident, hush, HUSH_AGAIN, now)
    else:
        changed = _done(tx, incident, found, wording)
    Book(tx, wording).keep(changed)


def _done(tx: Tx, incident: Incident, found: Due, wording: Wording) -> Changed:
    match found:
        case Tell():
            return _tell(tx, incident, found, wording)
        case TellNobody():
            return _tell_nobody(tx, incident)
        case Exhaust():
            _tell_everybody(tx, incident, wording)
    return passing.passed(incident, found, tx.now())


def _tell(tx: Tx, incident: Incident, turn: Tell, wording: Wording) -> Changed:
    now = tx.now()
    since = incident.opened_at.isoformat(timespec="seconds")
    text = f"{incident.summary}\nOpen since {since}, told {incident.seen_count} times."
    unknown = tx.messages.send(turn.receivers, wording.escalation(incident, text, now), about=incident.name)
    return passing.told(incident, turn, unknown, now)


def _tell_everybody(tx: Tx, incident: Incident, wording: Wording) -> None:
    """That nobody has acknowledged concerns everybody who was told."""
    message = wording.exhausted(incident, "Every level was told, and nobody has acknowledged.", tx.now())
    tx.messages.send(incident.told, message, about=incident.name)


def _tell_nobody(tx: Tx, incident: Incident) -> Changed:
    """There may be a policy by now."""
    policy = policy_for(tx.policies(), incident.labels, incident.severity)
    if policy is None:
        return passing.told_nobody(incident, tx.now())
    return passing.covered(incident, policy, tx.now())
