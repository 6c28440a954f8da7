"""Environments as they are now, and their locks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from opsuite_deployer.application.deployments import Call
from opsuite_deployer.application.fleet import Fleet
from opsuite_deployer.application.ports import Store, Tx
from opsuite_deployer.domain.deployment import Deployment, Status
from opsuite_deployer.domain.environment import EnvironmentLock, comes_after, owned_by, renewed, take
from opsuite_deployer.domain.errors import (
    EnvironmentLocked,
    EnvironmentNotFound,
    EnvironmentOccupied,
    NotLocked,
    PipelineNotFound,
)
from opsuite_deployer.domain.pipeline import Pipeline
from opsuite_deployer.domain.queue import arrive
from opsuite_deployer.domain.turn import EventKind, Happened

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Names an environment of a pipeline."""

    pipeline: str
    environment: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"pipelines/{self.pipeline}/environments/{self.environment}"


@dataclass(frozen=True, slots=True)
class LockWish:
    """A lock that somebody wants; without a ttl it holds until somebody ends it."""

    place: Place
    message: str
    ttl: timedelta | None = None


@dataclass(frozen=True, slots=True)
class EnvironmentView:
    """An environment as it is now, for one caller."""

    place: Place
    stable: Deployment | None
    holder: Deployment | None
    waiting: Sequence[Deployment]
    lock: EnvironmentLock | None
    obstacles: tuple[EnvironmentLocked | EnvironmentOccupied, ...]
    """Why a Deploy of the caller would be refused."""
    after: str | None
    """Environment in which a version has to be stable first."""


class Environments:
    """The use cases of EnvironmentService."""

    def __init__(self, store: Store, fleet: Fleet) -> None:
        self._store = store
        self._fleet = fleet

    async def get(self, place: Place, actor: str) -> EnvironmentView:
        """An environment. Raises PipelineNotFound, EnvironmentNotFound."""
        return await self._store.read(lambda tx: look(tx, place, actor))

    async def all(self, pipeline: str, actor: str) -> Sequence[EnvironmentView]:
        """The environments of a pipeline, in its order. Raises PipelineNotFound."""

        def body(tx: Tx) -> Sequence[EnvironmentView]:
            return [look(tx, Place(pipeline, one), actor) for one in _pipeline(tx, pipeline).environments]

        return await self._store.read(body)

    async def lock(self, wish: LockWish, call: Call) -> EnvironmentView:
        """Keep everybody else out. Raises PipelineNotFound, EnvironmentNotFound, EnvironmentLocked."""

        def body(tx: Tx, present: EnvironmentLock | None) -> None:
            place = wish.place
            wanted = EnvironmentLock(place.pipeline, place.environment, call.actor, wish.message, tx.now(), wish.ttl)
            lock = take(present, wanted)
            tx.put_lock(lock)
            tell_those_who_wait(tx, place, lock)

        return await self._change(wish.place, call, body)

    async def unlock(self, place: Place, call: Call, *, force: bool = False) -> EnvironmentView:
        """End the caller's lock, with `force` anybody's.

        Raises PipelineNotFound, EnvironmentNotFound, NotLocked, LockNotYours.
        """

        def body(tx: Tx, present: EnvironmentLock | None) -> None:
            if not force:
                owned_by(present, call.actor, place.environment)
            if present is None:
                raise NotLocked(place.environment)
            lift(tx, present)

        return await self._change(place, call, body)

    async def renew(self, place: Place, call: Call) -> EnvironmentLock:
        """Let the ttl of the caller's lock begin anew. Raises what `unlock` does."""

        def body(tx: Tx, present: EnvironmentLock | None) -> None:
            tx.put_lock(renewed(owned_by(present, call.actor, place.environment), tx.now()))

        view = await self._change(place, call, body)
        return owned_by(view.lock, call.actor, place.environment)

    async def expire(self) -> None:
        """End locks whose holders were silent for too long, and let go on who waits for that."""
        if not await self._store.read(lambda tx: tx.expired_locks()):
            return

        def whole(tx: Tx) -> Sequence[EnvironmentLock]:
            tx.serialise_admission()
            expired = tx.expired_locks()
            for lock in expired:
                lift(tx, lock)
            return expired

        for lock in await self._store.write(whole, lambda _: self._fleet.wake()):
            log.info("lock_expired", pipeline=lock.pipeline, environment=lock.environment, holder=lock.holder)

    async def _change(
        self, place: Place, call: Call, body: Callable[[Tx, EnvironmentLock | None], None]
    ) -> EnvironmentView:
        def whole(tx: Tx) -> EnvironmentView:
            tx.serialise_admission()
            _require(tx, place)
            if call.audit:
                tx.audit(call.audit)
            if call.replay is None or tx.replayed(call.replay) is None:
                body(tx, tx.lock_of(place.pipeline, place.environment))
                if call.replay:
                    tx.remember(call.replay, place.name, tx.now())
            return look(tx, place, call.actor)

        return await self._store.write(whole, lambda _: self._fleet.wake())


# --- bodies of transactions ------------------------------------------------------------------------------------------


def look(tx: Tx, place: Place, actor: str) -> EnvironmentView:
    """An environment as it is now. Raises PipelineNotFound, EnvironmentNotFound."""
    pipeline = _require(tx, place)
    where = (place.pipeline, place.environment)
    holder, waiting, lock = tx.holder(*where), tx.waiting(*where), tx.lock_of(*where)
    return EnvironmentView(
        place=place,
        stable=tx.stable_now(*where),
        holder=holder,
        waiting=waiting,
        lock=lock,
        obstacles=tuple(_obstacles(pipeline, place, actor, holder, waiting, lock)),
        after=comes_after(pipeline, place.environment),
    )


def lift(tx: Tx, lock: EnvironmentLock) -> None:
    """End a lock."""
    tx.drop_lock(lock.pipeline, lock.environment)
    tell_those_who_wait(tx, Place(lock.pipeline, lock.environment), None)


def tell_those_who_wait(tx: Tx, place: Place, lock: EnvironmentLock | None) -> None:
    """Let each deployment in the queue say whether the lock keeps it there."""
    for position, one in enumerate(tx.waiting(place.pipeline, place.environment), start=1):
        reason, message = "", ""
        if lock is not None and lock.keeps_out(one):
            reason, message = EnvironmentLocked.reason, lock.words
        if (one.reason, one.message) != (reason, message):
            told = Happened(EventKind.QUEUED, Status.QUEUED, reason=reason, message=message, queue_position=position)
            tx.change(one, replace(one, reason=reason, message=message), [told])


def _obstacles(
    pipeline: Pipeline,
    place: Place,
    actor: str,
    holder: Deployment | None,
    waiting: Sequence[Deployment],
    lock: EnvironmentLock | None,
) -> Iterator[EnvironmentLocked | EnvironmentOccupied]:
    if lock is not None and lock.holder != actor:
        yield lock.refusal()
    try:
        arrive(pipeline.policy_in(place.environment), holder, waiting)
    except EnvironmentOccupied as refusal:
        yield refusal


def _require(tx: Tx, place: Place) -> Pipeline:
    pipeline = _pipeline(tx, place.pipeline)
    if place.environment not in pipeline.environments:
        raise EnvironmentNotFound(place.pipeline, place.environment)
    return pipeline


def _pipeline(tx: Tx, uid: str) -> Pipeline:
    revision = tx.revision_of(uid)
    if revision is None or revision.deleted:
        raise PipelineNotFound(uid)
    return revision.pipeline
