"""Silences, as people make, change and end them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from opsuite_healer.application.alerts.errors import EtagMismatch, SilenceExpired, SilenceNotFound
from opsuite_healer.application.alerts.ports import AlertTx
from opsuite_healer.application.alerts.telling import PART
from opsuite_healer.application.unit import Store, begin, finish
from opsuite_healer.domain.alerts.silences import Silence, SilenceState
from opsuite_kernel.errors import InvalidInput
from opsuite_kernel.ids import new_id
from opsuite_runs.port import Call

CLIENT_PRECISION: Final = timedelta(milliseconds=1)
"""To which clients of Alertmanager repeat the times that they were told."""

Draft = Callable[[datetime], Silence]
"""Makes a silence of what was asked for and the time; its id does not count."""
Change = Callable[[Silence], Silence]


class Silencing:
    """The use cases of silences."""

    def __init__(self, store: Store[AlertTx]) -> None:
        self._store = store

    async def create(self, draft: Draft, call: Call) -> Silence:
        """Record a silence; one that is to begin in the past begins now. Raises InvalidInput."""

        def body(tx: AlertTx) -> Silence:
            earlier = tx.unit.replayed(call.replay) if call.replay else None
            silence = add(tx, draft(tx.unit.now())) if earlier is None else required(tx, earlier)
            _audit(tx, call, silence)
            if earlier is None:
                finish(tx.unit, call, silence.id)
            return silence

        return await self._store.write(body)

    async def get(self, silence: str) -> Silence:
        """A silence. Raises SilenceNotFound."""
        return await self._store.read(lambda tx: required(tx, silence))

    async def update(self, silence: str, etag: str, change: Change, call: Call) -> Silence:
        """Change a silence that is not over. Raises SilenceNotFound, SilenceExpired, EtagMismatch, InvalidInput."""

        def body(tx: AlertTx) -> Silence:
            if begin(tx.unit, call) is not None:
                return required(tx, silence)
            present = _present(tx, silence, etag)
            now = tx.unit.now()
            if present.state(now) is SilenceState.EXPIRED:
                raise SilenceExpired(silence)
            changed = replace(change(present), updated_at=now, number=present.number + 1)
            _check(changed, now)
            tx.put_silence(changed)
            finish(tx.unit, call, silence)
            return changed

        return await self._store.write(body)

    async def expire(self, silence: str, etag: str, reason: str, call: Call) -> Silence:
        """End a silence now; what it kept quiet is told at once. Raises SilenceNotFound, EtagMismatch."""

        def body(tx: AlertTx) -> Silence:
            if begin(tx.unit, call) is not None:
                return required(tx, silence)
            ended = expire(tx, _present(tx, silence, etag), reason or f"ended by {call.actor}")
            finish(tx.unit, call, silence)
            return ended

        return await self._store.write(body)

    async def put(self, silence: str, draft: Draft, call: Call) -> Silence:
        """Create a silence, or change one by its id, as Alertmanager does.

        One that is over, or in force with other matchers or another start, ends, and another one takes its place.
        Raises SilenceNotFound, InvalidInput.
        """

        def body(tx: AlertTx) -> Silence:
            found = _put(tx, silence, draft(tx.unit.now()), call.actor)
            _audit(tx, call, found)
            return found

        return await self._store.write(body)


def _put(tx: AlertTx, silence: str, wanted: Silence, actor: str) -> Silence:
    now = tx.unit.now()
    if not silence:
        return add(tx, wanted)
    present = _present(tx, silence, "")
    if not _may_become(present, wanted, now):
        if present.state(now) is not SilenceState.EXPIRED:
            expire(tx, present, f"replaced by {actor}")
        return add(tx, wanted)
    changed = replace(
        present,
        starts_at=wanted.starts_at if now < present.starts_at else present.starts_at,
        ends_at=wanted.ends_at,
        author=wanted.author,
        comment=wanted.comment,
        updated_at=now,
        number=present.number + 1,
    )
    _check(changed, now)
    tx.put_silence(changed)
    return changed


def _audit(tx: AlertTx, call: Call, silence: Silence) -> None:
    """Its name is known only once it is there."""
    if call.audit:
        tx.unit.audit(replace(call.audit, resource=silence.name))


def add(tx: AlertTx, draft: Silence) -> Silence:
    """Record a new silence. Raises InvalidInput."""
    now = tx.unit.now()
    silence = replace(
        draft, id=new_id(now), starts_at=max(draft.starts_at, now), created_at=now, updated_at=now, number=1
    )
    _check(silence, now)
    tx.put_silence(silence)
    return silence


def expire(tx: AlertTx, silence: Silence, reason: str) -> Silence:
    """End a silence; one that is over already stays as it is."""
    now = tx.unit.now()
    if silence.state(now) is SilenceState.EXPIRED:
        return silence
    ended = replace(
        silence,
        starts_at=min(silence.starts_at, now),
        ends_at=now,
        end_reason=reason,
        updated_at=now,
        number=silence.number + 1,
    )
    tx.put_silence(ended)
    tx.unit.nudge(PART)
    return ended


def required(tx: AlertTx, silence: str) -> Silence:
    """A silence. Raises SilenceNotFound."""
    found = tx.silence(silence)
    if found is None:
        raise SilenceNotFound(silence)
    return found


def _present(tx: AlertTx, silence: str, etag: str) -> Silence:
    found = tx.silence(silence, lock=True)
    if found is None:
        raise SilenceNotFound(silence)
    if etag and etag != found.etag:
        raise EtagMismatch(found.name, etag, found.etag)
    return found


def _may_become(present: Silence, wanted: Silence, now: datetime) -> bool:
    """Whether it can be changed in place: nothing that was told or kept quiet would have been otherwise."""
    if present.matchers != wanted.matchers or present.state(now) is SilenceState.EXPIRED:
        return False
    if now < present.starts_at:
        return wanted.starts_at >= now
    return wanted.ends_at > now and abs(wanted.starts_at - present.starts_at) < CLIENT_PRECISION


def _check(silence: Silence, now: datetime) -> None:
    if problems := silence.problems(now):
        raise InvalidInput([problem.below("silence") for problem in problems])
