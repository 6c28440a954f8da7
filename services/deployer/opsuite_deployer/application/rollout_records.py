"""Transactions at the edges of a rollout: it begins, it ends. Each function is the body of one and never awaits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from opsuite_deployer.application.ports import Tx
from opsuite_deployer.application.workload_ports import RevisionRecord, WorkloadRecord
from opsuite_deployer.domain.deployment import Deployment, PartKey
from opsuite_deployer.domain.errors import WorkloadTaken
from opsuite_deployer.domain.pipeline import Rollout, Workload
from opsuite_deployer.domain.revisions import revision_name, workload_id
from opsuite_deployer.domain.rollout_run import RolloutStart
from opsuite_runs.port import Lease

ROLLBACK_WINDOW: Final = 3
"""Revisions back from the stable one that are promoted again without steps and gates."""
HISTORY_LIMIT: Final = 10
"""Revisions of a workload that are kept besides those in use."""


def begin(
    tx: Tx,
    deployment: Deployment,
    lease: Lease,
    target: RevisionRecord,
    known: RolloutStart | None,
    size: int | None,
    now: datetime,
) -> tuple[RolloutStart, RevisionRecord | None, RevisionRecord]:
    """Register the rollout, and return what it starts from, the revision that is stable there, and the target.

    `known` is what it started from if it began before: then that still holds; `size` is that of the stable revision if
    a scaler decides about it. Both revisions stay from now on, whatever
    was planned for them. A target that may run already stays as it was asked for, since another spec under its name
    would replace all of its replicas at once: our settings, or its health check, may have changed since.
    Raises WorkloadTaken, FencedOut, and then nothing is written.
    """
    tx.hold(lease)
    there = tx.workload(target.workload) or WorkloadRecord(target.workload, deployment.pipeline, deployment.environment)
    if (there.pipeline, there.environment) != (deployment.pipeline, deployment.environment):
        raise WorkloadTaken(there.id, there.pipeline, there.environment)
    revisions = {one.name: one for one in tx.workload_revisions(there.id)}
    start = known or replace(_start(there, list(revisions.values()), target.name), replicas=size)
    tx.keep_workload(replace(there, rollout_of=deployment.id))
    if (standing := revisions.get(target.name)) is not None:
        spec = target.spec if standing.idle else replace(standing.spec, replicas=target.spec.replicas)
        target = replace(target, spec=spec, promoted_at=standing.promoted_at)
    tx.keep_revision(target)
    stable = revisions.get(start.stable) if start.stable else None
    if stable is not None and stable.name != target.name:
        tx.keep_revision(replace(stable, retire_at=None, idle=False))
    return start, stable, target


def stable_revision(tx: Tx, workload: Workload) -> RevisionRecord | None:
    """The revision that serves; None before the first."""
    there = tx.workload(workload_id(workload))
    if there is None or there.stable is None:
        return None
    return next((one for one in tx.workload_revisions(there.id) if one.name == there.stable), None)


def would_start(tx: Tx, rollout: Rollout) -> RolloutStart:
    """What a rollout would find if it began now."""
    there = tx.workload(workload_id(rollout.workload))
    if there is None:
        return RolloutStart(None)
    return _start(there, tx.workload_revisions(there.id), revision_name(rollout.workload))


def finish(
    tx: Tx, lease: Lease, target: RevisionRecord, retire: Mapping[str, datetime], now: datetime, *, promoted: bool
) -> None:
    """Record that a rollout has come to its end: who is stable now, and which revisions go when. Raises FencedOut.

    What neither it nor the plan `retire` has use for is left over from a rollout that was stopped: it goes now.
    """
    _conclude(tx, lease, target, now, promoted=promoted)
    there = tx.workload(target.workload)
    for revision in tx.workload_revisions(target.workload):
        in_use = {target.name, there.stable if there else None} - retire.keys()
        if not revision.idle and revision.name not in in_use:
            tx.keep_revision(replace(revision, retire_at=retire.get(revision.name, now)))


def leave(tx: Tx, lease: Lease, key: PartKey, target: RevisionRecord, now: datetime) -> None:
    """Record that a rollout was stopped where it is; all revisions stay as they are. Raises FencedOut."""
    standing = tx.get(lease.run)
    run = standing.deployment.part(key).rollout if standing is not None else None
    promoted = run is not None and run.state.promoted_at is not None and not run.state.is_aborting
    _conclude(tx, lease, target, now, promoted=promoted)


def _conclude(tx: Tx, lease: Lease, target: RevisionRecord, now: datetime, *, promoted: bool) -> None:
    """Record that nobody rolls it out any more. Raises FencedOut."""
    tx.hold(lease)
    there = tx.workload(target.workload)
    if there is None or there.rollout_of != lease.run:  # it never began, or this is recorded already
        return
    tx.keep_workload(replace(there, stable=target.name if promoted else there.stable, rollout_of=""))
    if promoted:
        standing = next((one for one in tx.workload_revisions(there.id) if one.name == target.name), target)
        tx.keep_revision(replace(standing, promoted_at=now, retire_at=None, idle=False))


def _start(there: WorkloadRecord, revisions: Sequence[RevisionRecord], target: str) -> RolloutStart:
    stable = next((one for one in revisions if one.name == there.stable), None)
    if stable is None:
        return RolloutStart(None)
    lately = [one.name for one in revisions if one.promoted_at is not None and one.name != stable.name]
    return RolloutStart(stable.name, stable.spec.version, target in lately[:ROLLBACK_WINDOW])
