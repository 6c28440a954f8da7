"""Registering and hiding pipelines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opsuite_deployer.application.ports import Revision, Store, Tx
from opsuite_deployer.domain.errors import EtagMismatch, PipelineInUse, PipelineNotFound
from opsuite_deployer.domain.pipeline import Pipeline
from opsuite_deployer.domain.rules import Policy, violations
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_runs.port import Replay

_MADE: Final = "made"
"""Stands, behind the number of a revision, in what is remembered of a registration that made one."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A pipeline to register. `document` is its contract form: equal documents are equal pipelines."""

    pipeline: Pipeline
    document: bytes
    etag: str
    actor: str
    replay: Replay | None = None


class Pipelines:
    """The use cases of PipelineService that change or check something."""

    def __init__(self, *, store: Store, clock: Clock, policy: Policy) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy

    def check(self, pipeline: Pipeline) -> list[Violation]:
        """Everything that is wrong with a pipeline, by paths below `pipeline`."""
        return [violation.below("pipeline") for violation in violations(pipeline, self._policy)]

    async def register(self, registration: Registration) -> tuple[Revision, bool]:
        """Record a new revision, unless the latest one is equal; returns it and whether it is new.

        Raises InvalidInput (every violation), EtagMismatch, and then nothing was written.
        """
        if found := self.check(registration.pipeline):
            raise InvalidInput(found, reason="PIPELINE_INVALID")
        return await self._store.write(lambda tx: self._register(tx, registration))

    async def delete(self, pipeline: str, etag: str, replay: Replay | None) -> None:
        """Hide a pipeline. Raises PipelineNotFound, PipelineInUse, EtagMismatch."""
        await self._store.write(lambda tx: self._delete(tx, pipeline, etag, replay))

    def _register(self, tx: Tx, registration: Registration) -> tuple[Revision, bool]:
        tx.serialise_admission()
        uid = registration.pipeline.id
        if registration.replay and (earlier := tx.replayed(registration.replay)):
            known, _, made = earlier.partition(" ")
            revision = tx.revision_of(uid, int(known))
            if revision is not None:
                return revision, made == _MADE
        latest = tx.revision_of(uid)
        if registration.etag and registration.etag != (latest.etag if latest else ""):
            raise EtagMismatch(f"pipelines/{uid}", registration.etag, latest.etag if latest else "none")
        now = self._clock.now()
        if latest and not latest.deleted and latest.document == registration.document:
            revision, created = latest, False
        else:
            number = latest.number + 1 if latest else 1
            revision = Revision(registration.pipeline, number, registration.document, now, registration.actor)
            tx.add_revision(revision)
            created = True
        if registration.replay:
            tx.remember(registration.replay, f"{revision.number} {_MADE if created else ''}", now)
        return revision, created

    def _delete(self, tx: Tx, pipeline: str, etag: str, replay: Replay | None) -> None:
        if replay and tx.replayed(replay) is not None:
            return
        tx.serialise_admission()
        latest = tx.revision_of(pipeline)
        if latest is None or latest.deleted:
            raise PipelineNotFound(pipeline)
        if etag and etag != latest.etag:
            raise EtagMismatch(f"pipelines/{pipeline}", etag, latest.etag)
        if used := tx.is_in_use(pipeline):
            raise PipelineInUse(pipeline, used.name)
        tx.hide(pipeline)
        if replay:
            tx.remember(replay, "deleted", self._clock.now())
