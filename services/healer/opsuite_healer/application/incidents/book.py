"""Incidents as other parts read and write them, inside their transactions: fits `Troubles` and `IncidentBook`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from opsuite_healer.application.incident_book import IncidentView
from opsuite_healer.application.incidents.ports import Tx
from opsuite_healer.application.incidents.telling import Wording
from opsuite_healer.application.names import id_of
from opsuite_healer.domain.incidents import lifecycle
from opsuite_healer.domain.incidents.changes import Changed
from opsuite_healer.domain.incidents.escalation import policy_for
from opsuite_healer.domain.incidents.incident import EntryKind, Incident, Resolver, Status
from opsuite_healer.domain.trouble import Trouble, dedup_key
from opsuite_kernel.errors import Unavailable
from opsuite_kernel.ids import new_id

PART: Final = "incidents"
"""What is nudged when an incident wants to be looked at."""
TRIES: Final = 5


class Book:
    """Changes of incidents, each with the messages that go with it."""

    def __init__(self, tx: Tx, wording: Wording) -> None:
        self._tx = tx
        self._wording = wording

    # --- Troubles

    def found(self, trouble: Trouble) -> None:
        """There is trouble, or it still goes on."""
        self.trigger(trouble)

    def trigger(self, trouble: Trouble) -> Incident:
        """The incident that is open for trouble, which is counted in it; a new one if there was none."""
        if not trouble.key:
            trouble = _with_key(trouble)
        for _ in range(TRIES):
            if known := self._tx.open_for(trouble.key):
                incident = self._tx.lock(known)
                if incident is not None and incident.is_open and trouble.key in incident.keys:
                    return self._count(incident, trouble)
                continue  # it was resolved between the two looks
            policy = policy_for(self._tx.policies(), trouble.labels, trouble.severity)
            changed = lifecycle.opened(new_id(self._tx.now()), trouble, policy)
            if self._tx.add(changed):
                self._tx.nudge(PART, changed.incident.id)
                return changed.incident
        raise Unavailable(f"the incident of key {trouble.key} comes and goes; repeat it", reason="INCIDENT_CONTENDED")

    def _count(self, incident: Incident, trouble: Trouble) -> Incident:
        """Trouble goes on; where it gets worse, another policy may cover it."""
        kept = self.keep(lifecycle.seen_again(incident, trouble))
        if kept.severity is incident.severity:
            return kept
        policy = policy_for(self._tx.policies(), kept.labels, kept.severity)
        return kept if policy is None else self.keep(lifecycle.outgrown(kept, policy, self._tx.now()))

    def gone(self, key: str, at: datetime, reason: str) -> None:
        """The trouble of that key is over, as far as its finder can see."""
        known = self._tx.open_for(key)
        incident = self._tx.lock(known) if known else None
        if incident is not None and incident.is_open:
            self.keep(lifecycle.gone(incident, key, at, reason))

    # --- IncidentBook

    def incident(self, incident: str) -> IncidentView | None:
        """An incident by its id."""
        found = self._tx.incident(id_of(incident))
        return None if found is None else view_of(found)

    def open_incidents(self, limit: int) -> Sequence[IncidentView]:
        """Those that are not resolved, the oldest first."""
        return [view_of(incident) for incident in self._tx.open_incidents(limit)]

    def note(self, incident: str, text: str, *, actor: str, facts: Mapping[str, str] | None = None) -> None:
        """Put something on the timeline."""
        self._change(incident, lambda one, now: lifecycle.noted(one, actor, text, now, facts))

    def remediating(self, incident: str, remediation: str) -> None:
        """A remediation has begun (its resource name); empty: none is under way any more."""
        self._change(incident, lambda one, now: lifecycle.remediating(one, remediation, now))

    def escalate(self, incident: str, reason: str) -> None:
        """The healer can do no more: a person has to know."""
        self._change(incident, lambda one, now: lifecycle.given_up(one, reason, now))

    def resolve(self, incident: str, reason: str, *, actor: str) -> None:
        """It was mended, and the mending was verified."""

        def body(one: Incident, now: datetime) -> Changed:
            if not one.is_open:
                return Changed(one)
            return lifecycle.resolved(one, Resolver.ACTION, actor, reason, now)

        self._change(incident, body)

    # --- what all changes have in common

    def keep(self, changed: Changed) -> Incident:
        """Write a change of a locked incident, tell those who were told of it before, and have it looked at."""
        incident, tx = changed.incident, self._tx
        tx.put(changed)
        if not incident.is_open:
            tx.drop_keys(incident)
        for entry in changed.entries:
            if entry.kind in (EntryKind.ACKNOWLEDGED, EntryKind.RESOLVED):
                heard = tx.messages.withdraw(incident.name, f"it was {entry.kind.value.lower()} before")
                tx.messages.send(heard, self._wording.news(incident, entry), about=incident.name)
        if changed.entries:
            tx.nudge(PART, incident.id)
        return incident

    def _change(self, incident: str, change: Callable[[Incident, datetime], Changed]) -> None:
        found = self._tx.lock(id_of(incident))
        if found is not None:  # it may have been cleared away
            self.keep(change(found, self._tx.now()))


def view_of(incident: Incident) -> IncidentView:
    """As far as other parts need to know it."""
    return IncidentView(
        id=incident.id,
        key=incident.key,
        issue=incident.issue,
        severity=incident.severity,
        target=incident.target,
        summary=incident.summary,
        labels=incident.labels,
        opened_at=incident.opened_at,
        last_seen_at=incident.last_seen_at,
        is_open=incident.is_open,
        is_acknowledged=incident.status is Status.ACKNOWLEDGED,
        is_clear=incident.is_clear,
        traceparent=incident.traceparent,
    )


def _with_key(trouble: Trouble) -> Trouble:
    return replace(trouble, key=dedup_key(trouble.issue, trouble.target, trouble.source))
