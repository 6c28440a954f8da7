"""One look of a check: ask, judge, and write down and tell what has changed, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from opsuite_healer.application.checks.ports import Recorder, Tx, Watcher, World
from opsuite_healer.application.checks.records import CheckRecord, EventKind, Happened
from opsuite_healer.application.checks.telling import over, trouble_of
from opsuite_healer.application.unit import Store
from opsuite_healer.domain.checks.answers import Answer, Sight
from opsuite_healer.domain.checks.subject import Begun, Change, Step, Subject, answered, told_now
from opsuite_kernel.clock import Clock
from opsuite_probes.port import Outcome
from opsuite_runs.faults import declare
from opsuite_runs.port import Lease

ASKED: Final = declare("healer.checks.asked", "a check has its answers, nothing of them is written")

EVENTS: Final = {
    Change.OUTCOME_CHANGED: EventKind.OUTCOME_CHANGED,
    Change.FLAPPING_STARTED: EventKind.FLAPPING_STARTED,
    Change.FLAPPING_STOPPED: EventKind.FLAPPING_STOPPED,
}


@dataclass(frozen=True, slots=True)
class Known:
    """What an attendant knows of its check."""

    record: CheckRecord
    subjects: Mapping[str, Subject]


@dataclass(frozen=True, slots=True)
class Judged:
    """What one sight makes of what was known."""

    steps: Sequence[Step]
    gone: Sequence[Subject]
    """What is not there any more."""

    def changes(self, known: Known) -> bool:
        """Whether anything has to be written down and told."""
        return bool(self.gone) or any(
            step.changes or step.tellings or step.subject != known.subjects.get(step.subject.replica)
            for step in self.steps
        )


class Looks:
    """Looks at targets for attendants."""

    def __init__(self, *, store: Store[Tx], world: World, recorder: Recorder, watcher: Watcher, clock: Clock) -> None:
        self._store = store
        self._world = world
        self._recorder = recorder
        self._watcher = watcher
        self._clock = clock

    async def known(self, check: str) -> Known | None:
        """What the database knows; None when there is no such check."""

        def body(tx: Tx) -> Known | None:
            record = tx.check(check)
            return Known(record, tx.subjects(check)) if record else None

        self._recorder.forget(check)
        return await self._store.read(body)

    async def look(self, lease: Lease, known: Known, lag: timedelta) -> Known:
        """Ask once, and return what is known then. Raises FencedOut, Overtaken, Unavailable."""
        sight = await self._world.look(known.record.spec)
        ASKED.hit()
        seen = judge(known, sight, self._clock.now())
        if seen.changes(known):
            after = await self._store.write(lambda tx: write(tx, lease, known, sight, self._watcher))
        else:
            after = Known(
                known.record, {**known.subjects, **{step.subject.replica: step.subject for step in seen.steps}}
            )
            for step in seen.steps:
                self._recorder.note(lease, step.subject)
        self._watcher.looked(known.record.spec, lag, [one.outcome for one in sight.answers.values()])
        return after

    async def silence(self, lease: Lease, known: Known) -> Known:
        """A check that is paused: what it has told is over, and it knows nothing. Raises FencedOut, Overtaken."""
        if not known.subjects:
            return known
        return await self._store.write(lambda tx: forget_all(tx, lease, known, "the check is paused"))


def judge(known: Known, sight: Sight, now: datetime) -> Judged:
    """What a sight makes of what was known. Pure."""
    spec, answers = known.record.spec, dict(sight.answers)
    if not sight.is_complete:
        silence = Answer(Outcome.UNKNOWN, sight.why_not, now)
        answers = dict.fromkeys(known.subjects or [spec.target.replica], silence) | answers
    steps = [answered(spec, _before(known, name, now), answer, now) for name, answer in sorted(answers.items())]
    gone = [subject for name, subject in known.subjects.items() if name not in answers]
    return Judged(steps, gone)


def _before(known: Known, replica: str, now: datetime) -> Subject:
    found = known.subjects.get(replica) or Subject(replica, first_seen_at=now)
    general = known.record.grace_until
    if general is None or (found.grace_until is not None and found.grace_until >= general):
        return found
    return replace(found, grace_until=general)


def write(tx: Tx, lease: Lease, known: Known, sight: Sight, watcher: Watcher) -> Known:
    """Write down and tell what a sight has changed; the moment is that of the database."""
    now, record = tx.now(), known.record
    judged = judge(known, sight, now)
    happened = [*_happened(judged.steps), *_gone(judged.gone)]
    last = tx.advance(lease, record.changed, len(happened))
    for subject in judged.gone:
        over(tx.troubles, record.spec, subject, now, "the replica is not there any more")
    subjects = [_told(tx, record, step, now, watcher) for step in judged.steps]
    tx.put_subjects(record, subjects)
    tx.drop_subjects(record.spec.id, [subject.replica for subject in judged.gone])
    tx.happened(record, last, happened)
    return Known(replace(record, revision=last + len(happened)), {one.replica: one for one in subjects})


def forget_all(tx: Tx, lease: Lease, known: Known, reason: str) -> Known:
    """Let go of everything that is known, telling that it is over."""
    now, record = tx.now(), known.record
    last = tx.advance(lease, record.changed, 1)
    for subject in known.subjects.values():
        over(tx.troubles, record.spec, subject, now, reason)
    tx.drop_subjects(record.spec.id, list(known.subjects))
    tx.happened(record, last, [Happened(EventKind.RESET, message=reason)])
    return Known(replace(record, revision=last + 1), {})


def _told(tx: Tx, record: CheckRecord, step: Step, now: datetime, watcher: Watcher) -> Subject:
    """The subject after all of its tellings were told."""
    subject = step.subject
    for telling in step.tellings:
        if isinstance(telling, Begun):
            is_new = subject.told is None
            trace = watcher.found(record.spec, subject, telling) if is_new else ""
            subject = told_now(subject, telling, now, trace)
            tx.troubles.found(trouble_of(record.spec, subject, telling.issue, now))
        else:
            over(tx.troubles, record.spec, subject, now, telling.reason)
            subject = told_now(subject, telling, now)
    return subject


def _happened(steps: Sequence[Step]) -> Sequence[Happened]:
    return [
        Happened(EVENTS[change], step.subject, step.subject.last.message if step.subject.last else "")
        for step in steps
        for change in step.changes
    ]


def _gone(subjects: Sequence[Subject]) -> Sequence[Happened]:
    """What never came to a verdict goes without a word."""
    return [
        Happened(EventKind.SUBJECT_GONE, one, "the replica is not there any more")
        for one in subjects
        if one.health.verdict is not None or one.told is not None
    ]
