"""Incidents as people change them: triggered, acknowledged, resolved, escalated, put off, made one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from opsuite_healer.application.incidents.book import Book
from opsuite_healer.application.incidents.errors import (
    EscalationPolicyNotFound,
    EtagMismatch,
    IncidentNotFound,
    KeyTaken,
    MergeWithItself,
    ReceiverNotFound,
    WrongStatus,
)
from opsuite_healer.application.incidents.ports import Tx
from opsuite_healer.application.incidents.telling import Wording
from opsuite_healer.application.unit import Store, begin, finish
from opsuite_healer.domain.incidents import lifecycle
from opsuite_healer.domain.incidents.changes import Changed, IllegalStep
from opsuite_healer.domain.incidents.escalation import Level, Policy
from opsuite_healer.domain.incidents.incident import Incident, Resolver
from opsuite_healer.domain.trouble import Trouble
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_runs.port import Call

LONGEST_SNOOZE: Final = timedelta(days=30)

_OPENED, _COUNTED = "opened", "counted"
"""How the answer to a trigger is kept for repeats of the call: with the id of the incident after it."""

Change = Callable[[Tx, Incident, datetime], Changed]


class Incidents:
    """The use cases of IncidentService. Each raises IncidentNotFound, EtagMismatch and, by status, WrongStatus."""

    def __init__(self, store: Store[Tx], wording: Wording) -> None:
        self._store = store
        self._wording = wording

    async def trigger(self, trouble: Trouble, call: Call) -> tuple[Incident, bool]:
        """The incident that is open for trouble, and whether this call has opened it."""

        def body(tx: Tx) -> tuple[Incident, bool]:
            known = begin(tx, replace(call, audit=None))
            if known is not None:
                what, _, incident_id = known.partition(" ")
                incident, is_new = _require(tx, incident_id), what == _OPENED
            else:
                incident = Book(tx, self._wording).trigger(replace(trouble, at=tx.now()))
                is_new = incident.revision == 1 and incident.seen_count == 1
                finish(tx, call, f"{_OPENED if is_new else _COUNTED} {incident.id}")
            if call.audit:  # which incident it is about is known only now
                tx.audit(replace(call.audit, resource=incident.name))
            return incident, is_new

        return await self._store.write(body)

    async def acknowledge(self, incident: str, reason: str, etag: str, call: Call) -> Incident:
        """The caller looks after it."""
        return await self._change(
            incident, etag, call, lambda _, one, now: lifecycle.acknowledged(one, call.actor, reason, now)
        )

    async def resolve(self, incident: str, reason: str, etag: str, call: Call) -> Incident:
        """It is over."""
        return await self._change(
            incident, etag, call, lambda _, one, now: lifecycle.resolved(one, Resolver.HUMAN, call.actor, reason, now)
        )

    async def reopen(self, incident: str, reason: str, etag: str, call: Call) -> Incident:
        """It is not over. Raises KeyTaken."""

        def change(tx: Tx, one: Incident, now: datetime) -> Changed:
            changed = lifecycle.reopened(one, call.actor, reason, now)
            if other := tx.hold_keys(one):
                raise KeyTaken(one.id, other)
            return changed

        return await self._change(incident, etag, call, change)

    async def escalate(self, incident: str, reason: str, etag: str, call: Call) -> Incident:
        """People are told now."""
        text = reason or f"{call.actor} wants people to know"
        return await self._change(
            incident, etag, call, lambda _, one, now: lifecycle.escalated(one, call.actor, text, now)
        )

    async def reassign(
        self, incident: str, policy: str, receivers: Sequence[str], reason: str, etag: str, call: Call
    ) -> Incident:
        """Others are told instead: those of a policy, or some receivers.

        Raises InvalidInput (both or neither), EscalationPolicyNotFound, ReceiverNotFound.
        """
        if bool(policy) == bool(receivers):
            raise InvalidInput([Violation("policy", "exactly one of policy and receivers says who", "EXACTLY_ONE")])

        def change(tx: Tx, one: Incident, now: datetime) -> Changed:
            wanted = _recorded(tx, policy) if policy else _of_receivers(tx, one, receivers)
            return lifecycle.reassigned(one, wanted, call.actor, reason, now)

        return await self._change(incident, etag, call, change)

    async def snooze(self, incident: str, until: datetime, reason: str, etag: str, call: Call) -> Incident:
        """Nobody is told more for a while. Raises InvalidInput (until)."""

        def change(_: Tx, one: Incident, now: datetime) -> Changed:
            if not now < until <= now + LONGEST_SNOOZE:
                raise InvalidInput([Violation("until", "lies in the next 30 days", "RANGE")])
            return lifecycle.snoozed(one, until, call.actor, reason, now)

        return await self._change(incident, etag, call, change)

    async def add_note(self, incident: str, text: str, call: Call) -> Incident:
        """Something stands on the timeline."""
        return await self._change(incident, "", call, lambda _, one, now: lifecycle.noted(one, call.actor, text, now))

    async def merge(self, incident: str, sources: Sequence[str], reason: str, etag: str, call: Call) -> Incident:
        """One incident takes others over. Raises MergeWithItself."""
        if incident in sources:
            raise MergeWithItself(incident)

        def body(tx: Tx) -> Incident:
            if begin(tx, call) is not None:
                return _require(tx, incident)
            locked = {one: _locked(tx, one) for one in sorted([incident, *sources])}  # always in this order
            into, book, now = locked[incident], Book(tx, self._wording), tx.now()
            _check(into, etag)
            tx.drop_keys(into)
            for source in sources:
                into = book.keep(lifecycle.absorbed(into, locked[source], call.actor, reason, now))
                book.keep(lifecycle.merged_into(locked[source], into, call.actor, now))
            tx.hold_keys(into)
            finish(tx, call, incident)
            return into

        return await self._written(body)

    async def get(self, incident: str) -> Incident:
        """An incident."""
        return await self._store.read(lambda tx: _require(tx, incident))

    async def _change(self, incident: str, etag: str, call: Call, change: Change) -> Incident:
        def body(tx: Tx) -> Incident:
            if begin(tx, call) is not None:
                return _require(tx, incident)
            found = _locked(tx, incident)
            _check(found, etag)
            kept = Book(tx, self._wording).keep(change(tx, found, tx.now()))
            finish(tx, call, incident)
            return kept

        return await self._written(body)

    async def _written(self, body: Callable[[Tx], Incident]) -> Incident:
        try:
            return await self._store.write(body)
        except IllegalStep as error:
            raise WrongStatus(error.incident, error.step) from error


# --- bodies of transactions ------------------------------------------------------------------------------------------


def _require(tx: Tx, incident: str) -> Incident:
    found = tx.incident(incident)
    if found is None:
        raise IncidentNotFound(incident)
    return found


def _locked(tx: Tx, incident: str) -> Incident:
    found = tx.lock(incident)
    if found is None:
        raise IncidentNotFound(incident)
    return found


def _check(incident: Incident, etag: str) -> None:
    if etag and etag != incident.etag:
        raise EtagMismatch(incident.name, etag, incident.etag)


def _recorded(tx: Tx, policy: str) -> Policy:
    record = tx.policy(policy)
    if record is None:
        raise EscalationPolicyNotFound(policy)
    return record.policy


def _of_receivers(tx: Tx, incident: Incident, receivers: Sequence[str]) -> Policy:
    """The present policy, or the defaults, with one level of these receivers."""
    if unknown := tx.unknown_receivers(receivers):
        raise ReceiverNotFound(unknown[0])
    present = incident.policy or Policy("", ())
    wait = present.levels[0].wait if present.levels else Level(()).wait
    return replace(present, id="", levels=(Level(tuple(receivers), wait),))
