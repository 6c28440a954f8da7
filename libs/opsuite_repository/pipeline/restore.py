"""Putting a snapshot, or a part of it, back onto a disk."""

from __future__ import annotations

import threading
from collections.abc import Callable

from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.pipeline.processes import HelperPool, lent
from opsuite_repository.pipeline.progress import Meter, ProgressSink
from opsuite_repository.pipeline.restore_request import Overwrite, Ownership, RestoreRequest, RestoreResult
from opsuite_repository.pipeline.restorer import Restorer, subfolder
from opsuite_repository.pipeline.work import Course
from opsuite_repository.repository import Repository

__all__ = ["Overwrite", "Ownership", "RestoreRequest", "RestoreResult", "restore"]


def restore(
    repository: Repository,
    snapshot: Snapshot,
    request: RestoreRequest,
    *,
    progress: ProgressSink | None = None,
    cancelled: threading.Event | None = None,
    guard: Callable[[], None] | None = None,
    helpers: HelperPool | None = None,
) -> RestoreResult:
    """Restore; the index has to be loaded. What fails for one file is a finding, and the rest goes on.

    A file whose content cannot be had whole is not left behind. Raises NotFound when the snapshot has no such
    subfolder, Cancelled, and what the storage raises when it cannot be reached at all. `guard` is asked now and then
    and raises when the lock was lost: from then on packs may vanish.
    `helpers` are processes that a service keeps; without them some are started when there are many files.
    """
    course = Course(cancelled, guard)
    root = subfolder(repository, snapshot, request.subfolder)
    is_whole = not (request.subfolder.strip(b"/") or request.includes or request.excludes)
    before = snapshot.summary if is_whole else None
    meter = Meter(
        progress,
        files_total=before.total_files_processed if before else None,
        bytes_total=before.total_bytes_processed if before else None,
    )
    with lent(helpers) as pool:
        restorer = Restorer(repository, request, course, meter, pool)
        restorer.run(root)
    result = restorer.result()
    meter.finish()
    return result
