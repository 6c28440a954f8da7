"""As time passes the healer does what the preview says: the same table, played in a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fakes.clock import NOON, FakeClock
from fakes.escalation_table import TABLE, Event, H, Row
from fakes.healer_incidents import a_policy, after, minutes, trouble
from fakes.healer_quiet import FakeQuiet

from opsuite_healer.adapters import tables as shared
from opsuite_healer.adapters.incidents import tables
from opsuite_healer.adapters.incidents.transaction import SqlIncidents
from opsuite_healer.adapters.unit import PartStore, SqlStore
from opsuite_healer.application.incidents.book import Book
from opsuite_healer.application.incidents.escalating import Escalating, act, look, needs_quiet
from opsuite_healer.application.incidents.ports import PolicyRecord, Receiver
from opsuite_healer.application.incidents.steering import Incidents
from opsuite_healer.application.incidents.telling import Wording
from opsuite_healer.composition.service import MIGRATIONS
from opsuite_healer.domain.incidents.due import Wait
from opsuite_healer.domain.incidents.escalation import Policy
from opsuite_healer.domain.incidents.incident import Incident
from opsuite_healer.domain.incidents.preview import Happening
from opsuite_healer.domain.trouble import Severity
from opsuite_notify.port import WebhookChannel
from opsuite_runs.lease import Leases, new_owner
from opsuite_runs.port import Call, FencedOut, Lease
from opsuite_runs.reading import reader
from opsuite_runs.signal import Signal
from opsuite_runs.watch import Hub
from opsuite_storage.migrations import migrate
from opsuite_storage.store import Store, open_store

ANN = Call("ann")
WORDING = Wording()


class Unseen:
    """Fits `Watcher`; nobody looks."""

    def acting(self, incident: Incident, step: str) -> AbstractContextManager[None]:
        return nullcontext()


class Healer:
    """Incidents in a database whose clock stands still until told otherwise."""

    def __init__(self, database: Store, clock: FakeClock) -> None:
        self.clock = clock
        self.database = database
        self.units = SqlStore(database, Hub(reader(database, shared.events), clock), new_owner(), clock)
        self.store: PartStore[SqlIncidents] = self.units.part(SqlIncidents)
        self.people = Incidents(self.store, WORDING)
        self.incident = ""

    async def open(self, policy: Policy) -> None:
        """Record receivers and the policy, and open an incident now."""

        def body(tx: SqlIncidents) -> str:
            for name in sorted({one for level in policy.levels for one in level.receivers}):
                tx.put_receiver(Receiver(name, WebhookChannel(f"http://{name}.example.org"), "", 1, NOON, NOON))
            tx.put_policy(PolicyRecord(policy, "", 1, NOON, NOON))
            return Book(tx, WORDING).trigger(trouble(at=tx.now())).id

        self.incident = await self.store.write(body)

    async def claim(self) -> Lease:
        """Look after the incident, whoever else does."""

        def body(connection: sa.Connection) -> Lease:
            leases = Leases(tables.incidents)
            (lease,) = leases.take_over_all(connection, new_owner(), where=sa.true(), now=self.clock.now())
            return lease

        return await self.database.write(body)

    async def pass_time(self, until: datetime) -> None:
        """Do whatever is due, whenever it is, up to a moment; what is due at that moment stays undone."""
        lease = await self.claim()
        while self.clock.now() < until:
            sight = await self.store.read(lambda tx: look(tx, lease))
            if not isinstance(sight.due, Wait):
                hush: Sequence[str] | None = () if needs_quiet(sight.due) else None
                await self.store.write(lambda tx, hush=hush: act(tx, lease, hush, WORDING))  # type: ignore[misc]  # typed above
                continue
            coming = sight.due.until or until
            self.clock.advance(min(coming, until) - self.clock.now())

    async def happens(self, event: Event) -> None:
        """Let it happen now."""
        what: Happening = event[1]
        told: dict[Happening, Callable[[Book], object]] = {
            H.GIVEN_UP: lambda book: book.escalate(self.incident, "the healer can do no more"),
            H.CLEARED: lambda book: book.gone("k1", self.clock.now(), ""),
            H.SEEN: lambda book: book.found(trouble(at=self.clock.now())),
            H.REMEDIATION_BEGINS: lambda book: book.remediating(self.incident, "remediations/1"),
            H.REMEDIATION_ENDS: lambda book: book.remediating(self.incident, ""),
        }
        if what in told:
            await self.store.write(lambda tx: told[what](Book(tx, WORDING)))
        elif what is H.SNOOZED:
            assert len(event) == 3
            await self.people.snooze(self.incident, after(event[2]), "", "", ANN)
        else:
            verbs: dict[Happening, Any] = {
                H.ESCALATED: self.people.escalate,
                H.ACKNOWLEDGED: self.people.acknowledge,
                H.RESOLVED: self.people.resolve,
                H.REOPENED: self.people.reopen,
            }
            await verbs[what](self.incident, "", "", ANN)

    async def rows(self) -> list[Row]:
        """Minutes after the opening, and what the timeline tells of them: receivers where a level is told."""
        statement = sa.select(tables.incident_entries).order_by(tables.incident_entries.c.sequence)
        found = await self.database.read(lambda connection: connection.execute(statement).all())
        return [
            ((row.at - NOON) / minutes(1), row.facts["receivers"] if row.kind == "TOLD" else row.kind.lower())
            for row in found
        ]

    async def send_all(self) -> None:
        """Every message was taken."""
        sent = sa.update(tables.outbox).values(status="sent", finished_at=self.clock.now(), next_attempt_at=None)
        await self.database.write(lambda connection: connection.execute(sent).rowcount)

    async def messages(self) -> list[tuple[float, str, str]]:
        """Minutes after the opening, who is told, and of what."""
        statement = sa.select(tables.outbox).order_by(tables.outbox.c.created_at, tables.outbox.c.channel_name)
        found = await self.database.read(lambda connection: connection.execute(statement).all())
        return [((row.created_at - NOON) / minutes(1), row.channel_name, row.message["event"]) for row in found]


@pytest.fixture
async def healer(tmp_path: Path) -> AsyncIterator[Healer]:
    clock = FakeClock()
    database = open_store("sqlite", data_dir=tmp_path, name="healer", clock=clock)
    await migrate(database, MIGRATIONS)
    yield Healer(database, clock)
    await database.close()


@pytest.mark.parametrize(("policy", "events", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
async def test_the_healer_does_what_the_preview_says(
    healer: Healer, policy: Policy, events: Sequence[Event], expected: list[Row]
) -> None:
    await healer.open(policy)
    for event in events:
        await healer.pass_time(after(event[0]))
        await healer.happens(event)
    await healer.pass_time(after(24 * 60))

    assert await healer.rows() == expected


async def test_who_was_told_hears_what_becomes_of_it_and_nobody_else(healer: Healer) -> None:
    await healer.open(TABLE[0][1])
    await healer.pass_time(after(6))
    await healer.send_all()
    await healer.people.acknowledge(healer.incident, "", "", ANN)
    await healer.pass_time(after(7))
    await healer.people.resolve(healer.incident, "", "", ANN)

    assert await healer.messages() == [
        (5, "chat", "INCIDENT_OPEN"),
        (6, "chat", "INCIDENT_ACKNOWLEDGED"),
        (7, "chat", "INCIDENT_RESOLVED"),
    ]


async def test_calls_that_nobody_has_sent_yet_are_withdrawn(healer: Healer) -> None:
    await healer.open(TABLE[0][1])
    await healer.pass_time(after(6))
    await healer.people.resolve(healer.incident, "", "", ANN)

    assert await healer.messages() == [(5, "chat", "INCIDENT_OPEN")]
    statuses = sa.select(tables.outbox.c.status)
    found = await healer.database.read(lambda connection: connection.execute(statuses).scalars().all())
    assert list(found) == ["withdrawn"]


async def test_what_was_over_before_anybody_was_told_is_told_to_nobody(healer: Healer) -> None:
    await healer.open(TABLE[0][1])
    await healer.people.resolve(healer.incident, "", "", ANN)

    assert await healer.messages() == []


async def test_when_every_level_was_told_in_vain_all_of_them_hear_so(healer: Healer) -> None:
    await healer.open(TABLE[0][1])
    await healer.pass_time(after(60))

    assert (await healer.messages())[-2:] == [
        (35, "chat", "INCIDENT_ESCALATION_EXHAUSTED"),
        (35, "phone", "INCIDENT_ESCALATION_EXHAUSTED"),
    ]


async def test_trouble_that_gets_worse_is_told_as_the_policy_for_that_says(healer: Healer) -> None:
    await healer.open(TABLE[0][1])
    critical = a_policy("boss", id="critical", min_severity=Severity.CRITICAL, priority=1)
    await healer.store.write(lambda tx: tx.put_policy(PolicyRecord(critical, "", 1, NOON, NOON)))
    await healer.store.write(
        lambda tx: tx.put_receiver(Receiver("boss", WebhookChannel("http://b"), "", 1, NOON, NOON))
    )
    await healer.pass_time(after(6))
    worse = trouble(at=after(6), severity=Severity.CRITICAL)
    await healer.store.write(lambda tx: Book(tx, WORDING).found(worse))
    await healer.pass_time(after(10))

    assert await healer.rows() == [
        (0, "opened"),
        (5, "escalated"),
        (5, "chat"),
        (6, "worse"),
        (6, "reassigned"),
        (6, "boss"),
    ]


async def test_a_lease_that_somebody_else_has_taken_over_changes_nothing(healer: Healer) -> None:
    await healer.open(replace(TABLE[0][1], begin_after=minutes(0)))
    mine = await healer.claim()
    await healer.claim()

    with pytest.raises(FencedOut):
        await healer.store.write(lambda tx: act(tx, mine, (), WORDING))
    with pytest.raises(FencedOut):
        await healer.store.read(lambda tx: look(tx, mine))
    assert await healer.rows() == [(0, "opened")]


async def test_an_attendant_ends_with_its_incident(healer: Healer) -> None:
    await healer.open(replace(TABLE[0][1], begin_after=minutes(0)))
    lease, quiet = await healer.claim(), FakeQuiet()
    escalating = Escalating(healer.store, lambda: quiet, WORDING, Unseen(), is_draining=lambda: False)
    signal = Signal()
    healer.units.on_nudge("incidents", lambda run: signal.give())
    healer.clock.advance(minutes(1))

    await healer.people.resolve(healer.incident, "", "", ANN)
    await escalating.attend(lease, signal)

    assert (await healer.rows())[-1] == (1, "resolved")
