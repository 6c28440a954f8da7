"""Checks as people write them down: recorded, changed, forgotten, asked by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from opsuite_healer.application.checks.errors import CheckExists, CheckNotFound, EtagMismatch, NothingChecks
from opsuite_healer.application.checks.ports import Tx, World
from opsuite_healer.application.checks.records import CheckRecord, EventKind, Happened
from opsuite_healer.application.checks.telling import over
from opsuite_healer.application.unit import Store, begin, finish
from opsuite_healer.domain.checks.answers import Answer
from opsuite_healer.domain.checks.check import CheckSpec
from opsuite_healer.domain.checks.rules import JudgeCommand, violations
from opsuite_healer.domain.checks.standing import Standing, by_target
from opsuite_healer.domain.checks.subject import Subject, judged
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import InvalidInput
from opsuite_probes.port import Outcome
from opsuite_runs.port import Call

PART: Final = "checks"
"""What is nudged when a check wants to be looked at."""
ALL: Final = "*"
"""Stands for every check in a nudge."""
ASKED_AT_ONCE: Final = 100
"""Checks of one target that are asked by hand at the same time."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A check as a caller gives it."""

    spec: CheckSpec
    document: bytes
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """A change of a check."""

    etag: str
    """Must be that of the present check; empty: whatever it is."""
    of: Callable[[bytes], Wanted]
    """Makes the new check of the document of the present one."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A check and what is known of what it covers, by replica."""

    record: CheckRecord
    subjects: Sequence[Subject]


@dataclass(frozen=True, slots=True)
class SaidNow:
    """What one check said of one replica."""

    check: str
    replica: str
    answer: Answer


