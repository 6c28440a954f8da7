"""Removes containers of deployments that have ended: their results are recorded, but who recorded them died at once.

While everybody lives a container is removed behind its result, so there is rarely anything to find.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.revisions import RevisionCache
from opsuite_deployer.domain.pipeline import ContainerEngine, Docker, Pipeline
from opsuite_kernel.clock import Clock
from opsuite_platforms.port import ContainerRunner
from opsuite_storage.store import Store

RUN_LABEL: Final = "opsuite.run"
"""Label of every container: the id of its deployment."""
LOOK_BACK: Final = timedelta(days=1)
"""How long before a start a deployment may have ended whose containers are looked for."""
OVERLAP: Final = timedelta(minutes=1)
"""Between two looks: times are given before they are committed."""
AT_ONCE: Final = 1000

_d, _r = tables.deployments.c, tables.pipeline_revisions.c


class Leftovers:
    """Looks once for the time before the start, then each time for what has ended since."""

    def __init__(self, store: Store, containers: ContainerRunner, revisions: RevisionCache, clock: Clock) -> None:
        self._store = store
        self._containers = containers
        self._revisions = revisions
        self._clock = clock
        self._since = clock.now() - LOOK_BACK

    async def run(self) -> None:
        """Look once. Raises Unavailable (database, engine), and then the next look is for the same time."""
        began = self._clock.now()
        for uid in await self._store.read(self._ended_with_containers):
            for name in await self._containers.list_names(RUN_LABEL, uid):
                await self._containers.forget(name)
        self._since = began - OVERLAP

    def _ended_with_containers(self, connection: sa.Connection) -> list[str]:
        query = (
            sa.select(_d.id, _d.pipeline, _d.pipeline_revision)
            .where(_d.ended_at >= self._since)
            .order_by(_d.ended_at.desc())
            .limit(AT_ONCE)
        )
        rows = connection.execute(query).all()
        boxed = {
            revision
            for revision in {(row.pipeline, row.pipeline_revision) for row in rows}
            if _has_containers(self._pipeline(connection, *revision))
        }
        return [row.id for row in rows if (row.pipeline, row.pipeline_revision) in boxed]

    def _pipeline(self, connection: sa.Connection, uid: str, number: int) -> Pipeline:
        if known := self._revisions.known(uid, number):
            return known
        query = sa.select(_r.document).where(_r.pipeline == uid, _r.number == number)
        document: bytes = connection.execute(query).scalar_one()
        return self._revisions.pipeline(uid, number, document)


def _has_containers(pipeline: Pipeline) -> bool:
    kinds = (step.kind for stage in pipeline.stages for step in stage.steps)
    return any(isinstance(kind, Docker) and kind.engine is ContainerEngine.DOCKER for kind in kinds)
