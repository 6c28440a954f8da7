"""Begins remediations: one for each incident that is open, and not two whoever looks at it at the same time.

An incident gets another remediation only when it was reopened after it had been mended, when a policy covers it that
did not when it was only observed, or when a person asks. Incidents of a target that is being mended already wait: when
that is over, either they are over too or they are looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Final

import structlog

from opsuite_healer.application.incident_book import IncidentView
from opsuite_healer.application.remediation.errors import UnderWay
from opsuite_healer.application.remediation.observer import Observer
from opsuite_healer.application.remediation.recording import finish
from opsuite_healer.application.remediation.records import PART, PolicyRecord
from opsuite_healer.application.remediation.store import Store, Tx
from opsuite_healer.domain.remediation.matching import choose
from opsuite_healer.domain.remediation.policy import Mode
from opsuite_healer.domain.remediation.remediation import BUSY, HEALER, Remediation, State
from opsuite_kernel.errors import OpsuiteError
from opsuite_kernel.ids import new_id
from opsuite_runs.faults import declare
from opsuite_runs.signal import Signal

log = structlog.get_logger(__name__)

TAKEN_UP: Final = declare("healer.taken_up", "a remediation is recorded, nobody looks after it")
MOST_INCIDENTS: Final = 1000
"""Open incidents that are looked at together."""
OBSERVED: Final = frozenset({"OBSERVE_ONLY", "NO_POLICY"})
"""Ends that another policy can change."""


class Intake:
    """Looks at open incidents whenever somebody says that one has changed, and from time to time."""

    def __init__(self, store: Store, observer: Observer, *, poll_every: timedelta) -> None:
        self._store = store
        self._observer = observer
        self._poll_every = poll_every
        self._woken = Signal()
        self._named: set[str] = set()
        """Incidents that have changed: they are looked at even when more are open than a look takes."""

    def wake(self, incidents: Collection[str] = ()) -> None:
        """Look soon, at these first."""
        self._named.update(incidents)
        self._woken.give()

    async def watch_over(self) -> None:
        """Look until cancelled."""
        while True:
            seen = self._woken.count
            try:
                await self.look()
            except OpsuiteError as error:
                log.warning("incidents_not_seen", why=error.message)
            await self._woken.wait(seen, self._poll_every.total_seconds())

    async def look(self) -> int:
        """Begin what has to be begun; how many there were."""
        named, self._named = self._named, set()
        wanted = await self._store.read(lambda tx: _wanted(tx, named))
        begun = 0
        for incident in wanted:
            try:
                begun += await self.take_up(incident)
            except OpsuiteError as error:
                log.warning("incident_not_taken_up", incident=incident, why=error.message)
        return begun

    async def take_up(self, incident: str) -> bool:
        """Begin a remediation of an incident, if it wants one."""

        def body(tx: Tx) -> Remediation | None:
            view = tx.book.incident(incident)
            if view is None or not _is_wanted(view, tx.last_of([incident]).get(incident), tx.policies()):
                return None
            return begin(tx, view, self._observer)

        try:
            began = await self._store.write(body)
        except UnderWay:
            return False  # somebody else was faster, or the target is being mended
        if began is None:
            return False
        TAKEN_UP.hit()
        if began.end:
            self._observer.ended(began)
        return True


def begin(
    tx: Tx, view: IncidentView, observer: Observer, *, by: str = HEALER, record: PolicyRecord | None = None
) -> Remediation:
    """Record a remediation of an incident. Raises UnderWay.

    `record`: the policy that a person wants; None: the one that covers it.
    """
    records = {one.id: one for one in tx.policies()}
    if record is None:
        chosen = choose([one.policy for one in records.values()], view.issue, view.severity, view.labels)
        record = records[chosen.id] if chosen else None
    last = tx.last_of([view.id]).get(view.id)
    now = tx.now()
    new = Remediation(
        id=new_id(now),
        incident=view.id,
        round=last.round + 1 if last else 1,
        issue=view.issue,
        target=view.target,
        policy=record.policy if record else None,
        policy_number=record.number if record else 0,
        state=State.PENDING,
        created_at=now,
        began_at=view.opened_at,
        requested_by=by,
        labels=view.labels,
        traceparent=observer.begun(view.issue, view.name, view.traceparent),
    )
    new = tx.add(new, record.document if record else b"")
    if record is None:
        return finish(tx, new, State.ESCALATED, "NO_POLICY", f"no policy says what is to be done about {view.issue}")
    if record.policy.mode is not Mode.OBSERVE or by != HEALER:
        tx.book.remediating(view.id, new.name)
    tx.nudge(PART, new.id)
    return new


def _wanted(tx: Tx, named: Collection[str]) -> Sequence[str]:
    """Ids of open incidents that want a remediation, those that are named first."""
    known = {view.id: view for each in sorted(named) if (view := tx.book.incident(each)) is not None}
    known |= {view.id: view for view in tx.book.open_incidents(MOST_INCIDENTS)}
    views = list(known.values())
    if not views:
        return ()
    last, policies = tx.last_of([view.id for view in views]), tx.policies()
    found = [view for view in views if _is_wanted(view, last.get(view.id), policies)]
    return [view.id for view in found if view.target is None or tx.busy_on(view.target.canonical) is None]


def _is_wanted(view: IncidentView, last: Remediation | None, policies: Sequence[PolicyRecord]) -> bool:
    """Whether an incident wants a remediation that nobody asks for."""
    if not view.is_open:
        return False
    if last is None:
        return True
    if last.state in BUSY:
        return False
    if (last.end or last.state) in {State.SUCCEEDED, State.RECOVERED}:
        return True  # it was over then, and was opened again
    if last.reason not in OBSERVED:
        return False
    chosen = choose([one.policy for one in policies], view.issue, view.severity, view.labels)
    before = (last.policy.id, last.policy_number) if last.policy else ("", 0)
    after = next(((one.id, one.number) for one in policies if chosen and one.id == chosen.id), ("", 0))
    return before != after