class Checks:
    """The use cases."""

    def __init__(self, store: Store[Tx], world: World, judge: JudgeCommand, clock: Clock) -> None:
        self._store = store
        self._world = world
        self._judge = judge
        self._clock = clock

    async def create(self, wanted: Wanted, call: Call, *, only_validate: bool = False) -> Shown:
        """Record a check. Raises InvalidInput, CheckExists."""
        self._refuse(wanted.spec)

        def body(tx: Tx) -> Shown:
            if (earlier := begin(tx, call)) is not None:
                return show(tx, earlier)
            if tx.check(wanted.spec.id) is not None:
                raise CheckExists(wanted.spec.id)
            now = tx.now()
            record = CheckRecord(wanted.spec, wanted.document, 1, now, now, call.actor)
            tx.add(record)
            tell(tx, record, EventKind.CREATED)
            tx.nudge(PART, record.spec.id)
            finish(tx, call, record.spec.id)
            return show(tx, record.spec.id)

        return await self._store.write((lambda tx: _would_be(tx, wanted, call)) if only_validate else body)

    async def get(self, check: str) -> Shown:
        """A check. Raises CheckNotFound."""
        return await self._store.read(lambda tx: show(tx, check))

    async def update(self, check: str, changed: Changed, call: Call) -> Shown:
        """Change a check; `changed` makes the new one of the present one. Raises CheckNotFound, EtagMismatch."""

        def body(tx: Tx) -> Shown:
            if begin(tx, call) is not None:
                return show(tx, check)
            present = require(tx, check, changed.etag)
            wanted = changed.of(present.document)
            self._refuse(wanted.spec)
            record = replace(
                present,
                spec=wanted.spec,
                document=wanted.document,
                number=present.number + 1,
                updated_at=tx.now(),
            )
            tx.put(record)
            if wanted.spec.question != present.spec.question:
                tx.put_subjects(record, [from_nothing(one, tx.now()) for one in tx.subjects(check).values()])
            tell(tx, record, EventKind.UPDATED)
            tx.nudge(PART, check)
            finish(tx, call, check)
            return show(tx, check)

        return await self._store.write(body)

    async def delete(self, check: str, etag: str, call: Call) -> None:
        """Forget a check; trouble that it told of is over. Raises CheckNotFound, EtagMismatch."""

        def body(tx: Tx) -> None:
            if begin(tx, call) is not None:
                return
            record = require(tx, check, etag)
            for subject in tx.subjects(check).values():
                over(tx.troubles, record.spec, subject, tx.now(), "the check was deleted")
            tell(tx, record, EventKind.DELETED)
            tx.delete(check)
            tx.nudge(PART, check)
            finish(tx, call, check)

        await self._store.write(body)

    async def check_all(self, group: str, call: Call) -> tuple[int, Sequence[Outcome]]:
        """Let all checks (of a group) look soon: how many they are, and what is known of their targets."""

        def body(tx: Tx) -> tuple[int, Sequence[Outcome]]:
            ids = tx.ids(group)
            if begin(tx, call) is None:
                for check in ids if group else [ALL]:
                    tx.nudge(PART, check)
                finish(tx, call, group)
            return len(ids), list(by_target(tx.standings_in(group)).values())

        return await self._store.write(body)

    async def check_target(self, target: TargetRef, call: Call) -> tuple[Sequence[Standing], Sequence[SaidNow]]:
        """Ask the checks of a target now: what is known of it, and what was said. Raises NothingChecks."""

        def body(tx: Tx) -> tuple[Sequence[CheckRecord], Sequence[Standing]]:
            records = tx.checks_of(target)
            if not records:
                raise NothingChecks(target.canonical)
            if begin(tx, call) is None:
                finish(tx, call, "")
            return records, tx.standings_of(target)

        records, standings = await self._store.write(body)
        turns = asyncio.Semaphore(ASKED_AT_ONCE)
        said = await asyncio.gather(*(self._ask(record, target.replica, turns) for record in records))
        return standings, [one for those in said for one in those]

    async def _ask(self, record: CheckRecord, only: str, turns: asyncio.Semaphore) -> Sequence[SaidNow]:
        async with turns:
            sight = await self._world.look(record.spec)
        now, spec = self._clock.now(), record.spec
        answers = sight.answers or {spec.target.replica: Answer(Outcome.UNKNOWN, sight.why_not, now)}
        return [
            SaidNow(spec.name, name, judged(spec, Subject(name, first_seen_at=now), answer, now))
            for name, answer in sorted(answers.items())
            if not only or name == only
        ]

    def _refuse(self, spec: CheckSpec) -> None:
        if found := violations(spec, self._judge):
            raise InvalidInput([one.below("check") for one in found], reason="CHECK_INVALID")


def _would_be(tx: Tx, wanted: Wanted, call: Call) -> Shown:
    if call.audit:
        tx.audit(call.audit)
    if tx.check(wanted.spec.id) is not None:
        raise CheckExists(wanted.spec.id)
    now = tx.now()
    return Shown(CheckRecord(wanted.spec, wanted.document, 0, now, now, call.actor), ())


def show(tx: Tx, check: str) -> Shown:
    """A check as it stands. Raises CheckNotFound."""
    record = tx.check(check)
    if record is None:
        raise CheckNotFound(check)
    return Shown(record, [subject for _, subject in sorted(tx.subjects(check).items())])


def require(tx: Tx, check: str, etag: str = "") -> CheckRecord:
    """A check that nobody else changes before this transaction has ended. Raises CheckNotFound, EtagMismatch."""
    record = tx.lock(check)
    if record is None:
        raise CheckNotFound(check)
    if etag and etag != record.etag:
        raise EtagMismatch(check, etag, record.etag)
    return record


def tell(tx: Tx, record: CheckRecord, kind: EventKind, message: str = "") -> None:
    """Tell of something that happened to a check as a whole."""
    tx.happened(record, tx.count_on(record.spec.id, 1), [Happened(kind, message=message)])


def from_nothing(subject: Subject, now: datetime) -> Subject:
    """A subject of which nothing is known any more but what was told."""
    return Subject(subject.replica, first_seen_at=now, told=subject.told, last=subject.last)
